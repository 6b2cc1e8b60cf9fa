"""What Parakeet's process and the diarizer's agree on: settings, their folder, addresses."""

import logging
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATH = "/v1/audio/diarize"
HEALTH_PATH = "/v1/audio/diarize/health"

POST_PROCESSING = {
    "v2-dihard3": (0.56, 1.0, 0.063, 0.002, 0.007, 0.151),
    "v2-callhome": (0.641, 0.561, 0.229, 0.079, 0.511, 0.296),
    "v1-dihard3": (0.64, 0.74, 0.06, 0.0, 0.1, 0.15),
    "v1-callhome": (0.53, 0.49, 0.23, 0.01, 0.42, 0.34),
    "none": (0.5, 0.5, 0.0, 0.0, 0.0, 0.0),
}
"""How probabilities become turns, as NVIDIA tuned it (NeMo, examples/speaker_tasks/diarization/conf
/post_processing; the wheel has not got them): dihard3 keeps short turns, callhome is for calls."""
GIB = 1024**3
IDLE_S = 60
LONGEST_SOCKET_PATH = 107
PROGRAM = Path(__file__).resolve().with_name("sortformer_process.py")
"""The parts that are processes of their own."""

# Under uvicorn this logger's lines are shown whatever Parakeet's own logging is set to.
log = logging.getLogger("uvicorn.error.sortformer")


@dataclass(frozen=True)
class Settings:
    """What the environment says."""

    model: str = "nvidia/diar_streaming_sortformer_4spk-v2.1"
    device: str = "auto"
    post_processing: str = "dihard3"
    max_seconds: float | None = None
    max_bytes: int = 2 * GIB
    waiting: int = 4
    folder: Path = field(
        default_factory=lambda: Path(tempfile.gettempdir()) / f"sortformer-{os.geteuid()}"
    )
    api_key_file: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read SORTFORMER_*; an empty variable counts as unset.

        Raises:
            ValueError: one cannot be used; the message names it.
        """
        given: dict[str, Any] = {}
        variables: dict[str, tuple[str, Callable[[str], Any]]] = {
            "model": ("SORTFORMER_MODEL", str),
            "device": ("SORTFORMER_DEVICE", str),
            "post_processing": ("SORTFORMER_POST_PROCESSING", str),
            "max_seconds": ("SORTFORMER_MAX_SECONDS", _positive),
            "max_bytes": ("SORTFORMER_MAX_BYTES", _positive),
            "waiting": ("SORTFORMER_WAITING", _positive),
            "folder": ("SORTFORMER_DIR", Path),
            "api_key_file": ("SORTFORMER_API_KEY_FILE", Path),
        }
        for name, (variable, convert) in variables.items():
            text = environment.get(variable, "").strip()
            if text:
                try:
                    given[name] = convert(text)
                except ValueError as error:
                    raise ValueError(f"{variable}: {error}") from None
        known = sorted({name.split("-")[-1] for name in POST_PROCESSING})
        if given.get("post_processing", "none") not in known:
            raise ValueError(f"SORTFORMER_POST_PROCESSING: expected one of {', '.join(known)}")
        return cls(**given)

    @property
    def socket(self) -> Path:
        """Where the diarizer's process answers."""
        return self.folder / "socket"


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise ValueError(f"expected a whole number from 1, not {text[:40]!r}")
    return int(text)


def prepare_folder(folder: Path) -> None:
    """Make the folder of the socket and of the uploads, for this user alone.

    Raises:
        OSError: it cannot be made, or somebody else could reach into it.
    """
    if len(os.fsencode(folder / "socket")) > LONGEST_SOCKET_PATH:
        raise OSError(f"{folder} is too long a path for a socket: set SORTFORMER_DIR")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if (
        not stat.S_ISDIR(found.st_mode)
        or found.st_uid != os.geteuid()
        or stat.S_IMODE(found.st_mode) & 0o077
    ):
        raise OSError(
            f"{folder} is not a folder of this user's alone (mode 0700): "
            "remove it, or set SORTFORMER_DIR"
        )
