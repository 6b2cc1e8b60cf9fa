"""Which alignment model a request gets, and alignment through the server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from images.serving.heard import Chunk, Heard
from images.serving.recording import Samples
from images.whisperx.app.alignment import Aligner
from images.whisperx.app.alignment.choice import KEPT, Alignment, Careful
from images.whisperx.app.alignment.models import chosen_models
from images.whisperx.app.settings import EngineSettings
from proxy_app.settings import SettingError
from proxy_app.speech import Decoding, Token
from tests.engine.conftest import Running, start, wait_for
from tests.standins.hub import serving

TRANSCRIPTIONS = "/v1/audio/transcriptions"
SPEAKERS = "/v1/audio/transcribe-with-speakers"
# The program that becomes the engine notes here what tried to leave the machine.
REFUSED = "no connection is allowed here"


# What is chosen, with stand-ins for the models.


@dataclass
class StandInAligner:
    """Changes nothing, or fails."""

    name: str
    error: Exception | None = None

    def align(self, heard: Heard, samples: Samples) -> Heard:  # noqa: ARG002
        """See `Aligner`."""
        if self.error is not None:
            raise self.error
        return heard


@dataclass
class StandInModels:
    """Models for every language but Thai; those in `here` are on this machine."""

    here: set[str]
    error: Exception | None = None
    loaded: list[str] = field(default_factory=list)

    def model_for(self, language: str) -> str | None:
        """See `Models`."""
        return None if language == "th" else f"owner/{language}"

    def find(self, model: str) -> str | None:
        """See `Models`."""
        return model if model.removeprefix("owner/") in self.here else None

    def load(self, language: str, model: str, found: str, device: str) -> Aligner:  # noqa: ARG002
        """See `Models`."""
        self.loaded.append(language)
        if self.error is not None:
            raise self.error
        return StandInAligner(model)


def alignment(models: StandInModels, align: str = "on", device: str = "cpu") -> Alignment:
    return Alignment(EngineSettings(align=align), device, models)


@pytest.mark.parametrize(
    ("align", "device", "enabled"),
    [("auto", "cpu", False), ("auto", "cuda", True), ("on", "cpu", True), ("off", "cuda", False)],
)
def test_alignment_is_on_by_default_on_cuda_only(align: str, device: str, enabled: bool) -> None:
    assert alignment(StandInModels(set()), align, device).enabled is enabled


def test_alignment_that_is_off_loads_nothing_and_says_nothing() -> None:
    models = StandInModels({"en"})
    off = alignment(models, "off")
    assert off.find("en") is None
    assert off.note("en") == ""
    assert off.health == "off"
    assert models.loaded == []


def test_an_aligner_is_loaded_once_and_shown_in_health() -> None:
    models = StandInModels({"en"})
    on = alignment(models)
    assert on.health == "wav2vec2: none loaded yet"
    first = on.find("en")
    assert first is not None
    assert first.name == "owner/en"
    assert on.find("en") is first
    assert on.health == "wav2vec2: en"
    assert on.note("en") == ""
    assert models.loaded == ["en"]


def test_a_language_without_a_model_keeps_whispers_times_and_says_so() -> None:
    on = alignment(StandInModels(set()))
    assert on.find("th") is None
    assert on.note("th") == ("Word times are Whisper's own: there is no alignment model for Thai.")


def test_a_model_that_is_not_here_is_said_with_what_to_do_and_found_once_it_is() -> None:
    models = StandInModels(set())
    on = alignment(models)
    assert on.find("de") is None
    assert on.note("de") == (
        "Word times are Whisper's own: the alignment model for German is not in the cache "
        "(ENGINE_ALIGN_FETCH=true lets the engine fetch it)."
    )
    models.here.add("de")
    assert on.find("de") is not None
    assert on.note("de") == ""


def test_a_model_that_cannot_be_loaded_is_not_tried_again_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    models = StandInModels({"en"}, error=RuntimeError("no such layer"))
    on = alignment(models)
    for _ in range(2):
        assert on.find("en") is None
        assert on.note("en") == (
            "Word times are Whisper's own: the alignment model for English could not be loaded; "
            "the engine's log says why."
        )
    assert models.loaded == ["en"]
    assert "owner/en cannot be loaded: no such layer" in caplog.text


def test_a_lost_gpu_is_no_matter_of_alignment() -> None:
    lost = RuntimeError("CUDA error: an illegal memory access was encountered")
    on = alignment(StandInModels({"en"}, error=lost))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        on.find("en")


def test_the_language_used_longest_ago_makes_room() -> None:
    models = StandInModels({"en", "de", "fr"})
    on = alignment(models)
    assert KEPT == 2
    for language in ("en", "de", "en", "fr", "en"):
        on.find(language)
    assert on.health == "wav2vec2: en, fr"
    assert models.loaded == ["en", "de", "fr"]


def test_only_alignment_that_is_on_imports_its_libraries_beforehand() -> None:
    asked: list[str] = []

    class Asked(StandInModels):
        def model_for(self, language: str) -> str | None:
            asked.append(language)
            return super().model_for(language)

    for align in ("off", "on"):
        alignment(Asked(set()), align).prepare()
    assert asked == ["en"]


def test_unloaded_models_are_loaded_again() -> None:
    models = StandInModels({"en"})
    on = alignment(models)
    on.find("en")
    on.unload()
    assert on.health == "wav2vec2: none loaded yet"
    assert on.find("en") is not None
    assert models.loaded == ["en", "en"]


HEARD = Heard(Chunk(0.0, 1.0), (Token(" Yes", 0.2, 0.4),), Decoding())
SILENCE: Samples = np.zeros(16_000, np.float32)


def test_a_chunk_that_cannot_be_aligned_keeps_its_times_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    careful = Careful(StandInAligner("owner/en", ValueError("no such character")))
    for _ in range(2):
        assert careful.align(HEARD, SILENCE) is HEARD
    assert caplog.text.count("owner/en fails on some chunks") == 1
    assert "no such character" in caplog.text


@pytest.mark.parametrize(
    "text", ["CUDA error: an illegal memory access was encountered", "CUDA out of memory."]
)
def test_what_ends_a_request_is_not_kept_from_it(text: str) -> None:
    careful = Careful(StandInAligner("owner/en", RuntimeError(text)))
    with pytest.raises(RuntimeError, match=text):
        careful.align(HEARD, SILENCE)


# ENGINE_ALIGN_MODELS.


def test_models_are_chosen_by_language_as_folders_or_ids(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    assert chosen_models(f" English={tmp_path}, de-DE=owner/my-model_1.0 ,") == {
        "en": str(tmp_path),
        "de": "owner/my-model_1.0",
    }
    assert chosen_models("") == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("klingon=owner/model", "'klingon' is no language"),
        ("owner/model", "'owner/model' is no language"),
        ("en=", "'' is neither a folder nor an id"),
        ("en=/nowhere", "'/nowhere' is neither a folder nor an id"),
        ("en=model", "'model' is neither a folder nor an id"),
        ("en=https://huggingface.co/owner/model", "is neither a folder nor an id"),
        ("en=FOLDER", "there is no config.json in"),
        ("en=owner/a,English=owner/b", "en has a model already"),
    ],
)
def test_a_choice_that_cannot_work_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=complaint) as refused:
        chosen_models(text.replace("FOLDER", str(tmp_path)))
    assert str(refused.value).startswith("ENGINE_ALIGN_MODELS: ")


# Through the server, with a model of random weights (tests/standins/engine_alignment_models.py).


@pytest.fixture(scope="module")
def aligning(engine_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An engine with an alignment model for English, that may connect to nobody."""
    folder = tmp_path_factory.mktemp("aligning")
    environ = {"ENGINE_ALIGN": "on", "ENGINE_ALIGN_MODELS": f"en={folder / 'model'}"}
    running = start(engine_python, folder, environ, module="tests.standins.engine_alignment_models")
    try:
        running.wait_until("ready")
        yield running
    finally:
        running.stop()


