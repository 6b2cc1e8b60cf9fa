"""Who speaks when: what is asked of a diarizer, what it gives, and the choice of one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from images.serving.recording import Recording
from images.serving.windows import Window
from images.whisperx.app.settings import EngineSettings, folder_at
from images.whisperx.app.speech_map import SpeechMap
from proxy_app.settings import SettingError
from proxy_app.speech import Turn

if TYPE_CHECKING:
    from images.whisperx.app.diarization.known import Matching
    from images.whisperx.app.diarization.linking import Linking


@dataclass(frozen=True, slots=True)
class SpeakerCount:
    """What a client knows about the number of speakers; exactly goes before the bounds."""

    exactly: int | None = None
    minimum: int | None = None
    maximum: int | None = None

    @property
    def is_given(self) -> bool:
        """Whether the client said anything."""
        return (self.exactly, self.minimum, self.maximum) != (None, None, None)

    @property
    def least(self) -> int:
        """No fewer are expected."""
        return self.exactly or self.minimum or 1

    @property
    def most(self) -> int | None:
        """No more are expected; None where nobody said."""
        return self.exactly or self.maximum

    def allows(self, found: int) -> bool:
        """Whether so many speakers are what the client expects."""
        if self.exactly is not None:
            return found == self.exactly
        return (self.minimum or 0) <= found <= (found if self.maximum is None else self.maximum)

    def __str__(self) -> str:
        """The words for it in "Asked for 2 speakers"; for a count that is given."""
        if self.exactly is not None:
            asked = f"{self.exactly}"
        elif self.maximum is None:
            asked = f"at least {self.minimum}"
        elif self.minimum is None:
            asked = f"at most {self.maximum}"
        else:
            asked = f"{self.minimum} to {self.maximum}"
        return f"{asked} speaker{'' if asked.split()[-1] == '1' else 's'}"


@dataclass(frozen=True, slots=True)
class Voices:
    """Who was heard in one window, piece by piece.

    Attributes:
        starts, ends: shape (pieces,), float64: seconds from the recording's beginning, by start;
            pieces may overlap.
        labels: shape (pieces,), int: the speaker of each piece, from 0; they mean nothing outside
            this window.
        embeddings: shape (pieces, size), float32: the voice of each piece, of length 1, or of
            length 0 where there was too little of it to tell.
    """

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    labels: NDArray[np.int64]
    embeddings: NDArray[np.float32]


class Diarizer(Protocol):
    """A loaded diarization model. Called from one thread at a time."""

    @property
    def name(self) -> str:
        """The model's name, as /health and the answers show it."""

    @property
    def linking(self) -> Linking:
        """What its embeddings have to show before two voices are taken for one person's."""

    @property
    def matching(self) -> Matching | None:
        """The same before a voice gets a known person's name; None where nobody knows."""

    @property
    def embedding_model(self) -> str:
        """The name and version (name@version) of what makes them; others' cannot be compared."""

    def listen(
        self, recording: Recording, speech: SpeechMap, window: Window, count: SpeakerCount
    ) -> Generator[float, None, Voices]:
        """Tell the voices of a window apart; yields the part done (0 to 1) after each step.

        Args:
            recording: what was recorded.
            speech: its map of speech.
            window: the part to listen to.
            count: bounds for this window alone; what the client said of a recording that is one
                window, and its maximum for one of several.
        """

    def turns(self, voices: Voices, labels: Sequence[str]) -> tuple[Turn, ...]:
        """Make turns of a window's pieces, given the final speaker of each."""


def check_diarizer(settings: EngineSettings) -> None:
    """Refuse at the start what no waiting heals.

    Raises:
        SettingError: pyannote without a token or a model, or a folder that is none.
    """
    model = settings.pyannote_model
    if settings.diarizer == "pyannote" and not (model or settings.hf_token):
        raise SettingError(
            "ENGINE_DIARIZER='pyannote' needs HF_TOKEN or ENGINE_PYANNOTE_MODEL: its models on the "
            "hub are gated"
        )
    is_hub_id = model is not None and model.count("/") == 1 and model[0] not in "/.~"
    if model and not is_hub_id and not (folder_at(model) / "config.yaml").is_file():
        raise SettingError(
            f"ENGINE_PYANNOTE_MODEL={model!r}: expected a hub id such as "
            "pyannote/speaker-diarization-community-1, or a folder with a config.yaml"
        )


def load_diarizer(
    settings: EngineSettings,
    device: str,
    threads: int,
    check: Callable[[], None] = lambda: None,
) -> Diarizer:
    """Load the diarizer that the settings lead to; only its libraries are imported.

    Args:
        settings: which, and where its model is.
        device: `cpu` or `cuda`.
        threads: how many of the CPU's to use.
        check: called in the middle of steps that take long; what it raises ends the step.

    Raises:
        ModelError: the model cannot be had.
    """
    import torch  # noqa: PLC0415 - takes a second

    torch.set_num_threads(threads)
    if settings.uses_pyannote:
        from images.whisperx.app.diarization.pyannote import Pyannote  # noqa: PLC0415

        return Pyannote.load(settings, device, check)
    from images.whisperx.app.diarization.senko import Senko  # noqa: PLC0415

    return Senko.load(device)
