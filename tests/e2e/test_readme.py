"""The commands of the README work as they are written, but for the file's name and the ports."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from proxy_app.watch.clip import SPOKEN
from proxy_app.watch.words import ENOUGH, likeness
from tests.bench.__main__ import BENCHMARKS, title
from tests.e2e.conftest import ROOT, Installation

README = (ROOT / "README.md").read_text(encoding="utf-8")
SPEECH = (ROOT / "docs/text-to-speech.md").read_text(encoding="utf-8")


def commands(start: str, page: str = README) -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    found = [line for line in lines if line.startswith(start)]
    assert found, f"the page has no command that starts with {start}"
    return found


@pytest.fixture(scope="session")
def call() -> Path:
    """The sample conversation, which set-up brings along."""
    pattern = ".venv/engine/lib/python*/site-packages/pyannote/audio/sample/sample.wav"
    return next(iter(ROOT.glob(pattern)))


def test_every_command_is_one_of_those_tested_here() -> None:
    # Those of Ansible are tested in tests/collection and tests/fleet.
    known = (
        "make ",
        "curl ",
        "python -m proxy_app.speech merge ",
        "WHISPERX_MODEL=",
        ".venv/ansible/",
    )
    assert [line for line in commands("") if not line.startswith(known)] == []


def test_every_make_goal_of_the_documents_exists() -> None:
    goals = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    documents = [README, *(path.read_text() for path in (ROOT / "docs").glob("*.md"))]
    named = {goal for text in documents for goal in re.findall(r"`make ([a-z]+)", text)}
    assert {"demo", "test"} <= named | {line.split()[1] for line in commands("make ")}
    assert named <= goals


def test_the_tables_of_the_benchmarks_are_there() -> None:
    measured = README.split("## Measured")[1].split("\n## ")[0]
    sections = re.split(r"^### ", measured, flags=re.MULTILINE)[1:]
    with_tables = [section.partition("\n")[0] for section in sections if "\n|---" in section]
    assert with_tables == [title(name) for name, _environment in BENCHMARKS]
    assert with_tables[-1] == "Known speakers"


@pytest.mark.parametrize("command", commands("curl "))
def test_a_curl_command_works(
    command: str, installation: Installation, call: Path, tmp_path: Path
) -> None:
    shutil.copy(call, tmp_path / "meeting.m4a")
    here = command.replace("http://127.0.0.1:8080", installation.url)
    done = subprocess.run(
        [*shlex.split(here), "--silent", "--show-error", "--fail"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "This is Diane" in done.stdout.replace("\n", " ")


@pytest.mark.parametrize("command", commands("curl ", SPEECH))
def test_a_curl_command_of_text_to_speech_works(
    command: str, installation: Installation, tmp_path: Path
) -> None:
    here = command.replace("http://127.0.0.1:8080", installation.url)
    done = subprocess.run(
        [*shlex.split(here), "--silent", "--show-error", "--fail"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = [path.stat().st_size for path in tmp_path.iterdir()]
    assert all(size > 5000 for size in made)
    assert made or "alloy" in done.stdout


def test_what_is_spoken_is_heard(installation: Installation) -> None:
    spoken = requests.post(
        f"{installation.url}/v1/audio/speech",
        json={"model": "tts-1", "voice": "en-US", "input": SPOKEN},
        timeout=120,
    )
    assert spoken.headers["x-served-by"] == "voice"
    heard = requests.post(
        f"{installation.url}/v1/audio/transcriptions",
        files={"file": ("speech.mp3", spoken.content)},
        timeout=120,
    )
    assert likeness(SPOKEN, heard.json()["text"]) > ENOUGH, heard.text


def test_the_merge_command_works(tmp_path: Path) -> None:
    words = [
        {"word": "Hello.", "start": 0.1, "end": 0.5},
        {"word": "Hi.", "start": 0.9, "end": 1.2},
    ]
    (tmp_path / "WORDS.json").write_text(json.dumps(words))
    (tmp_path / "TURNS.rttm").write_text(
        "SPEAKER call 1 0.0 0.6 <NA> <NA> ann <NA> <NA>\n"
        "SPEAKER call 1 0.8 0.5 <NA> <NA> bob <NA> <NA>\n"
    )
    (command,) = commands("python -m proxy_app.speech merge ")
    done = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    segments = json.loads(done.stdout)["segments"]
    assert [(one["speaker"], one["text"]) for one in segments] == [
        ("Speaker_0", "Hello."),
        ("Speaker_1", "Hi."),
    ]


def test_the_settings_of_set_up_are_all_in_the_readme() -> None:
    named = set(re.findall(r"SETUP_[A-Z_]+", (ROOT / "tools/environments.py").read_text()))
    assert named == set(re.findall(r"`(SETUP_[A-Z_]+)`", README))
