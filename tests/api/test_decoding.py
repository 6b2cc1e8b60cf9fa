"""What needs the decoder waits for a place there; nothing else waits for it."""

import os
from pathlib import Path

from proxy_app.transcribing.attempts import DECODER, SMALL_BYTES
from tests.api.conftest import running, taken
from tests.api.recordings import canonical_wav, encoded
from tests.standins.upstream_whisperx import StandIn

CLIP = encoded("libmp3lame", "mp3")
FILM = CLIP + bytes(SMALL_BYTES)
CORES = len(os.sched_getaffinity(0))


def test_a_minute_of_a_cds_sound_is_a_small_file_and_a_film_is_none() -> None:
    assert 44_100 * 2 * 2 * 60 <= SMALL_BYTES <= 20_000_000


def test_clips_do_not_wait_for_the_decoding_of_films(standin: StandIn, tmp_path: Path) -> None:
    with (
        running(tmp_path, standin.port, SPEECH_QUEUE_DEADLINE_S="0.4") as gateway,
        taken(gateway, DECODER, CORES),
    ):
        assert gateway.transcribe(CLIP).status_code == 200
        film = gateway.transcribe(FILM)
        assert (film.status_code, film.json()["error"]["code"]) == (429, "queue_full")


def test_what_needs_no_decoding_waits_for_no_decoder(standin: StandIn, tmp_path: Path) -> None:
    with (
        running(tmp_path, standin.port, SPEECH_QUEUE_DEADLINE_S="0.4") as gateway,
        taken(gateway, DECODER, CORES),
        taken(gateway, f"{DECODER} of small files", CORES),
    ):
        assert gateway.transcribe(canonical_wav(5)).status_code == 200
        assert gateway.transcribe(CLIP).status_code == 429
