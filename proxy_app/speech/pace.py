"""How fast a voice speaks, and so whether a sound can be the whole of its text.

Services cut speech off without a word about it. What is left of a text is then shorter than the
text takes to say; how long that is, is known roughly from the text, and better from what the same
voice has said before.

The figures are of eSpeak NG (660 pieces of this project's pages in three voices, and 70 words and
sentences in 19 languages) and of people (3,900 stretches of speech in AMI's meetings). By the
quicker of the two measures below no piece of eSpeak's took less than 0.78 of its voice's usual
time, and no word or sentence less than 0.56 of ORDINARY; one in a thousand of the people's
stretches was below 0.54, and people who talk to each other are quicker than any voice that reads.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from statistics import median

from proxy_app.speech.pieces import longest_s

_WORD = re.compile(r"[^\W_]+")
_VOWELS = re.compile(
    "[aeiouy\u00e6\u0153\u00f8\u0430\u0435\u0438\u043e\u0443\u044b\u044d\u044e\u044f\u0456\u0454\u03b1\u03b5\u03b7\u03b9\u03bf\u03c5\u03c9]+"
)
_SILENT_END = re.compile(r"[b-df-hj-np-tv-xz]e[sd]?$")
"""English and French do not say it; where it is said the text counts as shorter than it is."""
_SYLLABIC = re.compile("[\u3105-\u312f\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]")
_KANA = re.compile("[\u3040-\u30ff]")
_OF_A_LETTER = 0.6
"""Syllables, of kana and of scripts that do not write their vowels, or write them as marks."""
_LAST_SPELLED = "\u0523"
"""Up to here scripts have vowels of their own, which are counted."""

SHORTEST_S = 0.1
"""No word is shorter; the shortest of eSpeak NG's ("Da." in Russian) takes 0.16 s."""
_KNOWN_AFTER, _KEPT, _MOST = 3, 15, 500
_TELLING_S = 1.5
"""By the estimate; how long shorter pieces take says little about the others."""
_SHORT_S = 1.0
_CUT, _CUT_BY_OWN, _DOUBTFUL, _DOUBTFUL_BY_OWN = 0.5, 0.7, 0.7, 0.85
"""Of the usual time, at ORDINARY and at the voice's own pace: what is below is that."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a voice takes."""

    syllable_s: float
    """For a syllable, the pauses of a sentence included, in seconds."""
    of_estimate: float
    """Of what `longest_s` says."""


ORDINARY = Pace(0.23, 0.9)


class Verdict(Enum):
    """What a sound's length says."""

    WHOLE = "whole"
    DOUBTFUL = "doubtful"
    """Shorter than most; it may be quickly said."""
    CUT = "cut"
    """Nobody says the whole text in that time, or not this voice."""


def syllables(text: str) -> float:
    """About how many syllables a text has, rather fewer than more; one for each word at least."""
    return sum(max(1.0, _of_word(word)) for word in _WORD.findall(text.lower()))


def relative(text: str, duration_s: float, pace: Pace) -> float:
    """A sound's length, 1.0 being the usual one at a pace: by the measure that it is longer in.

    The estimate counts letters, of which a single word may have next to none.
    """
    by_syllables = duration_s / max(1.0, syllables(text)) / pace.syllable_s
    estimate_s = longest_s(text)
    if estimate_s < _SHORT_S:
        return by_syllables
    return max(by_syllables, duration_s / estimate_s / pace.of_estimate)


def judged(text: str, duration_s: float, own: Pace | None) -> Verdict:
    """Whether a sound can be the whole of a text.

    Args:
        text: what was to be said.
        duration_s: how long the sound is, in seconds.
        own: the voice's pace, where it is known.
    """
    at_all = relative(text, duration_s, ORDINARY)
    if duration_s < SHORTEST_S or at_all < _CUT:
        return Verdict.CUT
    if own is None:
        return Verdict.WHOLE if at_all >= _DOUBTFUL else Verdict.DOUBTFUL
    of_its_own = relative(text, duration_s, own)
    if of_its_own < (_CUT if longest_s(text) < _SHORT_S else _CUT_BY_OWN):
        return Verdict.CUT
    return Verdict.WHOLE if of_its_own >= _DOUBTFUL_BY_OWN else Verdict.DOUBTFUL


class Paces:
    """Remembers the paces of voices, by what they said last."""

    def __init__(self) -> None:
        self._said: dict[Hashable, deque[tuple[float, float]]] = {}

    def of(self, voice: Hashable, text: str) -> Pace | None:
        """A voice's pace in the script of a text, once it has said some of it."""
        said = self._said.get((voice, _script(text)), ())
        if len(said) < _KNOWN_AFTER:
            return None
        return Pace(median(one for one, _ in said), median(other for _, other in said))

    def heard(self, voice: Hashable, text: str, duration_s: float) -> None:
        """Take note of a piece that seems to be whole."""
        if longest_s(text) < _TELLING_S:
            return
        key = voice, _script(text)
        if key not in self._said and len(self._said) >= _MOST:
            self._said.clear()
        said = self._said.setdefault(key, deque(maxlen=_KEPT))
        said.append((duration_s / max(1.0, syllables(text)), duration_s / longest_s(text)))


def _of_word(word: str) -> float:
    bare = "".join(unicodedata.normalize("NFD", char)[0] for char in word)
    count = float(len(_VOWELS.findall(bare)))
    if count > 1 and _SILENT_END.search(bare):
        count -= 1
    if any(char.isdigit() for char in word):
        count += max(1.0, 0.8 * sum(char.isdigit() and char != "0" for char in word))
    for char in word:
        if _SYLLABIC.match(char):
            count += 1
        elif _KANA.match(char) or (char.isalpha() and not _is_spelled(char)):
            count += _OF_A_LETTER
    return count


def _is_spelled(char: str) -> bool:
    return char <= _LAST_SPELLED or "\u1e00" <= char <= "\u1fff"


def _script(text: str) -> str:
    """What most of a text is written in, as Unicode's names of its letters begin."""
    names = Counter(
        unicodedata.name(char, "").partition(" ")[0] for char in text[:200] if char.isalpha()
    )
    return names.most_common(1)[0][0] if names else ""
