"""Any recording made the WAV that NeMo reads, by a process of its own with limits."""

import json
import os
import re
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

from sortformer_refusals import Refusal
from sortformer_settings import PROGRAM

RATE = 16_000
"""Samples per second of what the model hears."""
DECODE_S = 600
_DEMUXERS = (
    (rb"(RIFF|RF64|BW64).{4}WAVE", "wav"),
    (rb"FORM.{4}AIF[FC]", "aiff"),
    (rb"fLaC", "flac"),
    (rb"OggS", "ogg"),
    (rb"\x1a\x45\xdf\xa3", "matroska"),
    (rb".{4}(ftyp|moov|mdat|wide|free|skip)", "mov"),
    (rb"#!AMR", "amr"),
    (rb"caff", "caf"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (rb"\xff[\xf0\xf1\xf8\xf9]", "aac"),
    (rb"ID3|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]", "mp3"),
)
"""What begins which of FFmpeg's formats; only that one may open the file. FFmpeg's own guess would
open a playlist that is named .wav, and what it lists."""


def to_wav(
    source: Path, target: Path, max_seconds: float, check_client: Callable[[], None] = lambda: None
) -> float:
    """Make the WAV that NeMo reads of any recording: 16 kHz, mono, 16 bits, padded to a second.

    Args:
        source: an upload; it may be moved.
        target: where the WAV is put.
        max_seconds: nothing beyond is decoded, and the length that is returned is more than this.
        check_client: called now and then; what it raises ends the work.

    Returns:
        Seconds without the padding.

    Raises:
        Refusal: 400, 413 or 415: it cannot be decoded.
    """
    seconds = _canonical_seconds(source)
    if seconds is not None:
        source.rename(target)
        return seconds
    arguments = [str(source), str(target), str(max_seconds), str(os.getpid())]
    command = [sys.executable, "-B", str(PROGRAM), "--decode", *arguments]
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    deadline = time.monotonic() + DECODE_S
    # Its lines are few and short: they fit the pipe, so that nobody need read along.
    with subprocess.Popen(  # noqa: S603 - no shell, our own file
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={**os.environ, **threads}
    ) as child:
        try:
            while child.poll() is None:
                check_client()
                if time.monotonic() > deadline:
                    message = f"Decoding takes longer than {DECODE_S} s. Send WAV or FLAC."
                    raise Refusal(413, "audio_too_complex", message)
                time.sleep(0.02)
            output = child.stdout.read() if child.stdout else b""
        finally:
            child.kill()
    if child.returncode:
        raise Refusal(400, "decoder_failed", "The decoder crashed on this file. Send WAV or FLAC.")
    answer = json.loads(output)
    if "refusal" in answer:
        raise Refusal(*answer["refusal"])
    return float(answer["seconds"])


def _canonical_seconds(source: Path) -> float | None:
    """The length of what is a WAV of the wanted form already and a second long, else None."""
    try:
        with wave.open(str(source), "rb") as file:
            form = (file.getframerate(), file.getnchannels(), file.getsampwidth())
            frames = file.getnframes()
    except (wave.Error, EOFError):
        return None
    honest = source.stat().st_size >= 2 * frames
    return frames / RATE if form == (RATE, 1, 2) and honest and frames >= RATE else None


def decode(source: Path, target: Path, max_seconds: float) -> float:
    """Decode in this process; see to_wav."""
    with source.open("rb") as file:
        head = file.read(64)
    known = (name for magic, name in _DEMUXERS if re.match(magic, head, re.DOTALL))
    demuxer = next(known, None)
    if demuxer is None:
        message = "This is no audio format that is known here. Send wav, flac, mp3, ogg, m4a, webm."
        raise Refusal(415 if head else 400, "unsupported_format" if head else "empty_file", message)
    usable = 0
    for decoder in (_by_soundfile, _by_pyav, _by_ffmpeg):
        try:
            frames = _write(decoder(str(source), demuxer), target, max_seconds)
        except (ImportError, FileNotFoundError):
            continue  # this container has not got it
        usable += 1
        if frames:
            return frames / RATE
    if not usable:
        message = f"Nothing here decodes {demuxer} (neither PyAV nor ffmpeg). Send WAV or FLAC."
        raise Refusal(415, "unsupported_format", message)
    message = "The file cannot be decoded: it has no audio, or is damaged."
    raise Refusal(400, "invalid_audio", message)


def _write(parts: Iterator[bytes], target: Path, max_seconds: float) -> int:
    """Write 16-bit samples as they come; return how many came."""
    frames = 0
    with wave.open(str(target), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        for part in parts:
            frames += len(part) // 2
            file.writeframesraw(part)
            if frames > max_seconds * RATE:
                break
        file.writeframesraw(bytes(2 * max(0, RATE - frames)))
    return frames


def _by_soundfile(source: str, demuxer: str) -> Iterator[bytes]:
    if demuxer not in ("wav", "aiff", "flac", "ogg", "mp3"):
        raise ImportError
    import numpy as np  # noqa: PLC0415 - soundfile's own requirement
    import soundfile  # noqa: PLC0415
    import soxr  # noqa: PLC0415 - comes with librosa, and that with NeMo

    try:
        with soundfile.SoundFile(source) as file:
            resampler = soxr.ResampleStream(file.samplerate, RATE, 1, dtype="float32")
            for block in file.blocks(blocksize=65536, dtype="float32", always_2d=True):
                last = file.tell() == file.frames
                mono = np.nan_to_num(block.mean(axis=1))
                samples = resampler.resample_chunk(mono, last=last)
                yield (samples.clip(-1, 1) * 32767).astype("<i2").tobytes()
    except soundfile.SoundFileError:
        return  # what came before counts; if nothing did, the next decoder has a try


def _by_pyav(source: str, demuxer: str) -> Iterator[bytes]:
    import av  # noqa: PLC0415

    options = {"protocol_whitelist": "none", "format_whitelist": demuxer}
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    try:
        with (
            Path(source).open("rb") as file,
            av.open(file, mode="r", format=demuxer, options=options) as container,
        ):
            for frame in container.decode(audio=0):
                frame.pts = None  # gaps must not be filled with invented samples
                for made in resampler.resample(frame):
                    yield bytes(made.planes[0])[: 2 * made.samples]
            for made in resampler.resample(None):
                yield bytes(made.planes[0])[: 2 * made.samples]
    except (av.FFmpegError, IndexError, ValueError):
        return


def _by_ffmpeg(source: str, demuxer: str) -> Iterator[bytes]:
    command = ["ffmpeg", "-v", "error", "-nostdin", "-protocol_whitelist", "file", "-f", demuxer]
    output = ["-vn", "-ac", "1", "-ar", str(RATE), "-f", "s16le", "pipe:1"]
    with subprocess.Popen(  # noqa: S603 - no shell
        [*command, "-i", f"file:{source}", *output], stdout=subprocess.PIPE
    ) as process:
        while process.stdout and (part := process.stdout.read(65536)):
            yield part
