"""OpenAI's answers of /v1/audio/transcriptions: text, json, verbose_json and diarized_json.

The shapes are those of OpenAI's OpenAPI document: CreateTranscriptionResponseJson, -VerboseJson,
-DiarizedJson.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from proxy_app.speech.formats.reading import finite, read_list, read_span, read_text, read_words
from proxy_app.speech.joining import join
from proxy_app.speech.known import lettered, not_taken
from proxy_app.speech.languages import language_code, language_name
from proxy_app.speech.model import Decoding, Logprob, Segment, Transcript, Word
from proxy_app.speech.timing import timed_words, with_words


def to_text(transcript: Transcript) -> str:
    """The text alone and a line end, as OpenAI answers response_format=text."""
    return _text(transcript) + "\n"


def to_json(
    transcript: Transcript, *, languages: bool = True, logprobs: bool = False
) -> dict[str, Any]:
    """The text and how many seconds it took.

    Args:
        transcript: what was said.
        languages: whether to tell the language, which OpenAI's newest model does.
        logprobs: whether include[] has "logprobs".
    """
    answer: dict[str, Any] = {"text": _text(transcript)}
    if languages and transcript.language:
        answer["languages"] = languages_of(transcript)
    if logprobs:
        answer["logprobs"] = [
            each for segment in transcript.segments for each in logprobs_of(segment)
        ]
    return answer | {"usage": _usage(transcript)}


def languages_of(transcript: Transcript) -> list[dict[str, str]]:
    """The language that was found, as a list; for a transcript of which it is known."""
    return [{"code": transcript.language}]


def logprobs_of(segment: Segment) -> list[dict[str, Any]]:
    """The tokens of a segment: their text, bytes, and the logarithms of their probabilities."""
    return [
        {
            "token": each.data.decode(errors="replace"),
            "logprob": each.logprob,
            "bytes": list(each.data),
        }
        for each in segment.logprobs
    ]


def to_verbose_json(
    transcript: Transcript,
    *,
    words: bool = False,
    segments: bool = True,
    task: str = "transcribe",
) -> dict[str, Any]:
    """The text with times in seconds.

    Args:
        transcript: its language is written as an English name.
        words: whether timestamp_granularities has "word".
        segments: whether it has "segment", the default of the API.
        task: "transcribe" or "translate".
    """
    answer: dict[str, Any] = {
        "task": task,
        "language": language_name(transcript.language),
        "duration": round(transcript.duration, 3),
        "text": _text(transcript),
    }
    if words:
        answer["words"] = [
            {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
            for segment in transcript.segments
            for word in timed_words(segment)
        ]
    if segments:
        answer["segments"] = [
            _verbose_segment(index, segment) for index, segment in enumerate(transcript.segments)
        ]
    return answer | {"usage": _usage(transcript)}


def to_diarized_json(transcript: Transcript, known: Collection[str] = ()) -> dict[str, Any]:
    """The text by speakers, who are called A, B and so on in order of appearance.

    Args:
        transcript: with speakers.
        known: names that stand as they are; nobody else is called so.
    """
    diarized = DiarizedSegments(known)
    segments = [diarized.add(segment) for segment in transcript.segments]
    return {
        "task": "transcribe",
        "duration": round(transcript.duration, 3),
        "text": "\n".join(f"{segment['speaker']}: {segment['text']}" for segment in segments),
        "segments": segments,
        "usage": _usage(transcript),
    }


class DiarizedSegments:
    """Numbers segments, and calls their speakers A, B and so on in order of appearance.

    Args:
        known: names that stand as they are; nobody else is called so.
    """

    def __init__(self, known: Collection[str] = ()) -> None:
        self._count = 0
        self._names: dict[str | None, str] = {name: name for name in known}
        self._letters = not_taken(lettered(), known)

    def add(self, segment: Segment) -> dict[str, Any]:
        """The next segment of diarized_json, which is an event of a stream as well."""
        self._count += 1
        if segment.speaker not in self._names:
            self._names[segment.speaker] = next(self._letters)
        return {
            "type": "transcript.text.segment",
            "id": f"seg_{self._count:03d}",
            "start": round(segment.start, 3),
            "end": round(segment.end, 3),
            "text": segment.text,
            "speaker": self._names[segment.speaker],
        }


def from_verbose_json(answer: Mapping[str, Any]) -> Transcript:
    """Read a verbose_json answer, with words in its segments, beside them, alone, or without.

    Raises:
        FormatError: the segments are no list of objects, or a text is no text.
    """
    words = read_words(answer.get("words"))
    segments: list[Segment] = []
    for entry in read_list(answer, "segments"):
        text = " ".join(read_text(entry, "text").split())
        if not text:
            continue
        start, end = read_span(
            finite(entry.get("start")),
            finite(entry.get("end")),
            segments[-1].end if segments else 0.0,
        )
        own = read_words(entry.get("words"))
        decoding, logprobs = _decoding(entry), _logprobs(entry)
        segments.append(Segment(start, end, None, text, own, decoding, logprobs))
    duration = finite(answer.get("duration")) or max(
        [segment.end for segment in segments] + [word.end for word in words], default=0.0
    )
    if not segments:
        segments = _from_words(words, read_text(answer, "text"), duration)
    elif words and not any(segment.words for segment in segments):
        segments = with_words(segments, words)
    language = read_text(answer, "language")
    return Transcript(tuple(segments), duration, language_code(language) or language)


def _text(transcript: Transcript) -> str:
    return join(segment.text for segment in transcript.segments)


def _usage(transcript: Transcript) -> dict[str, Any]:
    """Whole seconds, a begun one counts: OpenAI's own answer has 9 for 8.47."""
    return {"type": "duration", "seconds": math.ceil(transcript.duration)}


