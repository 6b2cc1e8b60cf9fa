"""What is remembered of a service's health, and for whom."""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from proxy_app.services import Health, HealthCache, Service, health
from proxy_app.services.health import READY, SUSPECT, UNREACHABLE

SERVICE = Service("asr", "ASR", "asr", "parakeet", "http://127.0.0.1:1", "127.0.0.1")


class Asked:
    """A service that tells what it is told to, and counts."""

    def __init__(
        self,
        state: str,
        before: Callable[[], object] = lambda: None,
        *,
        is_silent: bool = False,
    ) -> None:
        self.state = state
        self.is_silent = is_silent
        self.count = 0
        self._before = before

    def __call__(self, _service: Service) -> Health:
        self.count += 1
        self._before()
        return Health(self.state, is_silent=self.is_silent)


def test_a_ready_service_is_asked_once() -> None:
    asked = Asked(READY)
    cache = HealthCache(asked, keep_s=1e6)
    assert [cache.of(SERVICE).state for _ in range(3)] == [READY] * 3
    assert asked.count == 1


def test_a_service_that_has_become_ready_is_ready_at_once() -> None:
    asked = Asked(UNREACHABLE)
    cache = HealthCache(asked, keep_s=1e6)
    assert cache.of(SERVICE).state == UNREACHABLE
    asked.state = READY
    assert cache.of(SERVICE).state == READY


def test_those_who_wait_for_a_silent_service_share_one_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = threading.Semaphore(0)
    go_on = threading.Event()

    def look_at_the_clock() -> float:
        looks.release()
        return time.perf_counter()

    monkeypatch.setattr(health, "time", SimpleNamespace(monotonic=look_at_the_clock))
    asked = Asked(UNREACHABLE, lambda: go_on.wait(10))
    cache = HealthCache(asked)
    threads = [threading.Thread(target=cache.of, args=(SERVICE,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(len(threads) + 1):  # each looks when it asks, and the first when it begins
        assert looks.acquire(timeout=10)
    go_on.set()
    for thread in threads:
        thread.join()
    assert asked.count == 2


def test_who_can_do_with_an_older_answer_gets_it_whatever_it_says() -> None:
    asked = Asked(UNREACHABLE)
    cache = HealthCache(asked, keep_s=0)
    states = [cache.of(SERVICE, at_most_s=1e6).state for _ in range(3)]
    asked.state = READY
    states.append(cache.of(SERVICE, at_most_s=1e6).state)
    assert (states, asked.count) == ([UNREACHABLE] * 4, 1)
    assert cache.of(SERVICE).state == READY
    assert cache.of(SERVICE, at_most_s=1e6).state == READY


def test_what_is_forgotten_is_asked_for_again() -> None:
    asked = Asked(READY)
    cache = HealthCache(asked, keep_s=1e6)
    cache.of(SERVICE)
    cache.forget(SERVICE)
    asked.state = UNREACHABLE
    assert cache.of(SERVICE, at_most_s=1e6).state == UNREACHABLE


def test_requests_do_not_wait_for_a_service_that_was_silent_a_moment_ago() -> None:
    go_on, asking = threading.Event(), threading.Event()
    asked = Asked(SUSPECT, is_silent=True)
    cache = HealthCache(asked)
    assert cache.of(SERVICE, at_most_s=1e-9).state == SUSPECT
    cache.forget(SERVICE)  # as a request does that failed there

    def answer_late() -> None:
        asking.set()
        assert go_on.wait(10)

    asked = cache._probe = Asked(READY, answer_late)
    for _ in range(3):
        assert cache.of(SERVICE, at_most_s=1e-9).state == SUSPECT
    assert asking.wait(10), "it is asked beside the requests"
    assert asked.count == 1
    go_on.set()
    assert cache.of(SERVICE).state == READY, "who wants to know waits"
    assert cache.of(SERVICE, at_most_s=1e-9).state == READY


def test_what_was_silent_long_ago_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(SUSPECT, is_silent=True)
    cache = HealthCache(asked)
    cache.of(SERVICE)
    asked.state, asked.is_silent = READY, False
    later = time.monotonic() + 61
    monkeypatch.setattr(health, "time", SimpleNamespace(monotonic=lambda: later))
    assert cache.of(SERVICE, at_most_s=5).state == READY
