"""How long a service may take: the time for a connection is none for the answer."""

from collections.abc import Callable
from pathlib import Path

import pytest

from proxy_app.services import Service
from proxy_app.upstreams import Client, http
from tests.api.recordings import canonical_wav
from tests.standins.upstream_whisperx import StandIn

CONNECT_S, TAKES_S, LIMIT_S = 0.2, 0.6, 30.0
PATH = "/v1/audio/transcriptions"


def whole(client: Client, service: Service, wav: Path) -> None:
    assert client.post_file(service, PATH, wav, [], limit_s=LIMIT_S)


def streamed(client: Client, service: Service, wav: Path) -> None:
    fields = [("stream", "true")]
    with client.stream_file(service, PATH, wav, fields, limit_s=LIMIT_S) as lines:
        assert list(lines)


def passed_on(client: Client, service: Service, wav: Path) -> None:
    with client.pass_on(service, PATH, wav, {}, idle_s=LIMIT_S) as response:
        assert response.status == 200


@pytest.mark.parametrize("ask", [whole, streamed, passed_on])
def test_an_answer_may_take_longer_than_a_connection(
    standin: StandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[Client, Service, Path], None],
) -> None:
    monkeypatch.setattr(http, "CONNECT_S", CONNECT_S)
    wav = tmp_path / "a.wav"
    wav.write_bytes(canonical_wav(1))
    url = f"http://127.0.0.1:{standin.port}"
    standin.takes_s = TAKES_S
    ask(Client(), Service("whisperx", "WhisperX", "speakers", "whisperx", url, "127.0.0.1"), wav)
