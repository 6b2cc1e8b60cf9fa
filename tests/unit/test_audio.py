"""Any file becomes 16 kHz mono 16-bit WAV, or an error that says why not."""

import os
import random
import signal
import struct
import subprocess
import threading
import wave
from pathlib import Path

import numpy as np
import pytest

from proxy_app.audio import AudioError, AudioInfo, DecodeLimits, decode, sniff, to_wav
from tests.api.recordings import PLAYLIST, canonical_wav, claiming, encoded
from tests.data import test_data

TONE = canonical_wav(2)
STEREO = canonical_wav(2, 44_100, 2)


def convert(
    folder: Path,
    data: bytes,
    limits: DecodeLimits | None = None,
    given_up: threading.Event | None = None,
) -> AudioInfo:
    source = folder / "source.wav"
    source.write_bytes(data)
    return to_wav(source, folder / "target.wav", limits, given_up)


def samples(folder: Path) -> np.ndarray:
    """The target's samples, by a reader that believes nothing but the header."""
    with wave.open(str(folder / "target.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        data = file.readframes(file.getnframes())
        assert len(data) == file.getnframes() * 2, "the header promises more than there is"
    size = (folder / "target.wav").stat().st_size
    assert size == 44 + len(data)
    return np.frombuffer(data, "<i2")


def refused(
    folder: Path,
    data: bytes,
    limits: DecodeLimits | None = None,
    given_up: threading.Event | None = None,
) -> AudioError:
    with pytest.raises(AudioError) as raised:
        convert(folder, data, limits, given_up)
    assert not (folder / "target.wav").exists(), "a refused file left something behind"
    return raised.value


@pytest.mark.parametrize(
    ("codec", "container", "found"),
    [
        ("libmp3lame", "mp3", "mp3"),
        ("aac", "ipod", "mov"),
        ("aac", "mp4", "mov"),
        ("aac", "adts", "aac"),
        ("libopus", "ogg", "ogg"),
        ("libopus", "webm", "matroska"),
        ("flac", "flac", "flac"),
        ("flac", "matroska", "matroska"),
        ("mp2", "mpeg", "mpeg"),
        ("aac", "mpegts", "mpegts"),
        ("pcm_s16be", "aiff", "aiff"),
        ("pcm_s16be", "au", "au"),
        ("pcm_s16le", "caf", "caf"),
        ("pcm_f32le", "wav", "wav"),
    ],
)
def test_a_format_is_decoded_whatever_its_name_says(
    tmp_path: Path, codec: str, container: str, found: str
) -> None:
    info = convert(tmp_path, encoded(codec, container))
    assert info.format == found
    # Encoders may add up to a tenth of a second of their own at the ends.
    assert info.duration_s == pytest.approx(2.0, abs=0.1)
    tone = samples(tmp_path)
    assert len(tone) == round(info.duration_s * 16_000)
    spectrum = np.abs(np.fft.rfft(tone[8000:24000]))
    assert int(np.argmax(spectrum)) == 440


def test_a_canonical_file_needs_no_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_decode", None)
    assert convert(tmp_path, TONE) == AudioInfo(2.0, "wav")
    assert (tmp_path / "target.wav").read_bytes() == TONE


def test_a_canonical_file_is_copied_where_it_cannot_be_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_paths: Path) -> None:
        raise OSError("another file system")

    monkeypatch.setattr(os, "link", no_links)
    assert convert(tmp_path, TONE).duration_s == 2.0
    assert (tmp_path / "target.wav").read_bytes() == TONE


def test_more_chunks_before_the_samples_do_no_harm(tmp_path: Path) -> None:
    extra = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    assert convert(tmp_path, TONE[:36] + extra + TONE[36:]).duration_s == 2.0
    assert samples(tmp_path).tobytes() == TONE[44:]


def test_stereo_is_mixed_and_resampled(tmp_path: Path) -> None:
    assert convert(tmp_path, STEREO).duration_s == pytest.approx(2.0)
    assert np.abs(samples(tmp_path)).max() == pytest.approx(8000, rel=0.1)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_short_recording_is_padded_but_its_length_stays_true(tmp_path: Path, rate: int) -> None:
    info = convert(tmp_path, canonical_wav(0.25, rate))
    assert info.duration_s == pytest.approx(0.25, abs=0.001)
    padded = samples(tmp_path)
    assert len(padded) == 16_000
    assert not padded[round(info.duration_s * 16_000) :].any()


def test_a_file_that_changes_its_sample_rate_keeps_its_length_and_pitch(tmp_path: Path) -> None:
    data = encoded("libmp3lame", "mp3", rate=44_100) + encoded("libmp3lame", "mp3", rate=16_000)
    assert convert(tmp_path, data).duration_s == pytest.approx(4.0, abs=0.3)
    found = samples(tmp_path).astype(np.float64)
    pitches = [
        np.abs(np.fft.rfft(found[start : start + 16_000])).argmax() for start in (8000, 40_000)
    ]
    assert pitches[0] == pytest.approx(pitches[1], abs=2)  # in Hz, over a second


def test_one_sample_is_a_recording(tmp_path: Path) -> None:
    assert convert(tmp_path, canonical_wav(1 / 16_000)).duration_s == 1 / 16_000
    assert len(samples(tmp_path)) == 16_000


def test_less_than_one_sample_is_none(tmp_path: Path) -> None:
    error = refused(tmp_path, canonical_wav(1 / 44_100, 44_100))
    assert (error.status, error.code) == (400, "audio_too_short")


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2)])
def test_a_wav_without_a_sample_is_too_short_and_not_damaged(
    tmp_path: Path, rate: int, channels: int, size: int
) -> None:
    error = refused(tmp_path, claiming(canonical_wav(0, rate, channels), size))
    assert (error.status, error.code) == (400, "audio_too_short")