def words_of(answer: requests.Response) -> list[tuple[str, float, float]]:
    assert answer.status_code == 200, answer.text
    return [(word["word"], word["start"], word["end"]) for word in answer.json()["words"]]


VERBOSE = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}


def test_words_have_the_aligners_times_and_the_answer_names_it(
    aligning: Running, engine: Running, short_wav: bytes
) -> None:
    aligned, plain = (
        running.post(TRANSCRIPTIONS, short_wav, **VERBOSE) for running in (aligning, engine)
    )
    assert [word for word, *_ in words_of(aligned)] == [word for word, *_ in words_of(plain)]
    moved = [
        ours[1:] != whispers[1:]
        for ours, whispers in zip(words_of(aligned), words_of(plain), strict=True)
    ]
    assert sum(moved) > len(moved) / 2
    assert aligned.json()["models"]["alignment"] == "wav2vec2 model"
    assert plain.json()["models"]["alignment"] == "none"
    assert "warnings" not in aligned.json()
    assert "warnings" not in plain.json()  # it is off there
    assert aligning.health()["alignment"] == "wav2vec2: en"
    assert engine.health()["alignment"] == "off"


def test_a_conversation_names_the_aligner(aligning: Running, short_wav: bytes) -> None:
    body = aligning.post(SPEAKERS, short_wav).json()
    assert body["models"]["alignment"] == "wav2vec2 model"
    assert "warnings" not in body


