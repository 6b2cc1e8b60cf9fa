"""Turn an uploaded file of any kind into the WAV that the services get."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from proxy_app.audio import sniff, wav

_CHILD = Path(__file__).with_name("child.py")
_COPY_BYTES = 16 * 1024 * 1024
"""Larger files are copied by the child, so that the copy does not hold up a server's other work."""
_LOOK_S = 0.1
"""How often a decode that can be given up looks whether it was."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one file may cost."""

    max_audio_s: float = 4 * 3600.0
    memory_bytes: int = 1024 * 1024 * 1024
    """Address space of the decoding process."""
    cpu_s: int = 300
    timeout_s: int = 600
    """Wall clock, waiting for the disk included."""
    max_channels: int = 8


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What was found in a file."""

    duration_s: float
    """True length in seconds, before any padding."""
    format: str
    """FFmpeg's name of the container: wav, mp3, matroska..."""


class GivenUpError(Exception):
    """Nobody wants the file decoded any more."""


class AudioError(Exception):
    """A file that cannot be used. The message is for the person who sent it.

    Attributes:
        status: the HTTP status that fits: 400, 413 (costs too much), 507 (disk full).
        code: a stable word for programs: empty_file, unsupported_format, invalid_audio, no_audio,
            audio_too_short, too_many_channels, audio_too_long, audio_too_complex,
            decoder_failed, storage_full.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


_REFUSALS = {
    "no_audio": ("no_audio", "The file has no audio track."),
    "too_short": ("audio_too_short", "The recording is shorter than one sample at 16 kHz."),
    "channels": (
        "too_many_channels",
        "The recording has {} channels; at most {} are accepted. Mix it down to mono or stereo.",
    ),
    "invalid": (
        "invalid_audio",
        "The file cannot be decoded: it is damaged, incomplete, or not what its beginning says.",
    ),
}


def to_wav(
    source: Path,
    target: Path,
    limits: DecodeLimits | None = None,
    given_up: threading.Event | None = None,
) -> AudioInfo:
    """Write `source` to `target` as 16 kHz mono 16-bit WAV, padded with silence to one second.

    Blocks (cooperatively under gevent); may be called from any thread. On any exception, being
    interrupted included, the child is gone and `target` does not exist.

    Args:
        source: a complete file on disk, whatever its name says.
        target: must not exist, or is replaced. It may be a hard link to `source`.
        limits: what the file may cost.
        given_up: another thread sets it to end the work, which a thread cannot be interrupted in.

    Raises:
        AudioError: the file is not audio, is broken, or costs more than the limits allow.
        GivenUpError: `given_up` was set first.
    """
    limits = limits or DecodeLimits()
    target.unlink(missing_ok=True)
    info = copy_canonical(source, target, limits)
    if info is not None:
        return info
    container = _sniff(source)
    if container == "wav" and wav.is_empty(source):
        raise AudioError(400, *_REFUSALS["too_short"])
    try:
        return _decode(source, target, container, limits, given_up)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def copy_canonical(source: Path, target: Path, limits: DecodeLimits) -> AudioInfo | None:
    """Do what `to_wav` does where no decoding is needed, without a child process; else None.

    Raises:
        AudioError: the file is longer than `limits.max_audio_s`, or the disk is full.
    """
    pcm = wav.find_canonical(source)
    if pcm is None:
        return None
    duration_s = pcm.size / wav.SAMPLE_BYTES / wav.RATE
    if duration_s > limits.max_audio_s:
        raise _too_long(limits)
    padding = wav.MINIMUM_SAMPLES * wav.SAMPLE_BYTES - pcm.size
    already = pcm.offset == wav.HEADER_BYTES and pcm.offset + pcm.size == pcm.file_size
    if already and padding <= 0:
        try:
            os.link(source, target)
        except OSError:  # another file system, or one without hard links: copy
            pass
        else:
            return AudioInfo(duration_s, "wav")
    if pcm.size > _COPY_BYTES:
        return None
    try:
        with source.open("rb") as reader, target.open("xb") as writer:
            reader.seek(pcm.offset)
            samples = reader.read(pcm.size) + bytes(max(0, padding))
            writer.write(wav.header(len(samples)) + samples)
    except OSError as error:
        target.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _storage_full() from error
        raise
    return AudioInfo(duration_s, "wav")


def _sniff(source: Path) -> str:
    with source.open("rb") as file:
        head = file.read(sniff.HEAD_BYTES)
        if not head:
            raise AudioError(400, "empty_file", "The file is empty: nothing was uploaded in it.")
        container = sniff.container_format(head)
        tag = sniff.id3_length(head)
        if tag and container is None:
            file.seek(tag)
            container = sniff.container_format(file.read(sniff.HEAD_BYTES)) or "mp3"
    if container is None:
        raise AudioError(
            400,
            "unsupported_format",
            f"The file is {sniff.describe_refused(head)}. Send a recording as wav, mp3, m4a, mp4, "
            "ogg, opus, webm or flac.",
        )
    return container


def _decode(
    source: Path,
    target: Path,
    container: str,
    limits: DecodeLimits,
    given_up: threading.Event | None,
) -> AudioInfo:
    order = {
        "parent": os.getpid(),
        "source": str(source),
        "target": str(target),
        "format": container,
        "max_audio_s": limits.max_audio_s,
        "memory_bytes": limits.memory_bytes,
        "cpu_s": limits.cpu_s,
        "timeout_s": limits.timeout_s,
        "max_channels": limits.max_channels,
        "rate": wav.RATE,
        "minimum_samples": wav.MINIMUM_SAMPLES,
    }
    # -I: neither the working folder nor the environment decides what the child imports.
    with subprocess.Popen(  # noqa: S603 - no shell, our own script
        [sys.executable, "-I", str(_CHILD), json.dumps(order)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_child_environment(),
    ) as child:
        try:
            output, trace = _wait(child, limits.timeout_s, given_up)
        except subprocess.TimeoutExpired:
            child.kill()
            raise _too_complex(limits) from None
        except BaseException:
            child.kill()
            raise
    if child.returncode > 0:  # Python itself failed: our installation, not their file
        raise RuntimeError(f"the decoding process failed: {trace.decode(errors='replace')[-500:]}")
    if child.returncode < 0:
        raise _died(-child.returncode, limits)
    answer = json.loads(output)
    if "error" in answer:
        raise _refused(answer, limits)
    samples = int(answer["samples"])
    _write_header(target, max(samples, wav.MINIMUM_SAMPLES))
    return AudioInfo(samples / wav.RATE, container.split(",", 1)[0])


def _wait(
    child: subprocess.Popen[bytes], timeout_s: float, given_up: threading.Event | None
) -> tuple[bytes, bytes]:
    """What the child wrote, once it has ended.

    Raises:
        subprocess.TimeoutExpired, GivenUpError: it has not ended.
    """
    if given_up is None:
        return child.communicate(timeout=timeout_s)
    until = time.monotonic() + timeout_s
    while not given_up.is_set():
        try:
            return child.communicate(timeout=_LOOK_S)
        except subprocess.TimeoutExpired:
            if time.monotonic() >= until:
                raise
    raise GivenUpError


def _child_environment() -> dict[str, str]:
    """Next to nothing: the environment holds keys, and the child reads strangers' files."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"LC_ALL": "C.UTF-8"} | kept


