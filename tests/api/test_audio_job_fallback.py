"""A service fails in the middle of an audio job: the others do it, or it ends as it failed."""

from collections.abc import Iterator

import pytest

from tests.api.audio_house import Installation
from tests.api.conftest import eventually
from tests.api.routed import AUDIO, PAIR, PATH, WORDS, Routed
from tests.standins.upstream_whisperx import PROGRESS, stream

WITH_SPEAKERS = {"model": "gpt-4o-transcribe-diarize", "response_format": "diarized_json"}
TEXT = " ".join(word.text for word in WORDS)
SAID = stream(speakers=True)[:2]
"""Progress, and the first text."""
GONE = {"type": "error", "status": 503, "error": {"message": "The GPU is lost.", "code": "gpu"}}


@pytest.fixture
def worked(routed: Routed) -> Iterator[Installation]:
    """Before all three services; no process works on the jobs yet."""
    house = Installation(routed.gateway, {"WHISPERX_HOST": "", "SPEECH_AUDIO_JOBS_AT_ONCE": "1"})
    yield house
    for standin in routed.standins.values():
        standin.release.set()
    for job in house.get().json()["data"]:
        assert house.delete(job["id"]) == 204
    if house.process is None:
        house.start()
    assert eventually(lambda: not house.folders(), 30)
    house.end()


@pytest.mark.parametrize(
    ("behaviour", "lines"),
    [("ok", [*SAID, GONE]), ("cut", SAID), ("cut", [PROGRESS | {"done_s": 2.0}])],
    ids=["error", "cut", "progress"],
)
def test_the_others_take_over_whatever_was_told_of_a_text_that_nobody_reads(
    worked: Installation, routed: Routed, behaviour: str, lines: list[object]
) -> None:
    routed.whisperx.behave(behaviour, lines)
    job = worked.made(AUDIO, **WITH_SPEAKERS)
    worked.start()
    assert worked.becomes(job, "succeeded")["served_by"] == PAIR
    segments = worked.get(f"/{job}/result").json()["segments"]
    assert " ".join(segment["text"] for segment in segments) == TEXT
    assert routed.uploads() == [1, 1, 1], "each gets the recording once"
    assert worked.row(job).failures == 0


def test_words_without_speakers_go_to_the_next_as_well(
    worked: Installation, routed: Routed
) -> None:
    routed.whisperx.behave("ok", [*stream(speakers=False)[:2], GONE])
    job = worked.made(AUDIO, prompt="WhisperX goes first.")
    worked.start()
    assert worked.becomes(job, "succeeded")["served_by"] == "parakeet"
    assert worked.get(f"/{job}/result").json()["text"] == TEXT
    assert routed.uploads() == [1, 1, 0]


def test_who_reads_a_stream_gets_no_text_twice(routed: Routed) -> None:
    routed.whisperx.behave("ok", [*SAID, GONE])
    assert "upstream_unavailable" in routed.gateway.transcribe(AUDIO, PATH, stream="true").text
    assert routed.uploads() == [1, 0, 0]


def test_what_always_fails_late_is_done_a_few_times_and_then_ends_with_what_happened(
    worked: Installation, routed: Routed
) -> None:
    routed.unregister("parakeet")
    routed.whisperx.behave("ok", [*SAID, GONE])
    job = worked.made(AUDIO, **WITH_SPEAKERS)
    worked.start()
    pauses: list[int] = []
    for failures in (1, 2, 3, 4):
        assert eventually(lambda count=failures: worked.row(job).failures == count, 30)  # type: ignore[misc]
        row = worked.row(job)
        assert (row.state, row.tries) == ("queued", 0)
        pauses.append(row.waits - sum(pauses))
        worked.change(job, due_at=0.0)
    assert pauses == [30, 90, 270, 810]
    done = worked.becomes(job, "failed")
    assert (done["error"]["code"], done["served_by"]) == ("upstream_unavailable", "whisperx")
    assert len(routed.whisperx.received) == 5


def test_a_service_that_takes_nothing_counts_as_no_failure(
    worked: Installation, routed: Routed
) -> None:
    routed.unregister("parakeet")
    routed.whisperx.behave("503")
    job = worked.made(AUDIO, **WITH_SPEAKERS)
    worked.start()
    assert eventually(lambda: worked.row(job).waits > 0, 30)
    assert worked.row(job).failures == 0


def test_a_file_that_cannot_be_removed_is_told_as_no_death_of_the_process(
    worked: Installation,
) -> None:
    job = worked.made(AUDIO, **WITH_SPEAKERS)
    (folder,) = worked.folders()
    (folder / "upload.at-work").mkdir()
    worked.start()
    error = worked.becomes(job, "failed")["error"]
    assert "inside the gateway" in error["message"]
    assert worked.row(job).tries == 1


def test_work_whose_result_has_no_room_is_not_done_for_ever(
    worked: Installation, routed: Routed
) -> None:
    job = worked.made(AUDIO, **WITH_SPEAKERS)
    worked.change(job, failures=4)
    (folder,) = worked.folders()
    (folder / "result.new").symlink_to("/dev/full")
    worked.start()
    assert worked.becomes(job, "failed")["error"]["code"] == "storage_full"
    assert len(routed.whisperx.received) == 1
