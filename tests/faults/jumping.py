"""A wall clock that a test moves under a process, by libfaketime, which Debian has."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fleet.engine import MissingError, install


def libfaketime() -> Path:
    """Debian's library, installed where it is missing; where that may not be, what to install."""
    try:
        install("faketime", package="faketime")
    except MissingError as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    return library


@dataclass(frozen=True)
class JumpingClock:
    """What a process sees of the time; other processes see the machine's."""

    library: Path
    file: Path

    def environ(self) -> dict[str, str]:
        """What moves the wall clock of a process, and no other clock."""
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def is_off_by(self, seconds: int) -> None:
        """The clock is so many seconds ahead from now on."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self.file)
