"""Places in a service's queue: bounded, waited for, and freed by the kernel."""

import fcntl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from proxy_app.services import Places, QueueFullError
from proxy_app.services import places as places_of

HOLD_FOR_EVER = """
import sys, time
from pathlib import Path
from proxy_app.services import Places
with Places(Path(sys.argv[1])).hold("x", 1, 5):
    print("held", flush=True)
    time.sleep(60)
"""

# Random moments, the same in each run. A place is held for a while by the one that is not killed.
CLIENTS_THAT_LEAVE = """
import sys
from gevent import monkey
monkey.patch_all()
import random
from pathlib import Path
import gevent
from proxy_app.services import Places

places = Places(Path(sys.argv[1]))
moments = random.Random(1)

def use():
    with places.hold("x", 4, 60, most_waiting=32):
        gevent.sleep(0.01)

for _ in range(100):
    clients = [gevent.spawn(use) for _ in range(30)]
    gevent.sleep(moments.random() * 0.1)
    gevent.killall(clients[::2], block=False)
    gevent.joinall(clients, timeout=60, raise_error=True)
    assert all(client.dead for client in clients), "one waits for a place that nobody has"
    assert places.wanted("x") == 0, "who was killed has left a place behind"
"""


def test_no_more_are_held_than_there_are(tmp_path: Path) -> None:
    places = Places(tmp_path)
    with (
        places.hold("x", 2, 0),
        places.hold("x", 2, 0),
        pytest.raises(QueueFullError, match="no place in x"),
        places.hold("x", 2, 0),
    ):
        pass


def test_how_long_the_oldest_is_held_is_known_to_all(tmp_path: Path) -> None:
    places, others = Places(tmp_path), Places(tmp_path)
    assert others.held_s("x") is None
    with places.hold("x", 3, 0):
        time.sleep(0.05)
        alone = others.held_s("x")
        with places.hold("x", 3, 0):
            both = others.held_s("x")
        assert alone is not None
        assert both is not None
        assert 0.05 <= alone <= both
        assert others.held_s("y") is None
    with places.hold("x", 3, 0):
        anew = others.held_s("x")
    assert anew is not None
    assert anew < both
    assert others.held_s("x") is None


def test_services_do_not_share_their_places(tmp_path: Path) -> None:
    places = Places(tmp_path)
    with places.hold("x", 1, 0), places.hold("y", 1, 0):
        pass


def test_a_place_is_free_again_after_an_error(tmp_path: Path) -> None:
    places = Places(tmp_path)
    with pytest.raises(RuntimeError), places.hold("x", 1, 0):
        raise RuntimeError
    with places.hold("x", 1, 0):
        pass


def test_whoever_waits_gets_the_place_that_becomes_free(tmp_path: Path) -> None:
    places = Places(tmp_path)
    entered, leave, got = Event(), Event(), Event()

    def hold() -> None:
        with places.hold("x", 1, 0):
            entered.set()
            leave.wait(10)

    def wait() -> None:
        with places.hold("x", 1, 10):
            got.set()

    greenlets = [gevent.spawn(hold)]
    assert entered.wait(10)
    greenlets.append(gevent.spawn(wait))
    assert not got.wait(0.05)
    leave.set()
    assert got.wait(10)
    gevent.joinall(greenlets, raise_error=True)


def test_another_process_counts_and_its_death_frees_the_place(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD_FOR_EVER, str(tmp_path)]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        places = Places(tmp_path)
        with pytest.raises(QueueFullError), places.hold("x", 1, 0.05):
            pass
        other.kill()
        other.wait()
        with places.hold("x", 1, 5):
            pass


