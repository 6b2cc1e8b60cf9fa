"""The stretches that a long recording is worked on in. Each server cuts them in its own way."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a recording, in seconds from its beginning."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """How long it is."""
        return self.end_s - self.start_s


def count_windows(duration_s: float, window_s: float) -> int:
    """Into how many windows a recording is cut, for all that is known before it is heard."""
    return max(1, math.ceil(duration_s / window_s))
