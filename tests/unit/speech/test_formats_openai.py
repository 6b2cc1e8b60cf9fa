from typing import Any

import pytest
import yaml
from openapi_schema_validator import OAS31Validator

from proxy_app.speech import (
    FormatError,
    Segment,
    Transcript,
    Word,
    from_verbose_json,
    to_diarized_json,
    to_json,
    to_text,
    to_verbose_json,
)
from tests.data import test_data

TALK = Transcript(
    segments=(
        Segment(0.5, 1.25, "Speaker_0", "Hello there.", (Word("Hello", 0.5, 0.75, "Speaker_0"),)),
        Segment(2.0, 3.0, "Speaker_1", "Hi!"),
        Segment(3.0, 4.0, "Speaker_0", "Shall we?"),
    ),
    duration=8.47,
    language="en",
)


def test_text_is_the_text_and_a_line_end() -> None:
    assert to_text(TALK) == "Hello there. Hi! Shall we?\n"


def test_json_has_the_text_and_the_begun_seconds() -> None:
    assert to_json(TALK) == {
        "text": "Hello there. Hi! Shall we?",
        "languages": [{"code": "en"}],
        "usage": {"type": "duration", "seconds": 9},
    }


def test_verbose_json_has_all_ten_keys_of_a_segment_and_the_languages_name() -> None:
    answer = to_verbose_json(TALK)
    assert answer["language"] == "english"
    assert answer["duration"] == 8.47
    assert answer["task"] == "transcribe"
    assert "words" not in answer
    segment = answer["segments"][1]
    assert segment.pop("compression_ratio") == pytest.approx(3 / 11)
    assert segment == {
        "id": 1,
        "seek": 0,
        "start": 2.0,
        "end": 3.0,
        "text": "Hi!",
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": 0.0,
        "no_speech_prob": 0.0,
    }


def test_verbose_json_gives_words_only_if_asked_and_shares_time_out_where_none_are_known() -> None:
    answer = to_verbose_json(TALK, words=True, segments=False)
    assert "segments" not in answer
    assert answer["words"] == [
        {"word": "Hello", "start": 0.5, "end": 0.75},
        {"word": "Hi!", "start": 2.0, "end": 3.0},
        {"word": "Shall", "start": 3.0, "end": 3.625},
        {"word": "we?", "start": 3.625, "end": 4.0},
    ]


def test_diarized_json_names_speakers_by_letters() -> None:
    answer = to_diarized_json(TALK)
    assert answer["text"] == "A: Hello there.\nB: Hi!\nA: Shall we?"
    assert answer["usage"] == {"type": "duration", "seconds": 9}
    assert answer["segments"][1] == {
        "type": "transcript.text.segment",
        "id": "seg_002",
        "start": 2.0,
        "end": 3.0,
        "text": "Hi!",
        "speaker": "B",
    }


def test_the_speaker_after_z_is_aa() -> None:
    crowd = tuple(Segment(n, n + 1, f"Speaker_{n}", "Yes.") for n in range(54))
    names = [s["speaker"] for s in to_diarized_json(Transcript(crowd, 54.0))["segments"]]
    assert names[24:29] == ["Y", "Z", "AA", "AB", "AC"]
    assert names[51:] == ["AZ", "BA", "BB"]


def test_an_empty_transcript_is_an_empty_answer() -> None:
    silence = Transcript((), 3.0)
    assert to_text(silence) == "\n"
    assert to_verbose_json(silence, words=True)["segments"] == []
    assert to_diarized_json(silence)["text"] == ""


@pytest.mark.parametrize("transcript", [TALK, Transcript((), 0.0)])
@pytest.mark.parametrize(
    ("schema", "render"),
    [
        ("CreateTranscriptionResponseJson", to_json),
        ("CreateTranscriptionResponseVerboseJson", lambda t: to_verbose_json(t, words=True)),
        ("CreateTranscriptionResponseDiarizedJson", to_diarized_json),
    ],
)
def test_answers_have_openais_shape(
    transcript: Transcript,
    schema: str,
    render: Any,  # noqa: ANN401
) -> None:
    document = yaml.safe_load(test_data("openai-audio-openapi.yaml").read_text())
    reference = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    OAS31Validator(reference).validate(render(transcript))


