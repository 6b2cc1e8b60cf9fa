"""Translation into English, and what else Whisper is told of a recording.

tiny.en is no translator, so the real server runs a STAND-IN for a multilingual model, of random
weights: what it writes is noise, but another noise for another task or keyword.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from images.whisperx.app.transcription.whisper import FasterWhisper
from tests.engine.conftest import ROOT, Running, part, start
from tests.engine.in_process import SPEAKERS, TRANSCRIPTIONS, upload
from tests.engine.made_audio import silence
from tests.engine.test_doors import ask, refusal
from tests.standins.engine_models import StandInTranscriber

TRANSLATIONS = "/v1/audio/translations"
VERBOSE = {"response_format": "verbose_json"}


@pytest.fixture(scope="module")
def multilingual(
    engine_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """An engine with the stand-in for a multilingual model."""
    folder = tmp_path_factory.mktemp("multilingual")
    making = [str(engine_python), "-m", "tests.standins.engine_multilingual", str(folder / "noise")]
    made = subprocess.run(making, cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    running = start(engine_python, folder, {"ENGINE_MODEL": str(folder / "noise")})
    try:
        running.wait_until("ready")
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def speech(sample_wav: Path) -> bytes:
    """Three seconds with a voice in them."""
    return part(sample_wav, 7, 3)


def heard(engine: Running, path: str, sound: bytes, **fields: str | list[str]) -> dict[str, Any]:
    """A verbose answer."""
    answer = engine.post(path, sound, "audio.wav", **VERBOSE, **fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_multilingual_model_translates_into_english(multilingual: Running, speech: bytes) -> None:
    spoken = heard(multilingual, TRANSCRIPTIONS, speech, language="de")
    assert (spoken["task"], spoken["language"]) == ("transcribe", "german")
    assert heard(multilingual, TRANSCRIPTIONS, speech, language="de")["text"] == spoken["text"]
    translated = heard(multilingual, TRANSLATIONS, speech, language="de")
    assert (translated["task"], translated["language"]) == ("translate", "english")
    assert translated["text"] not in ("", spoken["text"])
    # Nothing in the sound says when a translation's word was spoken.
    assert translated["models"]["alignment"] == "none"


def test_the_language_is_found_among_those_that_are_given(
    multilingual: Running, speech: bytes
) -> None:
    fields = {"languages[]": ["de", "Welsh"]}
    found = {heard(multilingual, TRANSCRIPTIONS, speech)["language"]}
    found |= {heard(multilingual, TRANSCRIPTIONS, speech, **fields)["language"]}
    assert found & {"german", "welsh"}
    assert len(found) == 2


def test_keywords_are_heard_of(multilingual: Running, speech: bytes) -> None:
    told = heard(multilingual, TRANSCRIPTIONS, speech, language="de", keywords="Zwickau")
    plain = heard(multilingual, TRANSCRIPTIONS, speech, language="de")
    assert told["text"] not in ("", plain["text"])


def test_a_model_of_one_language_refuses_and_names_models_that_can(
    engine: Running, speech: bytes
) -> None:
    answer = engine.post(TRANSLATIONS, speech)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("model_cannot_translate", "model")
    assert "tiny, base, small, medium, large-v3 can" in error["message"]


@pytest.mark.parametrize(
    ("name", "languages", "can"),
    [
        ("large-v3", ["en", "de"], True),
        ("medium.en", ["en"], False),
        ("turbo", ["en", "de"], False),
        ("faster-whisper-large-v3-turbo", ["en", "de"], False),
        ("distil-large-v3.5", ["en", "de"], False),
    ],
)
def test_which_models_can_translate(name: str, languages: list[str], can: bool) -> None:
    model = SimpleNamespace(supported_languages=languages)
    assert FasterWhisper(model, name, 1).can_translate is can


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, SPEAKERS, TRANSLATIONS])
def test_what_is_known_of_a_recording_reaches_the_model(tmp_path: Path, path: str) -> None:
    transcriber = StandInTranscriber(languages=("en", "de", "cy"), can_translate=True)
    fields = {"languages[]": ["German", "cy"], "keywords": ["Spark", "GB10"], "temperature": "0.4"}
    answer = ask(
        tmp_path, path=path, transcriber=transcriber, files=upload(silence(1)), data=fields
    )
    assert answer.status_code == 200
    wish = transcriber.wishes[0]
    assert (wish.languages, wish.keywords) == (("de", "cy"), ("Spark", "GB10"))
    assert (wish.temperature, wish.translate) == (0.4, path == TRANSLATIONS)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"languages[]": ["en", "klingon"]}, "languages"),
        ({"keywords": ["x" * 101]}, "keywords"),
        ({"keywords": ["x"] * 101}, "keywords"),
    ],
)
def test_what_cannot_be_used_of_it_is_refused(
    tmp_path: Path, fields: dict[str, Any], param: str
) -> None:
    error = refusal(ask(tmp_path, files=upload(silence(1)), data=fields), 400)
    assert error["param"] == param