def test_who_is_killed_while_it_waits_leaves_no_place_and_keeps_nobody_waiting(
    tmp_path: Path,
) -> None:
    """As clients leave, whom the gateway's greenlets do not outlive."""
    command = [sys.executable, "-c", CLIENTS_THAT_LEAVE, str(tmp_path)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_as_many_wait_as_may_and_one_more_is_told_at_once(tmp_path: Path) -> None:
    places, others = Places(tmp_path), Places(tmp_path)
    got = Event()

    def wait() -> None:
        with places.hold("x", 1, 10, most_waiting=1):
            got.set()

    with others.hold("x", 1, 0):
        waiter = gevent.spawn(wait)
        assert _eventually(lambda: others.waiting("x") == 1)
        assert (others.held("x"), others.wanted("x")) == (1, 2)
        for one in (places, others):
            with (
                pytest.raises(QueueFullError, match="as many as may wait") as raised,
                one.hold("x", 1, 10, most_waiting=1),
            ):
                pass
            assert raised.value.is_line_full
        assert not got.is_set()
    assert got.wait(10)
    waiter.get()
    assert others.wanted("x") == 0


def test_who_finds_a_place_does_not_wait(tmp_path: Path) -> None:
    places = Places(tmp_path)
    with places.hold("x", 2, 0, most_waiting=1), places.hold("x", 2, 0, most_waiting=1):
        assert (places.held("x"), places.waiting("x")) == (2, 0)


def test_who_waits_in_vain_leaves_the_line(tmp_path: Path) -> None:
    places = Places(tmp_path)
    with places.hold("x", 1, 0):
        with (
            pytest.raises(QueueFullError, match=r"within 0\.05 s") as raised,
            places.hold("x", 1, 0.05, most_waiting=1),
        ):
            pass
        assert not raised.value.is_line_full
        assert places.waiting("x") == 0


def test_of_one_process_whoever_came_first_is_first(tmp_path: Path) -> None:
    places = Places(tmp_path)
    order: list[int] = []

    def wait(number: int) -> None:
        with places.hold("x", 1, 10, most_waiting=9):
            order.append(number)

    waiters = []
    with places.hold("x", 1, 0):
        for number in range(5):
            waiters.append(gevent.spawn(wait, number))
            assert _eventually(lambda: places.waiting("x") == number + 1)  # noqa: B023
    gevent.joinall(waiters, raise_error=True)
    assert order == [0, 1, 2, 3, 4]


def test_the_death_of_one_who_waits_frees_its_place_in_the_line(tmp_path: Path) -> None:
    places = Places(tmp_path)
    script = HOLD_FOR_EVER.replace('"x", 1, 5)', '"x", 1, 60, most_waiting=1)')
    command = [sys.executable, "-c", script, str(tmp_path)]
    root = Path(__file__).resolve().parents[2]
    with places.hold("x", 1, 0), subprocess.Popen(command, cwd=root) as other:
        assert _eventually(lambda: places.waiting("x") == 1)
        with pytest.raises(QueueFullError), places.hold("x", 1, 5, most_waiting=1):
            pass
        other.kill()
        other.wait()
        assert places.waiting("x") == 0
        with pytest.raises(QueueFullError) as raised, places.hold("x", 1, 0.01, most_waiting=1):
            pass
        assert not raised.value.is_line_full, "there is room in the line again"


def _eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            return False
        gevent.sleep(0.005)
    return True


def test_a_place_that_becomes_free_is_taken_at_once_and_not_at_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places_of, "_POLL_S", 60.0)
    places, got = Places(tmp_path), Event()

    def wait() -> None:
        with places.hold("x", 1, 60):
            got.set()

    with places.hold("x", 1, 0):
        waiting = gevent.spawn(wait)
        gevent.sleep(0)  # it has looked, and found none
    assert got.wait(10)
    waiting.get()


def test_who_only_looks_whether_a_place_in_the_line_is_held_sends_nobody_away(
    tmp_path: Path,
) -> None:
    places, got = Places(tmp_path), Event()

    def wait() -> None:
        with places.hold("x", 1, 5, most_waiting=1):
            got.set()

    with places.hold("x", 1, 0):
        with (tmp_path / "waiting" / "x.0").open("w") as looking:
            fcntl.flock(looking, fcntl.LOCK_EX)  # as `is_held` has it for a moment
            waiting = gevent.spawn(wait)
            gevent.sleep(0)
            fcntl.flock(looking, fcntl.LOCK_UN)
        gevent.sleep(0.1)
        assert places.waiting("x") == 1
    waiting.get()
    assert got.is_set()
