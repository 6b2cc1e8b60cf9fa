"""Voices by their names: those of services, and those that OpenAI's clients have in their lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

OPENAI_VOICES = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage",
    "shimmer", "verse",
)  # fmt: skip
"""The names that clients have built in."""

_MAGPIE = {
    "alloy": "Mia.Calm", "ash": "Jason", "ballad": "Leo", "cedar": "Jason.Calm",
    "coral": "Aria", "echo": "Jason.Neutral", "fable": "Aria.Calm", "marin": "Mia.Neutral",
    "nova": "Mia.Happy", "onyx": "Leo.Calm", "sage": "Sofia", "shimmer": "Aria.Happy",
    "verse": "Leo.Neutral",
}  # fmt: skip
"""What people map OpenAI's names to; not every speaker has every mood."""
_MOODS = frozenset(
    {"neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "disgusted", "surprised"}
    | {"pleasantsurprise", "pleasantsurprised", "pleasant_surprised"}
)
_ESPEAK = {
    "alloy": "f2", "ash": "m2", "ballad": "m5", "cedar": "m4", "coral": "f1", "echo": "m3",
    "fable": "f4", "marin": "f3", "nova": "f3", "onyx": "m7", "sage": "f5", "shimmer": "f5",
    "verse": "m1",
}  # fmt: skip
ESPEAK_VARIANTS = frozenset(
    [*(f"f{number}" for number in range(1, 6)), *(f"m{number}" for number in range(1, 9))]
)
_MAGPIE_NAME = re.compile(r"([^.]+)\.([A-Za-z]{2,3}-[A-Za-z0-9]{2,4})\.([^.]+)(?:\.([^.]+))?")


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice of one service."""

    id: str
    """What the service calls it."""
    name: str
    """For people."""
    language: str
    """A BCP 47 tag such as en-US; empty where it speaks any, or nobody knows."""


def magpie_voice(name: str) -> Voice:
    """A voice by Magpie's name for it: "Magpie-Multilingual.EN-US.Mia.Calm" speaks en-US."""
    match = _MAGPIE_NAME.fullmatch(name)
    if match is None:
        return Voice(name, name, "")
    _model, locale, speaker, mood = match.groups()
    language = tag(locale)
    return Voice(name, f"{speaker}{f', {mood.lower()}' if mood else ''} ({language})", language)


def tag(locale: str) -> str:
    """A language tag in its usual spelling: "EN-US", "en_us" and "en-us" are "en-US"."""
    language, *others = re.split(r"[-_]", locale)
    region = [part.upper() if len(part) == 2 else part.title() for part in others]  # noqa: PLR2004
    return "-".join([language.lower(), *region])


def find_magpie(wanted: str, voices: Sequence[Voice], language: str) -> Voice | None:
    """The voice that a client means, if there is one.

    Args:
        wanted: a whole name; its end ("Mia", "Mia.Happy", "en-us.mia"); or one of OpenAI's.
        voices: those that there are.
        language: goes first where a name fits voices of several languages.
    """
    ordered = sorted(voices, key=lambda voice: _distance(voice.language, language))
    name = wanted.lower()
    if name in _MAGPIE:
        mapped = _MAGPIE[name].lower()
        fitting = [voice for voice in ordered if _distance(voice.language, language) < 2]  # noqa: PLR2004
        found = _ending(mapped, fitting) or _ending(mapped.partition(".")[0], fitting)
        if found is None and ordered:
            same = fitting or ordered
            found = same[OPENAI_VOICES.index(name) % len(same)]
        return found
    return _ending(name, ordered) or _other_mood(name, ordered)


def find_espeak(wanted: str, voices: Sequence[Voice], language: str) -> Voice | None:
    """The same of eSpeak NG: a language ("de", "en-GB"), with a variant ("de+f3"), or OpenAI's."""
    name = wanted.lower()
    base, _, variant = name.partition("+")
    if name in _ESPEAK:
        base, variant = language.lower(), _ESPEAK[name]
    if variant and variant not in ESPEAK_VARIANTS:
        return None
    for candidate in (base, f"{base}-{base}", base.partition("-")[0]):
        for voice in voices:
            if candidate in (voice.id.lower(), voice.language.lower()):
                name = f"{voice.name}, {variant}" if variant else voice.name
                return Voice(f"{voice.id}+{variant}" if variant else voice.id, name, voice.language)
    return None


def find_openai(wanted: str, voices: Sequence[Voice]) -> Voice | None:
    """The same of a server that speaks OpenAI's API, which knows OpenAI's names by itself.

    Where it lists no voices it is asked for whatever the client says.
    """
    by_name = {voice.id.lower(): voice for voice in voices}
    if wanted.lower() in by_name:
        return by_name[wanted.lower()]
    if wanted.lower() in OPENAI_VOICES or not voices:
        return Voice(wanted, wanted, "")
    return None


def _other_mood(name: str, voices: Sequence[Voice]) -> Voice | None:
    """The same speaker, where a mood is wanted that he does not have, or none is named.

    The bare name goes first, then the neutral mood, then calm, then any.
    """
    speaker, _, mood = name.rpartition(".")
    if mood not in _MOODS:
        speaker = name
    elif bare := _ending(speaker, voices):
        return bare
    moods = ["neutral", "calm", *sorted(_MOODS)]
    return next(filter(None, (_ending(f"{speaker}.{it}", voices) for it in moods)), None)


def _ending(name: str, voices: Sequence[Voice]) -> Voice | None:
    whole = [voice for voice in voices if voice.id.lower() == name]
    ends = [voice for voice in voices if voice.id.lower().endswith(f".{name}")]
    return next(iter([*whole, *ends]), None)


def _distance(one: str, other: str) -> int:
    """How far two tags are from each other: the same, the same language, another one."""
    if one.lower() == other.lower():
        return 0
    return 1 if one.partition("-")[0].lower() == other.partition("-")[0].lower() else 2