def test_aligning_needs_no_network_and_logs_nothing_that_was_said(
    aligning: Running, short_wav: bytes
) -> None:
    answer = aligning.post(TRANSCRIPTIONS, short_wav, **VERBOSE)
    assert answer.json()["models"]["alignment"] == "wav2vec2 model"
    log = aligning.log.read_text()
    assert REFUSED not in log
    assert "fails on some chunks" not in log
    assert answer.json()["segments"][0]["text"].strip() not in log


def test_a_model_is_fetched_beside_the_requests_and_a_broken_one_fails_none(
    engine_python: Path, tmp_path: Path, short_wav: bytes
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    (broken / "model.safetensors").write_bytes(b"no weights")
    with serving(broken, hangs_at="model.safetensors") as hub:
        environ = {
            "ENGINE_ALIGN": "on",
            "ENGINE_ALIGN_FETCH": "true",
            "ENGINE_ALIGN_MODELS": "en=owner/model",
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "home"),
        }
        running = start(
            engine_python, tmp_path, environ, module="tests.standins.engine_alignment_models"
        )
        try:
            running.wait_until("ready")
            body = answered(running, short_wav)
            assert "the alignment model for English is being fetched" in body["warnings"][0]
            wait_for(hub.hung.is_set)
            body = answered(running, short_wav)
            assert "the alignment model for English is being fetched" in body["warnings"][0]
            hub.release.set()
            wait_for(lambda: "owner/model has been fetched" in running.log.read_text())
            body = answered(running, short_wav)
            assert "could not be loaded; the engine's log says why" in body["warnings"][0]
        finally:
            running.stop()
    log = running.log.read_text()
    assert "owner/model cannot be loaded: " in log
    assert REFUSED not in log


def answered(running: Running, audio: bytes) -> dict[str, Any]:
    """The answer to a request, which succeeded, with Whisper's own times."""
    answer = running.post(TRANSCRIPTIONS, audio, **VERBOSE)
    assert words_of(answer)
    body: dict[str, Any] = answer.json()
    assert body["models"]["alignment"] == "none"
    assert body["warnings"][0].startswith("Word times are Whisper's own: ")
    return body
