"""The answers of /asr: those of whisper-asr-webservice and of WhisperX.

    {"text": "Hello. Good morning.", "language": "en",
     "segments": [{"start": 0.69, "end": 1.12, "text": "Hello.", "speaker": "SPEAKER_00"}]}

Times are in seconds, and in tsv whole milliseconds. `text` is one text: some servers of that kind
send the segments there a second time, as a list, which their clients pass over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from proxy_app.speech.formats.conversation import voices_told
from proxy_app.speech.joining import join
from proxy_app.speech.model import Segment, Transcript
from proxy_app.speech.timing import timed_words

_NUMBERED = re.compile(r"Speaker_(\d+)")


def asr_speaker(name: str) -> str:
    """SPEAKER_00 for Speaker_0, as WhisperX has it; other names stay."""
    numbered = _NUMBERED.fullmatch(name)
    return f"SPEAKER_{int(numbered[1]):02d}" if numbered else name


def with_asr_speakers(transcript: Transcript) -> Transcript:
    """The same with the speakers' names that /asr has, for subtitles."""
    named = (
        segment
        if segment.speaker is None
        else replace(segment, speaker=asr_speaker(segment.speaker))
        for segment in transcript.segments
    )
    return replace(transcript, segments=tuple(named))


def to_asr_json(transcript: Transcript, *, words: bool = False) -> dict[str, Any]:
    """The text, and its segments with their speakers, where those are known.

    Args:
        transcript: what was said.
        words: add each segment's words, and all of them as `word_segments`.
    """
    segments = [_segment(segment, words=words) for segment in transcript.segments]
    answer: dict[str, Any] = {
        "text": join(segment.text for segment in transcript.segments),
        "language": transcript.language or None,
        "segments": segments,
    }
    if words:
        answer["word_segments"] = [word for segment in segments for word in segment["words"]]
    return answer


def to_asr_embeddings(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What a service tells of the speakers' voices, by the names that /asr has for them."""
    told = voices_told(answer)
    voices = told.get("speaker_embeddings", {})
    if not voices:
        return {}
    return told | {
        "speaker_embeddings": {asr_speaker(name): voice for name, voice in voices.items()}
    }


def to_asr_text(transcript: Transcript) -> str:
    """A line for each segment."""
    return "".join(f"{segment.text}\n" for segment in transcript.segments)


def to_tsv(transcript: Transcript) -> str:
    """Start, end and text, with tabs between; the first line says so."""
    return "start\tend\ttext\n" + "".join(
        f"{round(segment.start * 1000)}\t{round(segment.end * 1000)}\t{_one_line(segment.text)}\n"
        for segment in transcript.segments
    )


def _segment(segment: Segment, *, words: bool) -> dict[str, Any]:
    speaker = {} if segment.speaker is None else {"speaker": asr_speaker(segment.speaker)}
    answer = {
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        **speaker,
    }
    if words:
        answer["words"] = [
            {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3), **speaker}
            for word in timed_words(segment)
        ]
    return answer


def _one_line(text: str) -> str:
    return " ".join(text.split())
