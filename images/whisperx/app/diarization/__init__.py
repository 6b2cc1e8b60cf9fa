"""Who speaks when: the port, and the choice between its two implementations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from images.whisperx.app.probe_audio import Samples
from images.whisperx.app.settings import EngineSettings, folder_at
from images.whisperx.app.transcription import Checkpoint
from proxy_app.settings import SettingError
from proxy_app.speech import Turn


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


class Diarizer(Protocol):
    """A loaded diarization model. Called from one thread at a time."""

    @property
    def name(self) -> str:
        """The model's name, as /health and the answers show it."""

    @property
    def obeys_count(self) -> bool:
        """Whether `count` has an effect; where it has none the answer says so."""

    def diarize(
        self, samples: Samples, count: SpeakerCount, checkpoint: Checkpoint
    ) -> tuple[Turn, ...]:
        """Find the speakers' turns, in seconds; none in silence."""


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


def load_diarizer(settings: EngineSettings, device: str) -> Diarizer:
    """Load the diarizer that the settings lead to; only its libraries are imported.

    Raises:
        ModelError: the model cannot be had.
    """
    if settings.uses_pyannote:
        from images.whisperx.app.diarization.pyannote import Pyannote  # noqa: PLC0415

        return Pyannote.load(settings, device)
    from images.whisperx.app.diarization.senko import Senko  # noqa: PLC0415

    return Senko.load(device)
