"""What is wrong with a value, in OpenAI's words: message, param and code."""

from __future__ import annotations

from collections.abc import Sequence

from proxy_app.errors import BadRequestError

_LONGEST_SHOWN = 100
_LONGEST_NUMBER = 40
_NAMES: dict[type, str] = {
    bool: "a boolean", int: "an integer", float: "a decimal", str: "a string", list: "an array",
    dict: "an object",
}  # fmt: skip


def not_supported(
    name: str, value: object, choices: Sequence[str], *, more: str = ""
) -> BadRequestError:
    """The error of a value that is none of those that there are.

    Args:
        name: the field.
        value: as it was sent.
        choices: what it may be.
        more: said behind them.
    """
    listed = ", ".join(f"'{choice}'" for choice in choices)
    message = f"Invalid value: '{shown(value)}'. Supported values are: {listed}{more}."
    return BadRequestError(message, param=name)


def wrong_type(name: str, expected: str, value: object) -> BadRequestError:
    """The error of a value of another type than is expected (`a string`)."""
    got = _NAMES.get(type(value), "null")
    return BadRequestError(
        f"Invalid type for '{name}': expected {expected}, but got {got} instead.",
        param=name,
        code="invalid_type",
    )


def out_of_bounds(name: str, value: float, bounds: tuple[float, float]) -> BadRequestError:
    """The error of a number that is below or above both bounds."""
    least, most = bounds
    is_below = value < least
    bound = f"above maximum value. Expected a value <= {most:g}"
    if is_below:
        bound = f"below minimum value. Expected a value >= {least:g}"
    return BadRequestError(
        f"Invalid '{name}': decimal {bound}, but got {str(value)[:_LONGEST_NUMBER]} instead.",
        param=name,
        code="decimal_below_min_value" if is_below else "decimal_above_max_value",
    )


def too_long(name: str, length: int, most: int) -> BadRequestError:
    """The error of a text of more characters than are accepted."""
    return BadRequestError(
        f"Invalid '{name}': string too long. Expected a string with maximum length {most}, but got "
        f"a string with length {length} instead.",
        param=name,
        code="string_above_max_length",
    )


def shown(value: object) -> str:
    """A value in a message: one line of ASCII, and no more than its beginning."""
    text = ascii(value)[1:-1] if isinstance(value, str) else ascii(value)
    return text[:_LONGEST_SHOWN]
