"""Settings as data: one typed declaration reads the environment and writes the documentation.

A process declares its settings as a frozen dataclass whose fields are made with `setting` (other
fields are passed over); the name of a variable is the prefix and the field's name in capitals.
`load` fills it from the environment, `describe` lists it for docs/settings.md. Every NAME can be
given as NAME_FILE instead: the path of a file that holds the value, for secrets.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
}


class SettingError(ValueError):
    """A variable that cannot be used; the message names it, its value and what is expected."""


@dataclass(frozen=True, slots=True)
class Described:
    """One setting as documentation shows it."""

    name: str
    kind: str
    default: str
    help: str


def setting(
    default: Any,  # noqa: ANN401 - a field's type comes from its annotation, not from here
    help: str,  # noqa: A002 - the word that argparse and click use
    *,
    env: str | None = None,
    choices: Sequence[str] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    secret: bool = False,
) -> Any:  # noqa: ANN401
    """Declare one setting of a dataclass.

    Args:
        default: the value when neither NAME nor NAME_FILE is set.
        help: one sentence for docs/settings.md, units included.
        env: the variable's name, where it is not prefix + field name.
        choices: the only values accepted, for text.
        minimum: the smallest number accepted.
        maximum: the largest number accepted.
        secret: never show the value in an error or in repr(). A secret text is printable ASCII,
            as it has to fit into a header.
    """
    metadata = {
        "help": help,
        "env": env,
        "choices": tuple(choices),
        "minimum": minimum,
        "maximum": maximum,
        "secret": secret,
    }
    return field(default=default, metadata=metadata, repr=not secret)


def load(declared: type[T], environ: Mapping[str, str], *, prefix: str = "") -> T:
    """Fill a settings dataclass from environment variables.

    Args:
        declared: a dataclass whose fields are made with `setting`.
        environ: usually os.environ.
        prefix: put before each field's name, "SPEECH_" for example. A variable that starts with
            it and is no setting is refused: it is a typing error more often than not.

    Raises:
        SettingError: naming the variable, its value and what is expected instead.
    """
    values: dict[str, Any] = {}
    names: set[str] = set()
    for name, kind, optional, item in _declared(declared, prefix):
        names |= {name, f"{name}_FILE"}
        text = _text(name, environ)
        if text is None:
            continue
        if text == "" and optional:
            values[item.name] = None
            continue
        values[item.name] = _parse(name, text, kind, item.metadata)
    _refuse_unknown(names, environ, prefix)
    return declared(**values)


def describe(declared: type[Any], *, prefix: str = "") -> list[Described]:
    """List the settings of a dataclass, in its order, for the documentation."""
    rows = []
    for name, kind, _optional, item in _declared(declared, prefix):
        choices = item.metadata["choices"]
        shown = " or ".join(f"`{choice}`" for choice in choices) if choices else _KINDS[kind]
        default = "" if item.default is None else _shown(item.default)
        rows.append(Described(name, shown, default, item.metadata["help"]))
    return rows


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _declared(declared: type[Any], prefix: str) -> Iterator[tuple[str, type, bool, Field[Any]]]:
    hints = get_type_hints(declared)
    for item in (item for item in fields(declared) if "help" in item.metadata):
        kind, optional = _plain(hints[item.name])
        yield item.metadata["env"] or f"{prefix}{item.name.upper()}", kind, optional, item


def _plain(hint: Any) -> tuple[type, bool]:  # noqa: ANN401 - a type or a union of types
    if get_origin(hint) in (Union, UnionType):
        kinds = [arg for arg in get_args(hint) if arg is not type(None)]
        return kinds[0], len(kinds) < len(get_args(hint))
    return hint, False


def _text(name: str, environ: Mapping[str, str]) -> str | None:
    path = environ.get(f"{name}_FILE")
    if path is None:
        return environ.get(name)
    if name in environ:
        raise SettingError(f"{name} and {name}_FILE are both set: keep one of them")
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingError(f"{name}_FILE={path!r} cannot be read: {reason}") from None


def _parse(name: str, text: str, kind: type, metadata: Mapping[str, Any]) -> object:
    def refuse(expected: str) -> SettingError:
        value = "(hidden)" if metadata["secret"] else repr(text)
        return SettingError(f"{name}={value}: expected {expected}")

    if kind is bool:
        if text.lower() not in _TRUE + _FALSE:
            raise refuse("true or false")
        return text.lower() in _TRUE
    if kind in (int, float):
        low, high = metadata["minimum"], metadata["maximum"]
        try:
            number = kind(text)
        except ValueError:
            raise refuse(f"a {_KINDS[kind]}{_bounds(low, high)}") from None
        too_small = low is not None and number < low
        too_large = high is not None and number > high
        if too_small or too_large or (kind is float and not math.isfinite(number)):
            raise refuse(f"a {_KINDS[kind]}{_bounds(low, high)}")
        return number
    if metadata["secret"] and not (text.isascii() and text.isprintable()):
        raise refuse("one line of printable ASCII characters")
    if metadata["choices"] and text not in metadata["choices"]:
        raise refuse(f"one of {', '.join(metadata['choices'])}")
    if kind is Path:
        try:
            return Path(text).expanduser()
        except RuntimeError:  # ~somebody
            raise refuse("a path; there is no such user") from None
    return kind(text)


def _bounds(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    if low is not None:
        return f" of at least {low:g}"
    return f" of at most {high:g}" if high is not None else ""


def _refuse_unknown(names: set[str], environ: Mapping[str, str], prefix: str) -> None:
    if not prefix:
        return
    for name in sorted(environ):
        if name.startswith(prefix) and name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise SettingError(f"{name} is not a setting{hint} (docs/settings.md lists them all)")
