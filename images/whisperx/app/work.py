"""What is done for one request, in steps, and what becomes known on the way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from images.serving.recording import Recording
from images.serving.scheduling import Steps
from images.serving.windows import Window, count_windows
from images.whisperx.app.alignment import Aligner
from images.whisperx.app.diarization import Diarizer, SpeakerCount, Voices
from images.whisperx.app.diarization.known import KnownSpeakers, Matching, Reference
from images.whisperx.app.diarization.linking import Speakers
from images.whisperx.app.engine import DIARIZATION, TRANSCRIPTION, Engine
from images.whisperx.app.preflight import available_memory, refuse_what_cannot_fit
from images.whisperx.app.speech_map import SpeechMap
from images.whisperx.app.transcription import Wish
from images.whisperx.app.transcription.steps import Written, transcribe
from images.whisperx.app.windows import windows
from proxy_app.speech import (
    Merged,
    Segment,
    Token,
    Transcript,
    conversation,
    merge,
    not_taken,
    numbered,
    to_json,
    to_verbose_json,
)

log = logging.getLogger(__name__)

Line = dict[str, Any]
Tell = Callable[[Line], None]
"""Takes what is known so far, a line of the streamed answer; called in the lanes' threads."""

_DIGITS = 6
"""Of the numbers of an embedding: more than float32 has."""
MAP_S = 60.0
"""How much of a recording is searched for speech in one step of its own."""


class Work(Protocol):
    """One request's work."""

    @property
    def lanes(self) -> Sequence[str]:
        """Where it has something to do."""

    def steps(self) -> dict[str, Steps]:
        """For each lane what is to be done."""

    def answer(self) -> dict[str, Any]:
        """The answer's body, once all steps were made."""


class Script:
    """What is said in a recording, as it becomes known."""

    def __init__(self, engine: Engine, recording: Recording, speech: SpeechMap, wish: Wish) -> None:
        self._engine = engine
        self._recording = recording
        self._speech = speech
        self._wish = wish
        self.language = ""
        self.segments: list[Segment] = []
        self.tokens: list[Token] = []
        self.until_s = 0.0
        """No more words are to come before here."""
        self._aligner = "none"
        self._note = ""

    def write(self) -> Iterator[Written]:
        """The steps of the transcription."""
        refuse_what_cannot_fit(
            self._recording.duration_s, available_memory(), self._engine.settings
        )
        transcriber = self._engine.whisper.use()
        yield Written(0.0, "", (), ())
        for written in transcribe(
            transcriber, self._recording, self._speech, self._wish, self._find
        ):
            self.language = written.language
            self.segments += written.segments
            self.tokens += written.tokens
            self.until_s = written.until_s
            yield written
        self.until_s = self._recording.duration_s

    def told(self) -> dict[str, Any]:
        """What the answers say about the models, and about what was not done."""
        return {
            "transcription": f"faster-whisper {self._engine.whisper.name}",
            "alignment": self._aligner,
        }

    def warnings(self) -> list[str]:
        """Sentences on what was not done."""
        return [self._note] if self._note and self.tokens else []

    def _find(self, language: str) -> Aligner | None:
        aligner = self._engine.alignment.find(language)
        self._aligner = aligner.name if aligner else "none"
        self._note = self._engine.alignment.note(language)
        return aligner


class TranscriptionWork:
    """Speech to text.

    Args:
        engine: whose models are used.
        recording: what was uploaded.
        wish: what the request asks for.
        tell: hears the segments as each batch is finished.
        verbose: verbose_json instead of json.
        words: whether verbose_json lists the words.
    """

    lanes = (TRANSCRIPTION,)

    def __init__(
        self,
        engine: Engine,
        recording: Recording,
        wish: Wish,
        tell: Tell,
        *,
        verbose: bool,
        words: bool,
    ) -> None:
        self._script = Script(engine, recording, SpeechMap(recording, engine.detector), wish)
        self._task = "translate" if wish.translate else "transcribe"
        self._logprobs = wish.logprobs
        self._duration_s = recording.duration_s
        self._tell = tell
        self._verbose = verbose
        self._words = words

    def steps(self) -> dict[str, Steps]:
        """See `Work`."""
        return {TRANSCRIPTION: self._transcribe()}

    def answer(self) -> dict[str, Any]:
        """See `Work`."""
        transcript = self._transcript(self._script.segments)
        if self._verbose:
            body = to_verbose_json(transcript, words=self._words, task=self._task)
        else:
            body = to_json(transcript, logprobs=self._logprobs)
        warnings = self._script.warnings()
        return body | {"models": self._script.told()} | ({"warnings": warnings} if warnings else {})

    def _transcribe(self) -> Steps:
        for written in self._script.write():
            if written.segments:
                self._tell({"type": "segments", "segments": self._lines(written.segments)})
            yield written.until_s

    def _lines(self, segments: Sequence[Segment]) -> list[Line]:
        lines: list[Line] = to_verbose_json(self._transcript(segments))["segments"]
        first = len(self._script.segments) - len(segments)
        for number, (line, segment) in enumerate(zip(lines, segments, strict=True), first):
            line["id"] = number
            if self._words:
                line["words"] = to_verbose_json(self._transcript([segment]), words=True)["words"]
        return lines

    def _transcript(self, segments: Iterable[Segment]) -> Transcript:
        return Transcript(tuple(segments), self._duration_s, self._script.language)