def _write_header(target: Path, samples: int) -> None:
    with target.open("r+b") as file:
        file.write(wav.header(samples * wav.SAMPLE_BYTES))


def _refused(answer: dict[str, str], limits: DecodeLimits) -> AudioError:
    """The child's word for what was wrong, as an error for the person who sent the file."""
    word = answer["error"]
    if word == "too_long":
        return _too_long(limits)
    if word == "memory":
        return _too_complex(limits)
    if word == "storage":
        return _storage_full()
    code, message = _REFUSALS[word]
    return AudioError(400, code, message.format(answer.get("detail"), limits.max_channels))


def _died(signal_number: int, limits: DecodeLimits) -> AudioError:
    if signal_number in (signal.SIGXCPU, signal.SIGALRM):
        return _too_complex(limits)
    return AudioError(
        400,
        "decoder_failed",
        "The decoder crashed on this file or ran out of memory. Convert it to WAV or MP3 first.",
    )


def _too_long(limits: DecodeLimits) -> AudioError:
    return AudioError(
        413,
        "audio_too_long",
        f"The recording is longer than the limit of {limits.max_audio_s:g} s. Split it.",
    )


def _too_complex(limits: DecodeLimits) -> AudioError:
    return AudioError(
        413,
        "audio_too_complex",
        f"Decoding this file takes more than {limits.cpu_s} s of processor time, "
        f"{limits.timeout_s} s in all, or {limits.memory_bytes // 1024**2} MiB of memory. "
        "Convert it to WAV or MP3 first.",
    )


def _storage_full() -> AudioError:
    return AudioError(507, "storage_full", "The server's disk is full. Try again later.")