@pytest.mark.parametrize("wav", [TONE, STEREO])
def test_a_truncated_wav_is_decoded_as_far_as_it_goes(tmp_path: Path, wav: bytes) -> None:
    kept = wav[: len(wav) // 2]
    assert convert(tmp_path, kept).duration_s == pytest.approx(1.0, abs=0.01)
    samples(tmp_path)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0xFFFFFFF0, 0])
def test_a_wav_that_lies_about_its_size_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    assert convert(tmp_path, claiming(TONE, size)).duration_s == pytest.approx(2.0)
    samples(tmp_path)


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        (b"", "empty_file", "empty"),
        (b"Dear all, here is no sound.\n" * 50, "unsupported_format", "text"),
        (PLAYLIST, "unsupported_format", "playlist"),
        (b"\xef\xbb\xbf" + PLAYLIST, "unsupported_format", "playlist"),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", "unsupported_format", "playlist"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_format", "SVG"),
        (b"<!DOCTYPE html><p>hello", "unsupported_format", "HTML"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), "unsupported_format", "not in an audio format"),
        (bytes(1000), "unsupported_format", "not in an audio format"),
        (TONE[:44], "invalid_audio", "damaged"),
        (TONE[:30], "invalid_audio", "damaged"),
        (b"fLaC" + bytes(1000), "invalid_audio", "damaged"),
        (b"ID3\x04\0\0\0\0\0\x05hello", "invalid_audio", "damaged"),
        (b"\0\0\0\x18ftypisom" + bytes(500), "invalid_audio", "damaged"),
        (canonical_wav(1, 16_000, 32), "too_many_channels", "32 channels"),
    ],
)
def test_what_is_no_recording_is_refused_with_the_reason(
    tmp_path: Path, data: bytes, code: str, said: str
) -> None:
    error = refused(tmp_path, data)
    assert (error.status, error.code) == (400, code)
    assert said in error.message


def test_an_mp3_after_its_tag_is_found(tmp_path: Path) -> None:
    tag = b"ID3\x04\0\0\0\0\x10\0" + bytes(2048)
    flac = encoded("flac", "flac")
    assert convert(tmp_path, tag + flac).format == "flac"


@pytest.mark.parametrize("data", [TONE, STEREO, encoded("flac", "flac")])
def test_a_recording_over_the_limit_is_refused(tmp_path: Path, data: bytes) -> None:
    error = refused(tmp_path, data, DecodeLimits(max_audio_s=1.5))
    assert (error.status, error.code) == (413, "audio_too_long")


def test_hours_of_silence_in_a_small_file_are_stopped_while_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = encoded("flac", "flac", 1800.0, silence=True)
    assert len(bomb) < 500_000
    written = []
    unlink = Path.unlink

    def seen(path: Path, missing_ok: bool = False) -> None:
        if path.exists():
            written.append(path.stat().st_size)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", seen)
    error = refused(tmp_path, bomb, DecodeLimits(max_audio_s=60))
    assert error.code == "audio_too_long"
    assert max(written) <= 44 + 60 * 32_000


