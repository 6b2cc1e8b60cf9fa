"""Words, turns and cues: pure functions on the standard library, without I/O.

    merged = merge(tokens, turns)
    answer = conversation(merged, duration=30.0, language="en", models={...})
    to_srt(Transcript(merged.segments, duration=30.0, language="en"))

`python -m proxy_app.speech merge WORDS.json TURNS.rttm` does the same from files.
"""

from proxy_app.speech.formats.asr import (
    asr_speaker,
    to_asr_embeddings,
    to_asr_json,
    to_asr_text,
    to_tsv,
    with_asr_speakers,
)
from proxy_app.speech.formats.conversation import (
    conversation,
    conversation_answer,
    from_conversation,
    to_conversation_segments,
)
from proxy_app.speech.formats.errors import FormatError
from proxy_app.speech.formats.events import TranscriptEvents
from proxy_app.speech.formats.openai import (
    from_verbose_json,
    to_diarized_json,
    to_json,
    to_text,
    to_verbose_json,
)
from proxy_app.speech.formats.reading import parse_words
from proxy_app.speech.formats.recognised import Recognised, Times, from_recogniser
from proxy_app.speech.formats.rttm import parse_rttm, to_rttm
from proxy_app.speech.formats.subtitles import to_srt, to_vtt
from proxy_app.speech.joining import join
from proxy_app.speech.known import (
    LONGEST_NAME,
    MOST_KNOWN,
    REFERENCE_S,
    REFERENCE_SLACK_S,
    known_names,
    not_taken,
    numbered,
    without_names,
)
from proxy_app.speech.languages import LANGUAGES, language_code, language_name
from proxy_app.speech.merging import merge
from proxy_app.speech.model import (
    Decoding,
    DroppedTurn,
    Logprob,
    Merged,
    Segment,
    Token,
    Transcript,
    Turn,
    Word,
)

__all__ = [
    "LANGUAGES",
    "LONGEST_NAME",
    "MOST_KNOWN",
    "REFERENCE_S",
    "REFERENCE_SLACK_S",
    "Decoding",
    "DroppedTurn",
    "FormatError",
    "Logprob",
    "Merged",
    "Recognised",
    "Segment",
    "Times",
    "Token",
    "Transcript",
    "TranscriptEvents",
    "Turn",
    "Word",
    "asr_speaker",
    "conversation",
    "conversation_answer",
    "from_conversation",
    "from_recogniser",
    "from_verbose_json",
    "join",
    "known_names",
    "language_code",
    "language_name",
    "merge",
    "not_taken",
    "numbered",
    "parse_rttm",
    "parse_words",
    "to_asr_embeddings",
    "to_asr_json",
    "to_asr_text",
    "to_conversation_segments",
    "to_diarized_json",
    "to_json",
    "to_rttm",
    "to_srt",
    "to_text",
    "to_tsv",
    "to_verbose_json",
    "to_vtt",
    "with_asr_speakers",
    "without_names",
]
