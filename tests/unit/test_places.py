"""Places in a service's queue: bounded, waited for, and freed by the kernel."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from proxy_app.services import Places, QueueFullError

HOLD_FOR_EVER = """
import sys, time
from pathlib import Path
from proxy_app.services import Places
with Places(Path(sys.argv[1])).hold("x", 1, 5):
    print("held", flush=True)
    time.sleep(60)
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
    entered, leave, got = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        with places.hold("x", 1, 0):
            entered.set()
            leave.wait(10)

    def wait() -> None:
        with places.hold("x", 1, 10):
            got.set()

    threads = [threading.Thread(target=hold), threading.Thread(target=wait)]
    threads[0].start()
    assert entered.wait(10)
    threads[1].start()
    assert not got.wait(0.05)
    leave.set()
    assert got.wait(10)
    for thread in threads:
        thread.join()


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
