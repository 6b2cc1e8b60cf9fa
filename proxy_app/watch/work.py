"""Busy is not wedged: whether a service is at work that advances, as far as that can be known."""

from __future__ import annotations

from collections.abc import Callable

from proxy_app.services import Health
from proxy_app.watch.condition import Condition

OTHERS_S = 1800.0
"""How long a device may be at work, after a probe that came too late, before that is no excuse."""


class Work:
    """Follows the progress that a service tells of, or else the gateway's requests there."""

    def __init__(
        self,
        condition: Condition,
        *,
        in_use_s: Callable[[], float | None],
        failed_at: Callable[[], float | None],
        stuck_s: float,
    ) -> None:
        self._time = condition.time
        self._in_use_s = in_use_s
        self._failed_at = failed_at
        self._stuck_s = stuck_s
        self._tells_progress = False
        self._progress: float | None = None
        self._advanced_at = self._time()
        self._late: tuple[float, float | None] | None = None
        """When a probe came too late, and the failure of a request that was the last one then."""

    def told_by(self, health: Health) -> None:
        """Remember that it is a service that tells its progress."""
        self._tells_progress |= health.tells_progress

    def is_busy(self, health: Health) -> bool:
        """Whether it is at work that advances."""
        if not self._tells_progress:
            return self.is_in_use()
        return bool(health.in_flight) and not self.is_stuck(health)

    def is_in_use(self) -> bool:
        """Whether it tells nothing, and has a request of the gateway, which ends that in time.

        Once a probe was late and a request has failed, those that came afterwards count no more:
        where they never cease a service that hangs would never be without one.
        """
        held_s = None if self._tells_progress else self._in_use_s()
        if held_s is None or self._late is None:
            return held_s is not None
        late_at, failed_at = self._late
        return held_s >= self._time() - late_at or self._failed_at() == failed_at

    def is_stuck(self, health: Health) -> bool:
        """Whether it says that it has work, and has told no progress for too long."""
        if not health.in_flight or health.progress is None or health.progress != self._progress:
            self._progress = health.progress
            self._advanced_at = self._time()
        return self._tells_progress and self._time() - self._advanced_at > self._stuck_s

    def is_probed(self) -> None:
        """A probe is to tell whether it is stuck: the time without progress begins anew."""
        self._advanced_at = self._time()

    def has_advanced(self, health: Health) -> bool:
        """Whether it has got farther than when it was looked at last."""
        before = self._progress
        self.is_stuck(health)  # which remembers how far the work is
        return None not in (before, health.progress) and health.progress != before

    @property
    def was_late(self) -> bool:
        """Whether a probe came too late, and nothing was good since."""
        return self._late is not None

    def may_be_others(self, computes: Callable[[], bool]) -> bool:
        """Whether it tells nothing, and may be at work for others, unseen by the gateway.

        Args:
            computes: tells whether its device is at work; that counts for OTHERS_S.
        """
        if self._tells_progress or self._late is None:
            return False
        return self._time() - self._late[0] < OTHERS_S and computes()

    def is_late(self) -> None:
        """A probe came too late."""
        if self._late is None:
            self._late = self._time(), self._failed_at()

    def is_well(self) -> None:
        """A probe was good, or an answer; or all begins anew."""
        self._late = None
