"""The answer of transcribe-with-speakers: one shape, whatever made it.

    {"duration": 30.0, "language": "en", "speakers_detected": 2,
     "segments": [{"start_ms": 6690, "end_ms": 7120, "speaker": "Speaker_0", "text": "Hello."}],
     "models": {"transcription": "...", "diarization": "..."}}

With words, each segment also has "words": [{"word", "start", "end"}], in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from proxy_app.speech.formats.reading import finite, read_list, read_span, read_text, read_words
from proxy_app.speech.languages import language_code
from proxy_app.speech.model import Merged, Segment, Transcript


def conversation(
    merged: Merged,
    *,
    duration: float,
    language: str | None,
    models: Mapping[str, str],
    words: bool = False,
) -> dict[str, Any]:
    """The answer to a client.

    Args:
        merged: what `merge` returned.
        duration: of the audio, in seconds.
        language: an ISO 639 code, or None where it is not known.
        models: which model did the "transcription" and which the "diarization".
        words: add to each segment its words.
    """
    return {
        "duration": round(duration, 3),
        "language": language,
        "speakers_detected": len(merged.speakers),
        "segments": to_conversation_segments(merged.segments, words=words),
        "models": dict(models),
    }


def conversation_answer(transcript: Transcript, answer: Mapping[str, Any]) -> dict[str, Any]:
    """The same from a service's answer, read and checked: its models and warnings are passed on."""
    speakers = {segment.speaker for segment in transcript.segments} - {None}
    warnings = answer.get("warnings")
    return {
        "duration": round(transcript.duration, 3),
        "language": transcript.language,
        "speakers_detected": len(speakers),
        "segments": to_conversation_segments(transcript.segments),
        "models": answer.get("models", {}),
        **voices_told(answer),
        **({"warnings": warnings} if warnings else {}),
    }


def voices_told(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What a service tells of the speakers' voices: `speaker_embeddings` and `embedding_model`.

    Without the model they mean nothing: embeddings of two models cannot be compared. What is not a
    list of numbers is left out.
    """
    told, model = answer.get("speaker_embeddings"), answer.get("embedding_model")
    if not isinstance(told, Mapping) or not isinstance(model, str):
        return {}
    voices = {
        str(name): voice
        for name, voice in told.items()
        if isinstance(voice, list) and voice and all(finite(part) is not None for part in voice)
    }
    return {"speaker_embeddings": voices, "embedding_model": model}


def to_conversation_segments(
    segments: Iterable[Segment], *, words: bool = False
) -> list[dict[str, Any]]:
    """The answer's segments, whole or as far as they are known."""
    return [_segment(segment, words) for segment in segments]


def _segment(segment: Segment, words: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "start_ms": round(segment.start * 1000),
        "end_ms": round(segment.end * 1000),
        "speaker": segment.speaker,
        "text": segment.text,
    }
    if words:
        answer["words"] = [
            {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
            for word in segment.words
        ]
    return answer


def from_conversation(answer: Mapping[str, Any]) -> Transcript:
    """Read the answer of transcribe-with-speakers, with or without words.

    A segment without text is passed over, one without times follows the one before it. White space
    in a text or a speaker's name becomes one space.

    Raises:
        FormatError: the segments are no list of objects, or a text is no text.
    """
    segments: list[Segment] = []
    for entry in read_list(answer, "segments"):
        text = " ".join(read_text(entry, "text").split())
        if not text:
            continue
        start_ms, end_ms = finite(entry.get("start_ms")), finite(entry.get("end_ms"))
        start, end = read_span(
            None if start_ms is None else start_ms / 1000,
            None if end_ms is None else end_ms / 1000,
            segments[-1].end if segments else 0.0,
        )
        speaker = " ".join(read_text(entry, "speaker").split()) or None
        words = read_words(entry.get("words"), speaker)
        segments.append(Segment(start, end, speaker, text, words))
    language = read_text(answer, "language")
    return Transcript(
        segments=tuple(segments),
        duration=finite(answer.get("duration")) or max((s.end for s in segments), default=0.0),
        language=language_code(language) or language,
    )
