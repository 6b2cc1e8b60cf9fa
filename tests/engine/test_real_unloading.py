"""An engine with real models on a small disk, which drops them when nobody needs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.engine.conftest import Running, start, wait_for
from tests.engine.made_audio import wav

SPEAKERS = "/v1/audio/transcribe-with-speakers"
IN_A_SMALL_SPOOL = (
    *("unshare", "--map-root-user", "--mount", "sh", "-c"),
    'mount -t tmpfs -o size=6m tmpfs "$ENGINE_SPOOL_DIR" && exec "$@"',
    "sh",
)
"""The mount is this process's own, and goes with it; no privilege is needed where the kernel lets
users have namespaces."""


@pytest.fixture(scope="module")
def small(engine_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An engine with a spool of 6 MB that unloads after two seconds."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "spool").mkdir()
    (folder / "home").mkdir()
    environ = {
        "ENGINE_UNLOAD_AFTER_MIN": str(2 / 60),
        "ENGINE_SPOOL_DIR": str(folder / "spool"),
        "HOME": str(folder / "home"),
    }
    running = start(engine_python, folder, environ, wrapper=IN_A_SMALL_SPOOL)
    try:
        yield running
    finally:
        running.stop()


def status(engine: Running) -> str:
    """What its /health says; nothing before it listens."""
    assert engine.process.poll() is None, engine.log.read_text()
    try:
        return str(engine.health()["status"])
    except requests.ConnectionError:
        return ""


def test_load_unload_load_with_real_models(small: Running, short_wav: bytes) -> None:
    answers = []
    for _times in range(2):
        wait_for(lambda: status(small) == "unloaded")
        answer = small.post(SPEAKERS, short_wav)
        assert answer.status_code == 200, answer.text
        assert small.health()["whisper_loaded"]
        assert small.health()["diarizer_loaded"]
        answers.append(answer.json())
    assert answers[0] == answers[1]
    assert answers[0]["segments"]


def test_a_disk_that_fills_up_while_the_audio_is_decoded(small: Running, short_wav: bytes) -> None:
    telephone = wav(np.zeros(300 * 4000, dtype=np.int16), rate=4000)  # 2.4 MB, and 9.6 MB at 16 kHz
    wait_for(lambda: status(small) in ("ready", "unloaded"))
    answer = small.post(SPEAKERS, telephone)
    assert answer.status_code == 507, answer.text
    assert answer.json()["error"]["code"] == "storage_full"
    assert small.post(SPEAKERS, short_wav).status_code == 200  # nothing was left behind


def test_onnxruntime_does_not_tell_its_maker_of_it(small: Running, short_wav: bytes) -> None:
    wait_for(lambda: status(small) in ("ready", "unloaded"))
    assert small.post(SPEAKERS, short_wav).status_code == 200
    home = small.log.parent / "home"
    assert not list(home.rglob("*icrosoft*"))
