"""Which alignment model a language has, whether it is on this machine, and loading it.

Nothing here uses the network. A model is named by a folder, by an id of the hub or, without a
slash, by a bundle of torchaudio. The libraries are imported where they are first needed: that
takes seconds, which an engine without alignment has not to wait for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from images.whisperx.app.alignment import Aligner
from images.whisperx.app.settings import folder_at
from proxy_app.settings import SettingError
from proxy_app.speech import language_code

_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")


def chosen_models(text: str) -> dict[str, str]:
    """Read ENGINE_ALIGN_MODELS: languages (Whisper's codes) and their models.

    Raises:
        SettingError: naming the part that cannot be used.
    """
    models = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, model = (side.strip() for side in part.partition("="))
        code = language_code(name)
        if code is None:
            raise _unusable(
                part, f"{name!r} is no language; expected LANGUAGE=MODEL, as en=/folder"
            )
        folder = folder_at(model)
        if model and folder.is_dir():
            if not (folder / "config.json").is_file():
                raise _unusable(part, f"there is no config.json in {folder}")
            model = str(folder.absolute())
        elif not _HUB_ID.fullmatch(model):
            raise _unusable(part, f"{model!r} is neither a folder nor an id like owner/model")
        if code in models:
            raise _unusable(part, f"{code} has a model already")
        models[code] = model
    return models


def _unusable(part: str, reason: str) -> SettingError:
    return SettingError(f"ENGINE_ALIGN_MODELS: {part!r}: {reason}")


class Models:
    """The alignment models that whisperx knows, and those that were chosen instead."""

    def __init__(self, chosen: Mapping[str, str]) -> None:
        self._chosen = chosen

    def model_for(self, language: str) -> str | None:
        """The model's name, or None where the language has none."""
        if language in self._chosen:
            return self._chosen[language]
        from whisperx import alignment  # noqa: PLC0415

        bundle: str | None = alignment.DEFAULT_ALIGN_MODELS_TORCH.get(language)
        return bundle or alignment.DEFAULT_ALIGN_MODELS_HF.get(language)

    def find(self, model: str) -> str | None:
        """What `load` loads a model from, or None where it is not on this machine."""
        if "/" not in model:
            return model if bundle_file(model).is_file() else None
        folder = Path(model)
        if not folder.is_absolute():
            from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415

            config = try_to_load_from_cache(model, "config.json")
            if not isinstance(config, str):
                return None
            folder = Path(config).parent
        weights = [*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]
        return str(folder) if weights else None

    def load(self, language: str, model: str, found: str, device: str) -> Aligner:
        """Load what `find` found. Raises whatever the libraries raise."""
        from images.whisperx.app.alignment.wav2vec2 import Wav2Vec2  # noqa: PLC0415

        return Wav2Vec2.load(language, model, found, device)


def bundle_of(model: str) -> Any:  # noqa: ANN401 - the library has no types
    """A bundle of torchaudio: weights that are kept for it outside the hub."""
    import torchaudio  # noqa: PLC0415

    return getattr(torchaudio.pipelines, model)


def bundle_file(model: str) -> Path:
    """Where torch keeps a bundle's weights once it has fetched them (TORCH_HOME)."""
    import torch  # noqa: PLC0415

    # The bundle itself would tell only by fetching them.
    return Path(torch.hub.get_dir(), "checkpoints", Path(bundle_of(model)._path).name)  # noqa: SLF001
