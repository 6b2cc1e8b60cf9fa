"""The server's settings, read from PARAKEET_*."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from proxy_app.settings import SettingError, setting

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class ParakeetSettings:
    """One field for each variable; `proxy_app.settings` documents and reads them."""

    host: str = setting("127.0.0.1", "The address to listen on; the image has 0.0.0.0.")
    port: int = setting(8001, "The port to listen on.", minimum=1, maximum=65535)
    api_key: str | None = setting(
        None,
        "When set, every request except GET /health needs `Authorization: Bearer KEY`.",
        secret=True,
    )
    model: str = setting(
        "nvidia/parakeet-tdt-0.6b-v3",
        "The model: an id of the Hugging Face hub, or the path of a .nemo file. TDT and RNNT "
        "models work.",
    )
    device: str = setting(
        "auto",
        "Where the model runs; `auto` is CUDA where there is a GPU.",
        choices=("auto", "cpu", "cuda"),
    )
    threads: int = setting(
        0, "CPU threads for inference; 0 leaves it to torch.", minimum=0, maximum=1024
    )
    window_s: float = setting(
        60.0,
        "The longest window, in seconds: a longer recording is transcribed in several, cut where "
        "it is quiet. Memory grows with the square of a window's length.",
        minimum=10,
        maximum=1200,
    )
    max_upload_bytes: int = setting(
        2 * 1024**3,
        "The largest request body, in bytes; more is answered with 413.",
        minimum=1,
        maximum=2**50,
    )
    max_audio_s: float = setting(
        4 * 3600.0,
        "The longest audio, in seconds; more is answered with 413.",
        minimum=1,
        maximum=1e6,
    )
    queue: int = setting(
        32,
        "Requests that may wait while one is worked on; one more is answered with 429.",
        minimum=0,
    )
    spool_dir: Path | None = setting(  # noqa: RUF009 - a Path cannot change
        None,
        "Where uploads lie while they are worked on, and the model's files (2.5 GB) while it is "
        "loaded; by default the system's temporary folder.",
    )

    @property
    def spool(self) -> Path:
        """The folder for this process's own files: no other one has the port."""
        return (self.spool_dir or Path(tempfile.gettempdir())).absolute() / f"parakeet-{self.port}"

    @property
    def model_file(self) -> Path | None:
        """The .nemo file that `model` names, or None where it names one of the hub's."""
        return Path(self.model) if self.model.endswith(".nemo") else None


def check_model(settings: ParakeetSettings) -> None:
    """Refuse at the start what no waiting heals.

    Raises:
        SettingError: the model is neither a file that is there nor an id that the hub could have.
    """
    file = settings.model_file
    if file.is_file() if file else _HUB_ID.fullmatch(settings.model):
        return
    raise SettingError(
        f"PARAKEET_MODEL={settings.model!r}: expected an id of the hub such as "
        "nvidia/parakeet-tdt-0.6b-v3, or the path of a .nemo file that is there"
    )
