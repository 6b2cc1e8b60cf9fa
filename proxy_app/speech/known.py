"""People whom a client knows by name, and what the others are called beside them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from proxy_app.speech.model import Segment

MOST_KNOWN = 4
"""As many as OpenAI takes."""
LONGEST_NAME = 64
"""Characters: it stands before every cue of a subtitle."""
REFERENCE_S = (2.0, 10.0)
"""How long the recording of a known voice may be, in seconds, as OpenAI has it; ..."""
REFERENCE_SLACK_S = 0.25
"""... and by so much it may be over or under: coders of sound fill up their last frame."""


def known_names(sent: Sequence[str]) -> tuple[str, ...]:
    """The names as they are to stand in answers, with single blanks.

    Raises:
        ValueError: the message says which of them cannot be one.
    """
    if len(sent) > MOST_KNOWN:
        raise ValueError(f"{len(sent)} names; at most {MOST_KNOWN} are accepted")
    names = tuple(" ".join(name.split()) for name in sent)
    for name in names:
        if not name:
            raise ValueError("a name is empty")
        if len(name) > LONGEST_NAME:
            raise ValueError(
                f"the name {name[:20]!r}... has {len(name)} characters; at most {LONGEST_NAME} are "
                "accepted"
            )
        if not name.isprintable():
            raise ValueError(f"the name {name!r} has characters that cannot be printed")
    if len({name.casefold() for name in names}) < len(names):
        raise ValueError("two names are the same")
    return names


def not_taken(labels: Iterable[str], names: Iterable[str]) -> Iterator[str]:
    """The labels without those that are somebody's name; small and capital letters are the same."""
    taken = {name.casefold() for name in names}
    return (label for label in labels if label.casefold() not in taken)


def without_names(segments: Iterable[Segment], names: Iterable[str]) -> tuple[Segment, ...]:
    """The segments of speakers who are numbered, none of whom is called as a name says."""
    fresh = not_taken(numbered(), names)
    called: dict[str | None, str | None] = {None: None}
    renamed = []
    for segment in segments:
        if segment.speaker not in called:
            called[segment.speaker] = next(fresh)
        name = called[segment.speaker]
        words = tuple(replace(word, speaker=name) for word in segment.words)
        renamed.append(replace(segment, speaker=name, words=words))
    return tuple(renamed)


def numbered() -> Iterator[str]:
    """Speaker_0, Speaker_1 and so on."""
    return (f"Speaker_{number}" for number in itertools.count())


def lettered() -> Iterator[str]:
    """A to Z, then AA, AB and so on."""
    return map(_letters, itertools.count(1))


def _letters(number: int) -> str:
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
