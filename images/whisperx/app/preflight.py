"""Refuse what cannot fit before it starts: a box that thrashes is lost for everybody on it."""

from __future__ import annotations

from pathlib import Path

from images.serving.errors import ApiError
from images.whisperx.app.settings import EngineSettings
from images.whisperx.app.windows import LONGEST


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that this process can still get: the machine's, or less where a cgroup limits it.

    Args:
        root: the folder that holds proc/ and sys/; tests give their own.
    """
    meminfo = (root / "proc/meminfo").read_text(encoding="ascii")
    kilobytes = next(
        line.split()[1] for line in meminfo.splitlines() if line.startswith("MemAvailable:")
    )
    return max(0, min([int(kilobytes) * 1024, *_cgroup_headroom(root)]))


def _cgroup_headroom(root: Path) -> list[int]:
    """What each cgroup (version 2) above this process still allows, in bytes."""
    mounted = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")
    folder = mounted / own.lstrip("/")
    found = []
    while folder.is_relative_to(mounted):
        found += _headroom(folder)
        folder = folder.parent
    return found


def _headroom(folder: Path) -> list[int]:
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        statistics = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    if limit == "max":
        return []
    # Page cache counts as used, and is given back when it is wanted.
    cache = next((int(line.split()[1]) for line in statistics if "inactive_file" in line), 0)
    return [int(limit) - used + cache]


def needed_memory(duration_s: float, settings: EngineSettings) -> int:
    """Bytes that audio of this length takes beyond the loaded models (../README.md, "Memory").

    A long recording is worked on in windows, and needs no more than the longest of them.
    """
    at_once_s = min(duration_s, LONGEST * settings.window_s)
    return round(at_once_s / 3600 * settings.audio_bytes_per_hour)


def refuse_what_cannot_fit(duration_s: float, available: int, settings: EngineSettings) -> None:
    """Check one request's audio against the memory; its length was checked as it was decoded.

    Args:
        duration_s: the length of the audio, in seconds.
        available: what `available_memory` said, in bytes.
        settings: the limits.

    Raises:
        ApiError: 413, with the numbers and the settings that decide.
    """
    needed = needed_memory(duration_s, settings)
    if needed + settings.memory_reserve_bytes > available:
        raise ApiError(
            413,
            "insufficient_memory",
            f"{duration_s:.0f} s of audio need about {_gigabytes(needed)} of memory "
            f"(ENGINE_MEMORY_PER_HOUR_BYTES), {_gigabytes(settings.memory_reserve_bytes)} stay "
            f"free (ENGINE_MEMORY_RESERVE_BYTES), and {_gigabytes(available)} are available. "
            "Send it in parts, or free memory on the host.",
            param="file",
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
