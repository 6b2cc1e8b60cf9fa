"""OpenAI's events of a stream: deltas, segments, the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_app.speech import Segment, Transcript, TranscriptEvents, to_diarized_json, to_json

TEXTS = st.lists(
    st.sampled_from(
        ["Hello.", "it", "'s", "l'", "homme", "3", ".", "5", "早上好", "。", "สวัสดี", "(yes)", "A"]
    ),
    max_size=12,
)


def segments(texts: list[str]) -> list[Segment]:
    return [Segment(at, at + 1.0, None, text) for at, text in enumerate(texts)]


@given(TEXTS, st.integers(min_value=1, max_value=5))
def test_deltas_joined_are_the_text_of_the_plain_answer(texts: list[str], batch: int) -> None:
    said = segments(texts)
    events = TranscriptEvents()
    deltas = [
        event["delta"]
        for start in range(0, len(said), batch)
        for event in events.deltas(said[start : start + batch])
    ]
    assert len(deltas) == len(said)
    transcript = Transcript(tuple(said), 1.0)
    whole = to_json(transcript)["text"]
    assert "".join(deltas) == events.done(transcript)["text"] == whole


def test_segments_are_numbered_and_named_through_all_batches() -> None:
    said = [Segment(0, 1, name, "x") for name in ("Speaker_4", "Speaker_1", "Speaker_4")]
    events = TranscriptEvents()
    sent = events.segments(said[:1]) + events.segments(said[1:])
    assert [(event["id"], event["speaker"]) for event in sent] == [
        *(("seg_001", "A"), ("seg_002", "B"), ("seg_003", "A"))
    ]
    assert sent == to_diarized_json(Transcript(tuple(said), 1.0))["segments"]


@pytest.mark.parametrize("texts", [[], ["早"], ["One,", "two"]])
def test_the_end_has_a_text_even_of_silence(texts: list[str]) -> None:
    events = TranscriptEvents()
    events.deltas(segments(texts))
    done = events.done(Transcript((), 1.0))
    assert done.keys() == {"type", "text"}, "languages were told that nobody knows"
    assert done["text"] == {0: "", 1: "早", 2: "One, two"}[len(texts)]
