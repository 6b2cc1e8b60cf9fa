"""What recognisers and diarizers send on bad days, for hypothesis."""

import math

from hypothesis import strategies as st

from proxy_app.speech import Segment, Token, Turn, Word

_ODD_TIMES = st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 0.0, -0.0, 1e300, 5e-324])
TIMES = st.one_of(st.floats(0, 60), _ODD_TIMES)
TEXTS = st.one_of(
    st.sampled_from(
        [
            "Hello,",
            " hello",
            "I",
            "'m",
            "n't",
            "don't",
            "...",
            ".",
            ' "',
            "(",
            "£",
            "13.60",
            " 4,9",
            "你好",
            "。",
            "ภาษา",
            "안녕",
            "-quality",
            " ",
            "",
            "\n",
            "l'",
            "👍",
            "é",
            "\ud800",
        ]
    ),
    st.text(max_size=6),
)
TOKENS = st.lists(
    st.builds(Token, TEXTS, st.one_of(st.none(), TIMES), st.one_of(st.none(), TIMES)), max_size=25
)
TURNS = st.lists(st.builds(Turn, TIMES, TIMES, st.sampled_from("ABC")), max_size=12)

_WORDS = st.sampled_from(
    [
        "so",
        "then",
        "we",
        "talked,",
        "about.",
        "extraordinarily",
        "Donaudampfschifffahrtsgesellschaft",
        "我们今天讨论一下这个问题。",
        "これはペンです",
        "ヴァイオリン・ソナタ",
        "안녕하세요",
        "a" * 60,
        "ภาษาไทย",
        "-",
        "…",
    ]
)


@st.composite
def segments(draw: st.DrawFn) -> list[Segment]:
    """Consecutive segments of up to three speakers, with the times of their words or without."""
    result: list[Segment] = []
    clock = 0.0
    for _ in range(draw(st.integers(0, 6))):
        speaker = draw(st.sampled_from([None, "Speaker_0", "Speaker_1"]))
        words = []
        for text in draw(st.lists(_WORDS, min_size=1, max_size=25)):
            start = clock + draw(st.sampled_from([0.0, 0.0, 0.05, 0.4, 2.5]))
            clock = start + draw(st.sampled_from([0.0, 0.1, 0.3, 1.0, 9.0]))
            words.append(Word(text, start, clock, speaker))
        text = " ".join(word.text for word in words)
        known = tuple(words) if draw(st.booleans()) else ()
        result.append(Segment(words[0].start, clock, speaker, text, known))
    return result
