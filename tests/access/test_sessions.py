"""Sessions and tries, in both databases and by a clock of the tests' own."""

import pytest
from sqlalchemy import func, select

from proxy_app.access import Sessions, Throttle, TooManyTriesError
from proxy_app.access.sessions import IDLE_S, LONGEST_S, TRIES, TRIES_OF_ALL, WINDOW_S
from proxy_app.store import LoginSession, LoginTry, Store


class Clock:
    """Seconds that pass when a test says so."""

    now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(store: Store, clock: Clock) -> Sessions:
    return Sessions(store, clock)


@pytest.fixture
def throttle(store: Store, clock: Clock) -> Throttle:
    return Throttle(store, clock)


def test_a_session_is_known_by_its_token_which_is_stored_nowhere(
    sessions: Sessions, store: Store
) -> None:
    token = sessions.open("first")
    assert sessions.is_open(token, "first")
    assert not sessions.is_open(token + "x", "first")
    assert not sessions.is_open("", "first")
    with store.session() as session:
        stored = session.scalars(select(LoginSession)).one()
    assert token not in (stored.token, stored.password)


def test_another_password_ends_it(sessions: Sessions) -> None:
    assert not sessions.is_open(sessions.open("first"), "second")


def test_a_session_that_is_closed_stays_closed(sessions: Sessions) -> None:
    token, other = sessions.open("first"), sessions.open("first")
    sessions.close(token)
    assert (sessions.is_open(token, "first"), sessions.is_open(other, "first")) == (False, True)


def test_a_session_that_nobody_uses_ends(sessions: Sessions, clock: Clock) -> None:
    token = sessions.open("first")
    clock.now += IDLE_S - 1
    assert sessions.is_open(token, "first")
    clock.now += IDLE_S - 1
    assert sessions.is_open(token, "first")  # it was used in between
    clock.now += IDLE_S + 1
    assert not sessions.is_open(token, "first")


def test_a_session_ends_however_much_it_is_used(sessions: Sessions, clock: Clock) -> None:
    token = sessions.open("first")
    until = clock.now + LONGEST_S
    while clock.now + IDLE_S / 2 < until:
        clock.now += IDLE_S / 2
        assert sessions.is_open(token, "first")
    clock.now = until + 1
    assert not sessions.is_open(token, "first")


def test_what_is_over_is_removed_with_the_next_login(
    sessions: Sessions, store: Store, clock: Clock
) -> None:
    for _ in range(3):
        sessions.open("first")
    clock.now += IDLE_S + 1
    sessions.open("first")
    with store.session() as session:
        assert session.scalar(select(func.count(LoginSession.token))) == 1


def test_an_address_has_so_many_tries_and_then_waits(throttle: Throttle, clock: Clock) -> None:
    for _ in range(TRIES):
        throttle.admit("192.0.2.1")
        clock.now += 1
    for _ in range(3):  # what is turned away is no further try
        with pytest.raises(TooManyTriesError) as caught:
            throttle.admit("192.0.2.1")
    assert caught.value.wait_s == WINDOW_S - TRIES
    throttle.admit("192.0.2.2")
    clock.now += WINDOW_S - TRIES + 1
    throttle.admit("192.0.2.1")


def test_who_gets_in_has_all_tries_again(throttle: Throttle) -> None:
    for _ in range(3):
        for _ in range(TRIES):
            throttle.admit("192.0.2.1")
        throttle.forgive("192.0.2.1")
    throttle.admit("192.0.2.1")


def test_all_addresses_of_an_ipv6_network_are_one(throttle: Throttle) -> None:
    for number in range(TRIES):
        throttle.admit(f"2001:db8::{number}")
    with pytest.raises(TooManyTriesError):
        throttle.admit("2001:db8::ffff")
    throttle.admit("2001:db8:0:1::1")


def test_many_addresses_have_no_more_than_a_bound_and_leave_no_more(
    throttle: Throttle, store: Store, clock: Clock
) -> None:
    for number in range(TRIES_OF_ALL):
        throttle.admit(f"192.0.2.{number}")
    with pytest.raises(TooManyTriesError):
        throttle.admit("198.51.100.1")
    clock.now += WINDOW_S + 1
    throttle.admit("198.51.100.1")
    with store.session() as session:
        assert session.scalar(select(func.count(LoginTry.number))) == 1


def test_a_clock_that_is_put_back_locks_nobody_out(throttle: Throttle, clock: Clock) -> None:
    clock.now += 86_400
    for _ in range(TRIES):
        throttle.admit("192.0.2.1")
    clock.now -= 86_400
    throttle.admit("192.0.2.1")
