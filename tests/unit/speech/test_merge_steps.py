"""merge() promises O((W + T) log T) steps: they are counted, not timed."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from proxy_app.speech import Token, Turn, merge


def steps(run: Callable[[], object]) -> int:
    """How many Python instructions a call executes."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:  # noqa: ANN401
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


def exclusive(n: int) -> list[Turn]:
    return [Turn(i / 2, i / 2 + 0.5, f"s{i % 4}") for i in range(n)]


@pytest.mark.parametrize(
    "turns",
    [
        pytest.param(exclusive, id="one after the other"),
        pytest.param(lambda n: [Turn(0, n, "long"), *exclusive(n)], id="one throughout"),
        pytest.param(
            lambda n: [Turn(i / 9, n - i / 9, f"s{i % 4}") for i in range(n)], id="nested"
        ),
        pytest.param(lambda n: [Turn(0, n, f"s{i % 4}") for i in range(n)], id="all the same"),
        pytest.param(lambda n: [Turn(i / 2, i / 2 + 40, f"s{i % 4}") for i in range(n)], id="long"),
        pytest.param(lambda n: [Turn(n + i, n + i + 0.5, "s") for i in range(n)], id="all behind"),
        pytest.param(
            lambda n: [Turn(i / n, i / n + 0.5 / n, f"s{i}") for i in range(n)], id="all before"
        ),
        pytest.param(lambda n: [Turn(0, n, f"s{i}") for i in range(3)], id="few"),
        pytest.param(lambda n: [Turn(0, n, f"s{i}") for i in range(n)], id="a crowd"),
        pytest.param(
            lambda n: [Turn(i / 2, n + i, f"s{i}") for i in range(n)], id="a growing crowd"
        ),
    ],
)
@pytest.mark.parametrize("is_timed", [True, False])
def test_twice_the_words_and_turns_take_twice_the_steps(
    turns: Callable[[int], list[Turn]], is_timed: bool
) -> None:
    def cost(n: int) -> int:
        tokens = [
            Token(f"w{i}", 1.5 + i / 2, 1.9 + i / 2) if is_timed or i % 9 == 0 else Token(f"w{i}")
            for i in range(n)
        ]
        given_turns = turns(n)
        return steps(lambda: merge(tokens, given_turns))

    assert cost(500) < 2.3 * cost(250)


def test_twice_the_words_at_the_same_time_take_twice_the_steps() -> None:
    def cost(n: int) -> int:
        tokens = [Token("w" * 100, i / n, 10) for i in range(n)]
        turns = [Turn(10 * i / n, 10 * (i + 1) / n, f"s{i % 9}") for i in range(n)]
        return steps(lambda: merge(tokens, turns))

    assert cost(500) < 2.3 * cost(250)
