"""Forced alignment by whisperx with a wav2vec2 model. Only the engine's environment has it."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import nltk
import torch
from whisperx import alignment

from images.serving.heard import Heard
from images.serving.recording import RATE, Samples
from images.whisperx.app.alignment.times import Character, with_times

# whisperx splits sentences by nltk, whose data it would fetch in the middle of a request. Where a
# sentence ends does not matter to the times of characters, so that splitting at full stops does:
# the four files of punkt_tab/english are lists of exceptions to that, and empty.
nltk.data.path[:] = [str(Path(__file__).parent / "nltk_data")]
# Its warnings quote what was said in the recording.
logging.getLogger(alignment.__name__).setLevel(logging.ERROR)


class Wav2Vec2:
    """A model that whisperx aligns with."""

    def __init__(self, model: Any, metadata: dict[str, Any], device: str, name: str) -> None:  # noqa: ANN401 - the library has no types
        self.name = name
        self._model = model
        self._metadata = metadata
        self._device = device

    @classmethod
    def load(cls, language: str, model: str, found: str, device: str) -> Wav2Vec2:
        """Load a model that is on this machine; `alignment.models` says what the names mean.

        Raises:
            RuntimeError: with the library's reason.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("torch sees no GPU: install a CUDA build of torch")
        try:
            network, metadata = alignment.load_align_model(
                language, device, model_name=found, model_cache_only=True
            )
        except ValueError as error:
            # whisperx says of every fault that the hub has no such model.
            raise RuntimeError(str(error.__context__ or error)) from error
        # whisperx derives from the language whether blanks part the words, and the name of nltk's
        # data, of which there is one here.
        if language not in alignment.LANGUAGES_WITHOUT_SPACES:
            metadata["language"] = "en"
        name = f"wav2vec2 {Path(model).name}" if Path(model).is_absolute() else model
        return cls(network.eval(), metadata, device, name)

    def align(self, heard: Heard, samples: Samples) -> Heard:
        """See `Aligner`. Raises whatever the libraries raise."""
        text = "".join(token.text for token in heard.tokens).strip()
        if not text:
            return heard
        segment = {"text": text, "start": 0.0, "end": samples.size / RATE}
        found = alignment.align(
            [segment],
            self._model,
            self._metadata,
            samples,
            self._device,
            return_char_alignments=True,
        )
        characters = [
            Character(found["char"], _seconds(found.get("start")), _seconds(found.get("end")))
            for sentence in found["segments"]
            for found in sentence["chars"] or ()
        ]
        return replace(heard, tokens=with_times(heard.tokens, characters, heard.chunk))


def _seconds(number: Any) -> float | None:  # noqa: ANN401 - a float of numpy's, or none
    return float(number) if number is not None and math.isfinite(number) else None
