"""The answers of /asr."""

from hypothesis import given

from proxy_app.speech import Segment, Transcript, asr_speaker, to_asr_json, to_asr_text, to_tsv
from tests.unit.speech.strategies import segments


def test_speakers_are_called_as_whisperx_calls_them_and_names_stay() -> None:
    names = ["Speaker_0", "Speaker_12", "Speaker_100", "Ann", "Speaker_x"]
    assert [asr_speaker(name) for name in names] == [
        *("SPEAKER_00", "SPEAKER_12", "SPEAKER_100", "Ann", "Speaker_x")
    ]


def test_a_segment_without_words_has_its_time_shared_out() -> None:
    transcript = Transcript((Segment(1.0, 3.0, None, "two words"),), 4.0, "en")
    answer = to_asr_json(transcript, words=True)
    assert [word["word"] for word in answer["word_segments"]] == ["two", "words"]
    assert answer["segments"][0]["words"] == answer["word_segments"]
    assert "speaker" not in answer["segments"][0]


@given(segments())
def test_every_segment_is_one_line(said: list[Segment]) -> None:
    transcript = Transcript(tuple(said), 600.0)
    lines = to_tsv(transcript).split("\n")
    assert len(lines) == 2 + len(transcript.segments)
    assert all(line.count("\t") == 2 for line in lines[:-1])
    assert len(to_asr_text(transcript).split("\n")) == 1 + len(transcript.segments)