ENGINE = {
    "task": "transcribe",
    "language": "English",
    "duration": 4.0,
    "text": "Hello there. Hi!",
    "segments": [
        {
            "id": 0,
            "seek": 100,
            "start": 0.5,
            "end": 1.5,
            "text": " Hello there.",
            "tokens": [1, 2],
            "temperature": 0.2,
            "avg_logprob": -0.3,
            "compression_ratio": 1.1,
            "no_speech_prob": 0.01,
        },
        {"start": 2.0, "end": 3.0, "text": " Hi!"},
    ],
    "words": [
        {"word": " Hello", "start": 0.5, "end": 1.0},
        {"word": "there.", "start": 1.0, "end": 1.5},
        {"word": "Hi!", "start": 2.0, "end": 3.0},
    ],
}


def test_an_engines_answer_survives_the_way_through() -> None:
    transcript = from_verbose_json(ENGINE)
    assert transcript.language == "en"
    assert [segment.text for segment in transcript.segments] == ["Hello there.", "Hi!"]
    assert [word.text for word in transcript.segments[0].words] == ["Hello", "there."]
    answer = to_verbose_json(transcript, words=True)
    assert answer["segments"][0] == ENGINE["segments"][0] | {"text": "Hello there."}  # type: ignore[index]
    assert [word["start"] for word in answer["words"]] == [0.5, 1.0, 2.0]


def test_words_inside_segments_go_before_those_beside_them() -> None:
    own = {"text": "Hi", "start": 0, "end": 1, "words": [{"word": "Hi", "start": 0.2, "end": 0.4}]}
    transcript = from_verbose_json(ENGINE | {"segments": [own]})
    assert transcript.segments[0].words == (Word("Hi", 0.2, 0.4),)


def test_words_alone_make_one_segment_with_the_text() -> None:
    transcript = from_verbose_json(ENGINE | {"segments": None})
    assert [(s.start, s.end, s.text) for s in transcript.segments] == [(0.5, 3, "Hello there. Hi!")]
    assert len(transcript.segments[0].words) == 3


def test_a_text_alone_lasts_as_long_as_the_audio() -> None:
    transcript = from_verbose_json({"text": "Hello there.", "duration": 4})
    assert transcript == Transcript((Segment(0.0, 4.0, None, "Hello there."),), 4.0)


@pytest.mark.parametrize(
    "answer", [{}, {"text": "", "segments": []}, {"segments": [{"text": " "}]}]
)
def test_nothing_said_is_an_empty_transcript(answer: dict[str, Any]) -> None:
    assert from_verbose_json(answer) == Transcript((), 0.0)


def test_segments_with_bad_times_and_words_still_carry_their_text() -> None:
    answer = {
        "segments": [
            {"text": "One", "start": 1.0, "end": 2.0, "words": [{"word": "One", "start": None}]},
            {"text": "two", "start": "soon", "end": float("nan"), "words": 3},
            {"text": "three", "start": 10**400, "end": True},
        ]
    }
    spans = [(s.start, s.end, s.text, s.words) for s in from_verbose_json(answer).segments]
    assert spans == [(1, 2, "One", ()), (2, 2, "two", ()), (2, 2, "three", ())]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"segments": 3}, '"segments" is to be a list of objects'),
        ({"segments": ["One"]}, '"segments" is to be a list of objects'),
        ({"segments": [{"text": 3}]}, '"text" is to be a text'),
        ({"text": ["One"]}, '"text" is to be a text'),
    ],
)
def test_an_answer_of_another_shape_is_refused(answer: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        from_verbose_json(answer)