@pytest.mark.parametrize("given_up", [None, threading.Event()])
@pytest.mark.parametrize(
    ("limits", "child"),
    [(DecodeLimits(cpu_s=0), None), (DecodeLimits(timeout_s=0), "import time; time.sleep(20)")],
)
def test_a_file_that_costs_too_much_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limits: DecodeLimits,
    child: str | None,
    given_up: threading.Event | None,
) -> None:
    if child is not None:
        script = tmp_path / "child.py"
        script.write_text(child)
        monkeypatch.setattr(decode, "_CHILD", script)
    error = refused(tmp_path, STEREO, limits, given_up)
    assert (error.status, error.code) == (413, "audio_too_complex")


def test_a_file_that_takes_too_much_memory_is_refused(tmp_path: Path) -> None:
    # FFmpeg's libraries tell some failed allocations and crash over others.
    error = refused(tmp_path, STEREO, DecodeLimits(memory_bytes=60_000_000))
    assert error.code in ("audio_too_complex", "decoder_failed")
    assert "memory" in error.message


def test_a_crash_of_the_decoder_costs_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = tmp_path / "crash.py"
    crash.write_text(f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})")
    with monkeypatch.context() as patched:
        patched.setattr(decode, "_CHILD", crash)
        error = refused(tmp_path, STEREO)
    assert (error.status, error.code) == (400, "decoder_failed")
    assert convert(tmp_path, STEREO).duration_s == pytest.approx(2.0)


def test_a_broken_installation_is_not_the_senders_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_module")
    monkeypatch.setattr(decode, "_CHILD", broken)
    with pytest.raises(RuntimeError, match="no_such_module"):
        convert(tmp_path, STEREO)


def test_an_interrupted_decode_leaves_neither_child_nor_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children: list[subprocess.Popen[bytes]] = []

    def interrupt(child: subprocess.Popen[bytes], **_options: object) -> None:
        children.append(child)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path, STEREO)
    assert children[0].returncode == -signal.SIGKILL
    assert not (tmp_path / "target.wav").exists()


def test_the_child_sees_none_of_our_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hunter2")
    spy = tmp_path / "spy.py"
    spy.write_text("import os, sys; sys.exit(repr(sorted(os.environ)))")
    monkeypatch.setattr(decode, "_CHILD", spy)
    with pytest.raises(RuntimeError) as raised:
        convert(tmp_path, STEREO)
    assert "LC_ALL" in str(raised.value)
    assert "HF_TOKEN" not in str(raised.value)


MAGICS = {
    "wav": b"RIFF\0\1\0\0WAVE",
    "avi": b"RIFF\0\1\0\0AVI ",
    "aiff": b"FORM\0\0\1\0AIFF",
    "flac": b"fLaC",
    "ogg": b"OggS",
    "matroska": b"\x1a\x45\xdf\xa3",
    "mov": b"\0\0\0\x20ftyp",
    "amr": b"#!AMR\n",
    "caf": b"caff",
    "au": b".snd",
    "wv": b"wvpk",
    "flv": b"FLV\x01",
    "asf": bytes.fromhex("3026b2758e66cf11"),
    "mpeg": b"\0\0\1\xba",
    "aac": b"\xff\xf1",
    "mp3": b"\xff\xfb",
}
JUNK = random.Random(7).randbytes(5000)
DAMAGED = {name: magic + JUNK for name, magic in MAGICS.items()}
DAMAGED["mpegts"] = b"".join(b"\x47" + JUNK[at : at + 187] for at in range(0, 4000, 187))


def test_every_known_format_is_tried_with_junk() -> None:
    assert set(DAMAGED) == {name for _magic, name in sniff._CONTAINERS}


@pytest.mark.parametrize("name", DAMAGED)
def test_junk_behind_a_known_beginning_is_the_senders_fault(tmp_path: Path, name: str) -> None:
    error = refused(tmp_path, DAMAGED[name])
    assert (error.status, error.code in ("invalid_audio", "no_audio")) == (400, True)


def test_a_fault_of_the_installation_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    source = tmp_path / "source.wav"
    source.write_bytes(STEREO)
    with pytest.raises(RuntimeError, match="No such file or directory"):
        to_wav(source, tmp_path / "no-such-folder" / "target.wav")


def test_a_real_recording_keeps_its_length(tmp_path: Path) -> None:
    info = to_wav(test_data("audio") / "jfk.flac", tmp_path / "target.wav")
    assert info.duration_s == pytest.approx(11.0, abs=0.01)
    assert np.abs(samples(tmp_path)).max() > 5000
