"""A WAV in pieces: nothing is lost or doubled, and the cuts are where it is quiet."""

from array import array
from itertools import pairwise
from pathlib import Path

import pytest

from proxy_app.audio import Piece, pieces
from proxy_app.audio.wav import HEADER_BYTES, RATE, find_canonical, header
from tests.standins.blips import dialogue, recording


def written(folder: Path, wav: bytes) -> Path:
    path = folder / "audio.wav"
    path.write_bytes(wav)
    return path


def read(piece: Piece) -> bytes:
    with piece.open() as reader:
        size = len(reader)
        found = b"".join(iter(lambda: reader.read(10_007), b""))
        assert len(reader) == 0
    assert len(found) == size
    return found


@pytest.mark.parametrize("duration_s", [1.0, 9.99, 10.0, 10.01, 19.9, 20.1, 61.7, 100.0])
def test_pieces_follow_each_other_without_a_gap_and_none_is_too_long(
    tmp_path: Path, duration_s: float
) -> None:
    wav = recording(dialogue(90), duration_s) if duration_s > 50 else recording([], duration_s)
    found = list(pieces(written(tmp_path, wav), 10.0))
    assert found[0].first == 0
    assert all(before.last == after.first for before, after in pairwise(found))
    assert found[-1].last == (len(wav) - HEADER_BYTES) // 2
    assert all(piece.duration_s <= 10.0 for piece in found)
    assert all(piece.duration_s >= 3.7 for piece in found[:-1]), "needlessly short"
    assert b"".join(read(piece)[HEADER_BYTES:] for piece in found) == wav[HEADER_BYTES:]


def test_each_piece_is_a_whole_wav(tmp_path: Path) -> None:
    for number, piece in enumerate(pieces(written(tmp_path, recording([], 35)), 10.0)):
        path = tmp_path / f"{number}.wav"
        path.write_bytes(read(piece))
        pcm = find_canonical(path)
        assert pcm is not None
        assert (pcm.offset, pcm.size) == (HEADER_BYTES, 2 * (piece.last - piece.first))


@pytest.mark.parametrize("noise", [20, 800])
def test_cuts_are_in_the_pauses_in_noise_too(tmp_path: Path, noise: int) -> None:
    words = dialogue(70, every_s=0.8)
    samples = array("h", recording(words, 58.0)[HEADER_BYTES:])
    for index in range(len(samples)):
        samples[index] += index * 7919 % (2 * noise + 1) - noise
    wav = header(2 * len(samples)) + samples.tobytes()
    found = list(pieces(written(tmp_path, wav), 12.0))
    assert len(found) >= 5
    for piece in found[1:]:
        cut_s = piece.first / RATE
        assert not any(word.start <= cut_s <= word.end for word in words)


def test_without_any_pause_it_is_cut_all_the_same(tmp_path: Path) -> None:
    samples = array("h", [9000]) * (RATE * 30)
    wav = header(2 * len(samples)) + samples.tobytes()
    assert len(list(pieces(written(tmp_path, wav), 10.0))) >= 3


def test_a_recording_that_shrinks_meanwhile_is_an_error_and_no_endless_wait(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, recording([], 5))
    (piece,) = pieces(path, 10.0)
    with piece.open() as reader:
        path.write_bytes(path.read_bytes()[:1000])
        assert len(reader.read(500)) == 500
        with pytest.raises(OSError, match="shorter"):
            reader.read(100_000)
