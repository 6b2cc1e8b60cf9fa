"""What a job is asked for, and what it gave, as JSON and back."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from proxy_app.upstreams import End, Options

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be done, and how the result is told where nobody says."""

    options: Options
    """The paths in it are of files in the job's folder."""
    speakers: bool
    format: str
    granularities: tuple[str, ...]
    model: str
    """As the client named it."""


def to_json(value: object) -> Any:  # noqa: ANN401 - JSON
    """A record of ours as JSON has it."""
    return msgspec.to_builtins(value, enc_hook=str)


def from_json(value: Any, kind: type[T]) -> T:  # noqa: ANN401 - JSON
    """The record that `to_json` was given.

    Raises:
        msgspec.ValidationError: it is of another version.
    """
    return msgspec.convert(value, kind, dec_hook=_made)


def write_end(path: Path, end: End) -> None:
    """Keep a result: all of it or nothing."""
    new = path.with_suffix(".new")
    # Everything outside of ASCII is escaped: what a service says may have a lone surrogate.
    with open(new, "wb", opener=_for_us_alone) as file:
        file.write(json.dumps(to_json(end)).encode())
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def read_end(path: Path) -> End:
    """A result that was kept.

    Raises:
        FileNotFoundError: it is kept no more.
    """
    return from_json(json.loads(path.read_bytes()), End)


def _made(kind: type, value: Any) -> Any:  # noqa: ANN401 - as msgspec has it
    return kind(value)


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
