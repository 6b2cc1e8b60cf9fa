"""Turns: who computes for long lets others do something in between."""

import time

_SHORT_S = 1e-6


def let_others() -> None:
    """Let everybody else who can go on do so, those included whose sockets have something for them.

    A sleep of no time would not: with gevent, who sleeps so goes on before the sockets are looked
    at. Under gevent this one takes no longer than that look; in other processes it is a thread's.
    """
    time.sleep(_SHORT_S)
