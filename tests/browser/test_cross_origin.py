"""A page of another origin in a real browser, which calls /v1 with a key and reads the answers."""

from __future__ import annotations

import base64
import contextlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Error

from proxy_app.access import Keys
from proxy_app.store import Store
from tests.api.conftest import Gateway, eventually, free_port, running
from tests.api.recordings import canonical_wav
from tests.standins.upstream_whisperx import StandIn

# It is neither the gateway's origin nor one of its names, and browsers know where it is.
HOST = "notes.localhost"
CALL = """async ([url, key, wav, stream]) => {
  const headers = {Authorization: `Bearer ${key}`, 'x-stainless-lang': 'js'};
  const options = {headers};
  if (wav) {
    const bytes = Uint8Array.from(atob(wav), (letter) => letter.charCodeAt(0));
    options.method = 'POST';
    options.body = new FormData();
    options.body.append('file', new Blob([bytes]), 'a.wav');
    options.body.append('model', 'gpt-4o-transcribe');
    if (stream) options.body.append('stream', 'true');
  }
  const answer = await fetch(url, options);
  const text = await answer.text();
  const told = {};
  for (const [name, value] of answer.headers) told[name] = value;
  return {status: answer.status, text, told};
}"""


class Quiet(http.server.BaseHTTPRequestHandler):
    """Any page of the other origin: an empty one."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.send_header("Content-Type", "text/html")
        self.end_headers()

    def log_message(self, *_args: object) -> None: ...


@contextlib.contextmanager
def site(port: int) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{HOST}:{port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def standin() -> Iterator[StandIn]:
    with StandIn() as engine:
        yield engine


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory, standin: StandIn) -> Iterator[Gateway]:
    """A gateway that lists the origin of a page, which is in a file of its folder."""
    port = free_port()
    folder = tmp_path_factory.mktemp("listed")
    origin = f"http://{HOST}:{port}"
    with site(port), running(folder, standin.port, SPEECH_ALLOWED_ORIGINS=origin) as gateway:
        (folder / "origin").write_text(origin)
        yield gateway


@pytest.fixture(scope="module")
def key(listed: Gateway) -> str:
    with contextlib.closing(Store(None, listed.state)) as store:
        made, _ = Keys(store).make("notes")
    header = {"Authorization": f"Bearer {made}"}
    assert eventually(lambda: listed.get("/v1/models", **header).ok)
    return made


def call(context: BrowserContext, page: str, *said: object) -> dict[str, Any]:
    """What a page's script can read of an answer."""
    tab = context.new_page()
    tab.goto(page)
    try:
        told: dict[str, Any] = tab.evaluate(CALL, list(said))
        return told
    finally:
        tab.close()


def own_page(listed: Gateway) -> str:
    return (Path(listed.state) / "origin").read_text()


def test_a_listed_page_lists_models_and_has_a_recording_transcribed(
    context: BrowserContext, listed: Gateway, key: str
) -> None:
    models = call(context, own_page(listed), f"{listed.url}/v1/models", key, None, False)
    assert (models["status"], '"whisper-1"' in models["text"]) == (200, True)
    wav = base64.b64encode(canonical_wav(1)).decode()
    url = f"{listed.url}/v1/audio/transcriptions"
    for stream, expected in ((False, '"text"'), (True, "transcript.text.done")):
        words = call(context, own_page(listed), url, key, wav, stream)
        assert words["status"] == 200
        assert expected in words["text"]
        assert words["told"]["x-served-by"] == "whisperx"
        assert {"x-request-id", "x-upstream-state", "server-timing"} <= set(words["told"])


def test_a_listed_page_reads_errors_as_well(
    context: BrowserContext, listed: Gateway, key: str
) -> None:
    refused = call(context, own_page(listed), f"{listed.url}/v1/models", f"{key}x", None, False)
    assert (refused["status"], "invalid_api_key" in refused["text"]) == (401, True)


def test_a_page_that_is_not_listed_reads_nothing(
    context: BrowserContext, listed: Gateway, key: str
) -> None:
    with site(free_port()) as page, pytest.raises(Error, match="Failed to fetch"):
        call(context, page, f"{listed.url}/v1/models", key, None, False)
