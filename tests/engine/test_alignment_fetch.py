"""Fetching an alignment model: the real process, and a stand-in for the hub (standins/hub.py)."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from images.whisperx.app.alignment.fetch import ROOT, Fetcher
from tests.engine.conftest import wait_for
from tests.standins.hub import COMMIT, Hub, serving

MODEL = "owner/model"
FILES = {
    "config.json": b"{}",
    "vocab.json": b"{}",
    "model.safetensors": b"weights" * 1000,
    "pytorch_model.bin": b"the same weights",
    "README.md": b"words",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's files."""
    folder = tmp_path / "served"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The hub's cache."""
    return tmp_path / "home"


@pytest.fixture
def fetch(
    engine_python: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Callable[..., Fetcher]]:
    """Makes fetchers from a hub, and stops them."""
    made: list[Fetcher] = []

    def make(hub: Hub, timeout_s: float = 60.0) -> Fetcher:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(cache))
        made.append(Fetcher(timeout_s, "hf_secret", str(engine_python)))
        return made[-1]

    caplog.set_level(logging.INFO)
    yield make
    for fetcher in made:
        fetcher.stop()


def snapshot(cache: Path) -> Path:
    return cache / f"hub/models--owner--model/snapshots/{COMMIT}"


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_model_is_fetched_once_with_the_token(
    fetch: Callable[..., Fetcher], folder: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(folder) as hub:
        fetcher = fetch(hub)
        assert fetcher.want(MODEL)
        assert fetcher.want(MODEL)
        wait_for(lambda: f"{MODEL} has been fetched" in caplog.text)
    assert (
        snapshot(cache).parents[1] / "refs/main"
    ).read_text() == COMMIT  # it is looked up by this
    # safetensors are enough, and nobody loads a README.
    got = {file.name: file.read_bytes() for file in snapshot(cache).iterdir()}
    assert got == {name: FILES[name] for name in ("config.json", "vocab.json", "model.safetensors")}
    assert "Bearer hf_secret" in hub.tokens
    assert hub.asked.count(f"/api/models/{MODEL}") == 1
    assert "hf_secret" not in caplog.text


def test_a_hub_that_hangs_is_left_after_the_time_limit_and_not_asked_again(
    fetch: Callable[..., Fetcher], folder: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(folder, hangs_at="model.safetensors") as hub:
        fetcher = fetch(hub, timeout_s=6)
        assert fetcher.want(MODEL)
        wait_for(hub.hung.is_set)
        process = fetcher._process
        assert process is not None
        assert not is_gone(process.pid)
        wait_for(lambda: "cannot be fetched" in caplog.text)
        assert "it took more than 6 s (ENGINE_ALIGN_FETCH_TIMEOUT_S)" in caplog.text
        assert is_gone(process.pid)
        wait_for(lambda: not fetcher.want(MODEL))
        # Half of it is there, and it is not taken for the model.
        assert not (snapshot(cache) / "config.json").exists()


def test_a_process_that_fetches_ends_in_time_also_where_the_engine_was_killed(
    engine_python: Path, folder: Path, cache: Path
) -> None:
    with serving(folder, hangs_at="model.safetensors") as hub:
        ended = subprocess.run(
            [engine_python, "-m", "images.whisperx.app.alignment.fetch", MODEL, "1"],
            cwd=ROOT,
            env={**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(cache)},
            timeout=60,
            check=False,
        )
    assert ended.returncode == -signal.SIGALRM


def test_what_a_killed_attempt_left_is_removed_by_the_next(
    fetch: Callable[..., Fetcher], folder: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blobs = cache / "hub/models--owner--model/blobs"
    blobs.mkdir(parents=True)
    old, new = blobs / "a.1.incomplete", blobs / "a.2.incomplete"
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (0, 0))
    with serving(folder) as hub:
        fetch(hub).want(MODEL)
        wait_for(lambda: f"{MODEL} has been fetched" in caplog.text)
    assert not old.exists()
    assert new.exists()


def test_stopping_ends_the_process_that_fetches(
    fetch: Callable[..., Fetcher], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(folder, hangs_at="model.safetensors") as hub:
        fetcher = fetch(hub)
        fetcher.want(MODEL)
        wait_for(hub.hung.is_set)
        process = fetcher._process
        assert process is not None
        fetcher.stop()
        wait_for(lambda: "cannot be fetched: the process ended with code -9" in caplog.text)
        assert is_gone(process.pid)
        assert not fetcher.want("owner/other")


def test_a_model_that_the_hub_does_not_have_is_said_and_the_next_one_is_fetched(
    fetch: Callable[..., Fetcher], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(folder) as hub:
        fetcher = fetch(hub)
        fetcher.want("owner/missing")
        fetcher.want(MODEL)
        wait_for(lambda: f"{MODEL} has been fetched" in caplog.text)
    assert "owner/missing cannot be fetched: https://huggingface.co/owner/missing" in caplog.text
    assert not fetcher.want("owner/missing")