@dataclass(frozen=True, slots=True)
class _Listened:
    """A window whose voices are told apart."""

    window: Window
    voices: Voices


@dataclass(frozen=True, slots=True)
class Question:
    """What a request wants to know about the speakers of a recording.

    Attributes:
        count: what is known about their number in the whole recording.
        references: who of them is known by name, and those people's voices.
        words: whether each segment of the answer lists its words.
        embeddings: whether the answer has the speakers' voices.
    """

    count: SpeakerCount = field(default_factory=SpeakerCount)
    references: Sequence[Reference] = ()
    words: bool = False
    embeddings: bool = False


class ConversationWork:
    """Speech to text with speakers.

    Transcription and diarization run side by side. Where both are past the end of a window its
    words and turns are merged, and the speakers get their numbers in order of appearance. Where
    names are known the merging waits for the last window: a name goes to the one whom it fits best
    of all.

    Args:
        engine: whose models are used.
        recording: what was uploaded.
        wish: what the request asks for.
        question: what it wants to know about the speakers.
        tell: hears the segments as each batch is finished, and the speakers as each window is.
    """

    lanes = (TRANSCRIPTION, DIARIZATION)

    def __init__(
        self,
        engine: Engine,
        recording: Recording,
        wish: Wish,
        question: Question,
        tell: Tell,
    ) -> None:
        self._engine = engine
        self._recording = recording
        self._speech = SpeechMap(recording, engine.detector)
        self._script = Script(engine, recording, self._speech, wish)
        self._question = question
        self._count = question.count
        self._known = KnownSpeakers(question.references, engine.detector)
        self._known_as: dict[str, str] | None = None if question.references else {}
        """The names of those who are known, by the diarizer's labels; None as long as it may
        change."""
        self._tell = tell
        self._diarizer: Diarizer | None = None
        self._speakers: Speakers | None = None
        self._listened: list[_Listened] = []
        self._merging = threading.Lock()
        self._merged_windows = self._merged_tokens = 0
        self._segments: list[Segment] = []
        self._names: dict[str, str] = {}
        self._numbered = not_taken(numbered(), self._known.names)

    def steps(self) -> dict[str, Steps]:
        """See `Work`."""
        return {TRANSCRIPTION: self._transcribe(), DIARIZATION: self._diarize()}

    def answer(self) -> dict[str, Any]:
        """See `Work`."""
        body = self._conversation(self._segments)
        warnings = self._script.warnings() + self._count_warnings(len(self._names))
        warnings += self._known.warnings
        return body | self._embeddings() | ({"warnings": warnings} if warnings else {})

    def _transcribe(self) -> Steps:
        for written in self._script.write():
            if written.segments:
                lines = self._conversation(written.segments)["segments"]
                self._tell({"type": "segments", "segments": lines})
            self._merge_what_is_ready()
            yield written.until_s
        self._merge_what_is_ready()

    def _diarize(self) -> Steps:
        duration_s, window_s = self._recording.duration_s, self._engine.settings.window_s
        self._diarizer = diarizer = self._engine.diarizer.use()
        yield 0.0
        several = count_windows(duration_s, window_s) > 1
        self._speakers = speakers = Speakers(self._count, diarizer.linking, several=several)
        count = SpeakerCount(maximum=self._count.most) if several else self._count
        for _step in self._known.listen(diarizer):
            yield 0.0
        for window in windows(self._speech, duration_s, window_s):
            yield from self._search(window)
            listening = diarizer.listen(self._recording, self._speech, window, count)
            voices = yield from _parts(listening, window)
            with self._merging:
                speakers.add(voices)
                self._listened.append(_Listened(window, voices))
            self._merge_what_is_ready()
        cosine = self._engine.settings.known_speaker_cosine
        matching = diarizer.matching if cosine is None else Matching.by(cosine)
        with self._merging:
            speakers.finish()
            self._known_as = self._known.find(speakers.voices(), matching)
        self._merge_what_is_ready()

    def _search(self, window: Window) -> Steps:
        """Find the speech of a window, which takes seconds, in steps."""
        at_s = window.start_s
        while at_s < window.end_s:
            self._speech.probabilities(at_s, min(window.end_s, at_s + MAP_S))
            at_s += MAP_S
            yield window.start_s

    def _merge_what_is_ready(self) -> None:
        """Merge the windows of which both the words and the final speakers are known."""
        with self._merging:
            if self._speakers is None or self._diarizer is None or self._known_as is None:
                return
            if not self._speakers.settled:
                return
            for listened in self._listened[self._merged_windows :]:
                if listened.window.end_s > self._script.until_s:
                    return
                self._merge_window(self._speakers, self._diarizer, listened)

    def _merge_window(self, speakers: Speakers, diarizer: Diarizer, listened: _Listened) -> None:
        labels = speakers.labels(self._merged_windows)
        turns = diarizer.turns(listened.voices, labels)
        merged = merge(self._tokens_until(listened.window.end_s), turns)
        for dropped in merged.dropped_turns:
            log.warning("%s gave an unusable turn: %s", diarizer.name, dropped.reason)
        segments = [self._named(segment, merged) for segment in merged.segments]
        self._merged_windows += 1
        self._segments += segments
        self._tell(
            {
                "type": "speakers",
                "until_s": round(listened.window.end_s, 3),
                "segments": self._conversation(segments)["segments"],
            }
        )

    def _tokens_until(self, end_s: float) -> list[Token]:
        """The next words, up to those whose middle is behind the end of a window."""
        tokens = self._script.tokens
        first = last = self._merged_tokens
        is_last = end_s >= self._recording.duration_s
        while last < len(tokens) and (is_last or _middle(tokens[last]) < end_s):
            last += 1
        self._merged_tokens = last
        return tokens[first:last]

    def _named(self, segment: Segment, merged: Merged) -> Segment:
        """The segment with the speaker's name, or number in the whole recording."""
        label = merged.labels.get(segment.speaker or "")
        if label is None:  # words, but nobody's voice: whoever spoke last, or somebody
            label = next(reversed(self._names), "")
        if label not in self._names:
            self._names[label] = (self._known_as or {}).get(label) or next(self._numbered)
        name = self._names[label]
        words = tuple(replace(word, speaker=name) for word in segment.words)
        return replace(segment, speaker=name, words=words)

    def _conversation(self, segments: Iterable[Segment]) -> dict[str, Any]:
        return conversation(
            Merged(tuple(segments), tuple(self._names.values())),
            duration=self._recording.duration_s,
            language=self._script.language or None,
            models=self._script.told() | {"diarization": self._engine.diarizer.name},
            words=self._question.words,
        )

    def _embeddings(self) -> dict[str, Any]:
        """The voice of each speaker of the answer, of length 1, and the model that made it."""
        if not self._question.embeddings or self._speakers is None or self._diarizer is None:
            return {}
        voices = self._speakers.voices()
        return {
            "speaker_embeddings": {
                name: np.round(voices[label].direction, _DIGITS).tolist()
                for label, name in self._names.items()
                if label in voices
            },
            "embedding_model": self._diarizer.embedding_model,
        }

    def _count_warnings(self, found: int) -> list[str]:
        if not self._count.is_given or self._count.allows(found):
            return []
        was = "was" if found == 1 else "were"
        return [f"Asked for {self._count}; {found or 'none'} {was} found in this recording."]


def _parts(
    listening: Generator[float, None, Voices], window: Window
) -> Generator[float, None, Voices]:
    """Turn the part of a window that is done into seconds of the recording."""
    while True:
        try:
            part = next(listening)
        except StopIteration as end:
            voices: Voices = end.value
            return voices
        yield window.start_s + part * window.length_s


def _middle(token: Token) -> float:
    start = token.start or 0.0
    return (start + (start if token.end is None else token.end)) / 2
