"""Which alignment model a request gets, if any, and the sentence that says why none."""

from __future__ import annotations

import logging
import time
from typing import Protocol

from images.serving import faults
from images.serving.heard import Heard
from images.serving.hub import first_line
from images.serving.recording import Samples
from images.whisperx.app.alignment import Aligner
from images.whisperx.app.alignment.fetch import Fetcher
from images.whisperx.app.alignment.models import Models, chosen_models
from images.whisperx.app.settings import EngineSettings
from proxy_app.speech import language_name

log = logging.getLogger(__name__)

KEPT = 2
"""So many languages' models stay loaded, those that were used last: one takes 0.4 to 4 GB."""
AGAIN_AFTER_S = 600.0
"""A model that could not be loaded is not tried again before."""


class ModelSource(Protocol):
    """What `Models` does; the docstrings are there."""

    def model_for(self, language: str) -> str | None: ...  # noqa: D102

    def find(self, model: str) -> str | None: ...  # noqa: D102

    def load(self, language: str, model: str, found: str, device: str) -> Aligner: ...  # noqa: D102


class Careful:
    """An aligner whose failure over one chunk costs that chunk the better times, and no more."""

    def __init__(self, aligner: Aligner) -> None:
        self._aligner = aligner
        self._failed = False

    @property
    def name(self) -> str:
        """See `Aligner`."""
        return self._aligner.name

    def align(self, heard: Heard, samples: Samples) -> Heard:
        """See `Aligner`; where it fails, what was heard comes back as it is.

        Raises:
            Exception: whatever says that the GPU is lost or that memory ran out.
        """
        try:
            return self._aligner.align(heard, samples)
        except Exception as error:
            if faults.classify(error) is not faults.Fault.OTHER:
                raise
            if not self._failed:
                log.exception("%s fails on some chunks; their word times stay", self.name)
                self._failed = True
            return heard


class Alignment:
    """The aligners of all languages.

    `find` belongs to the transcription's thread; `unload` comes while that has nothing to do.

    Args:
        settings: align, align_models, align_fetch, align_fetch_timeout_s and hf_token.
        device: cpu or cuda.
        models: where the models come from.

    Raises:
        SettingError: align_models cannot be used.
    """

    def __init__(
        self, settings: EngineSettings, device: str, models: ModelSource | None = None
    ) -> None:
        self.enabled = settings.align == "on" or (settings.align == "auto" and device == "cuda")
        self._models = models or Models(chosen_models(settings.align_models))
        self._device = device
        self._fetcher = None
        if settings.align_fetch:
            self._fetcher = Fetcher(settings.align_fetch_timeout_s, settings.hf_token)
        self._aligners: dict[str, Aligner] = {}
        self._lacks: dict[str, str] = {}
        self._again_at: dict[str, float] = {}

    @property
    def health(self) -> str:
        """What GET /health shows: `off`, or the languages whose models are loaded."""
        if not self.enabled:
            return "off"
        return f"wav2vec2: {', '.join(sorted(self._aligners)) or 'none loaded yet'}"

    def prepare(self) -> None:
        """Import the libraries, which takes seconds, before anybody waits for it."""
        if self.enabled:
            self._models.model_for("en")

    def find(self, language: str) -> Aligner | None:
        """The language's aligner, loaded if it is not yet; never waits for the network.

        Raises:
            Exception: whatever says that the GPU is lost for this process.
        """
        if not self.enabled:
            return None
        aligner = self._aligners.pop(language, None)
        if aligner is None:
            aligner = self._load(language)
        if aligner is not None:
            self._aligners[language] = aligner  # now the last one
            self._lacks.pop(language, None)
        return aligner

    def note(self, language: str) -> str:
        """Why the last `find` for a language gave no aligner, or nothing; a sentence for people."""
        lack = self._lacks.get(language)
        return f"Word times are Whisper's own: {lack}." if lack else ""

    def unload(self) -> None:
        """Let go of all models; the next `find` loads what it needs."""
        self._aligners.clear()

    def stop(self) -> None:
        """End what is being fetched."""
        if self._fetcher is not None:
            self._fetcher.stop()

    def _load(self, language: str) -> Aligner | None:
        its_model = f"the alignment model for {language_name(language).title()}"
        model = self._models.model_for(language)
        if model is None:
            self._lacks[language] = its_model.replace("the", "there is no", 1)
            return None
        found = self._models.find(model)
        if found is None:
            self._lacks[language] = f"{its_model} {self._absent(model)}"
            return None
        self._lacks[language] = f"{its_model} could not be loaded; the engine's log says why"
        if self._again_at.get(model, 0.0) > time.monotonic():
            return None
        while len(self._aligners) >= KEPT:
            del self._aligners[next(iter(self._aligners))]
        began = time.monotonic()
        try:
            aligner = Careful(self._models.load(language, model, found, self._device))
        except Exception as error:
            if faults.classify(error) is faults.Fault.STICKY:
                raise
            log.error("%s cannot be loaded: %s", model, first_line(error))  # noqa: TRY400 - the libraries' tracebacks are long and say no more
            self._again_at[model] = time.monotonic() + AGAIN_AFTER_S
            return None
        log.info("%s is ready after %.1f s", aligner.name, time.monotonic() - began)
        return aligner

    def _absent(self, model: str) -> str:
        if self._fetcher is None:
            return "is not in the cache (ENGINE_ALIGN_FETCH=true lets the engine fetch it)"
        if self._fetcher.want(model):
            return "is being fetched"
        return "could not be fetched; the engine's log says why"