def _verbose_segment(index: int, segment: Segment) -> dict[str, Any]:
    known = segment.decoding or Decoding()
    ratio = known.compression_ratio
    return {
        "id": index,
        "seek": known.seek,
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "tokens": list(known.tokens),
        "temperature": known.temperature,
        "avg_logprob": known.avg_logprob,
        "compression_ratio": _compression_ratio(segment.text) if ratio is None else ratio,
        "no_speech_prob": known.no_speech_prob,
        # Not OpenAI's: between our servers, whose streams need them segment by segment.
        **({"logprobs": logprobs_of(segment)} if segment.logprobs else {}),
    }


def _compression_ratio(text: str) -> float:
    """How well zlib compresses the text: Whisper's measure of repetition."""
    data = text.encode(errors="replace")
    return len(data) / len(zlib.compress(data))


def _decoding(entry: Mapping[str, Any]) -> Decoding | None:
    """What an engine tells of its decoding; None if it tells nothing."""
    if finite(entry.get("avg_logprob")) is None:
        return None
    tokens = entry.get("tokens")
    return Decoding(
        seek=int(finite(entry.get("seek")) or 0),
        tokens=tuple(t for t in tokens if isinstance(t, int)) if isinstance(tokens, list) else (),
        temperature=finite(entry.get("temperature")) or 0.0,
        avg_logprob=finite(entry.get("avg_logprob")) or 0.0,
        compression_ratio=finite(entry.get("compression_ratio")),
        no_speech_prob=finite(entry.get("no_speech_prob")) or 0.0,
    )


def _logprobs(entry: Mapping[str, Any]) -> tuple[Logprob, ...]:
    """A segment's tokens, or none unless each is usable."""
    found = []
    for each in read_list(entry, "logprobs"):
        logprob, data = finite(each.get("logprob")), each.get("bytes")
        if logprob is None or not isinstance(data, list):
            return ()
        try:
            found.append(Logprob(bytes(data), logprob))
        except (TypeError, ValueError):
            return ()
    return tuple(found)


def _from_words(words: Sequence[Word], text: str, duration: float) -> list[Segment]:
    """One segment of a text with words or without."""
    text = " ".join(text.split()) or join(word.text for word in words)
    if not text:
        return []
    start = min((word.start for word in words), default=0.0)
    end = max((word.end for word in words), default=duration)
    return [Segment(start, end, None, text, tuple(words))]
