"""The budget and the settings, in both databases."""

from pathlib import Path

import pytest

from proxy_app.config import load_config
from proxy_app.services import Registry, Removed, digest
from proxy_app.store import ServiceState, Store
from proxy_app.watch.clocks import Moment, elapsed_s, now
from proxy_app.watch.records import RESTARTS, WITHIN_S, Records
from tests.jobs.conftest import database_url, postgres_server, store  # noqa: F401 - fixtures
from tests.watch.world import SERVICE, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def records(store: Store, clock: Clock) -> Records:  # noqa: F811
    return Records(store, clock)


def test_a_budget_is_a_services_own(records: Records) -> None:
    records.add_restart("parakeet", by="watch")
    assert (records.left("parakeet"), records.left("whisperx")) == (RESTARTS - 1, RESTARTS)


def test_a_restart_counts_for_half_an_hour_and_is_then_forgotten(
    records: Records, clock: Clock
) -> None:
    for _ in range(RESTARTS + 2):
        records.add_restart("whisperx", by="docker")
    assert records.left("whisperx") == 0
    clock.sleep(WITHIN_S - 1)
    assert records.left("whisperx") == 0
    clock.sleep(1)
    assert records.left("whisperx") == RESTARTS
    records.add_restart("whisperx", by="watch")
    assert records.restarts_left() == {"whisperx": RESTARTS - 1}


def test_a_restart_that_was_not_made_is_taken_back(records: Records, clock: Clock) -> None:
    records.add_restart("whisperx", by="docker")
    records.add_restart("whisperx", by="watch")
    records.add_restart("parakeet", by="watch")
    records.take_back("whisperx")
    assert records.restarts_left() == {"whisperx": 2, "parakeet": 2}


def test_a_state_is_written_as_a_whole(records: Records) -> None:
    state = ServiceState(
        name="whisperx", state="ready", since=1.0, detail="", checking=False, known={"life": "1"}
    )
    records.save(state)
    state.state, state.last_check = "suspect", {"ok": False}
    records.save(state)
    found = records.state("whisperx")
    assert found is not None
    assert (found.state, found.last_check, found.known) == (
        "suspect", {"ok": False}, {"life": "1"},
    )  # fmt: skip
    records.forget_others(["parakeet"])
    assert records.states() == {}


def test_what_a_person_sets_goes_before_what_is_registered(records: Records) -> None:
    assert records.may_restart(SERVICE)
    records.set_auto_restart("whisperx", on=False)
    assert not records.may_restart(SERVICE)
    records.remove(SERVICE)
    assert not records.may_restart(SERVICE)
    assert records.removed() == {"whisperx": digest(SERVICE)}
    records.set_auto_restart("whisperx", on=True)
    assert records.may_restart(SERVICE)


def test_a_moment_is_now_and_of_this_boot() -> None:
    before, after = now(), now()
    assert 0 <= elapsed_s(before, after) < 60
    assert elapsed_s(Moment("another boot", 9e9, 0.0), after) == after.monotonic


def test_what_is_removed_is_hidden_until_it_is_registered_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / "services.d"
    folder.mkdir()
    file = folder / "parakeet.json"
    file.write_text('{"kind": "asr", "api": "parakeet", "base_url": "http://spark1:8001"}')
    config = load_config({"SPEECH_STATE_DIR": str(tmp_path), "SPEECH_SERVICES_DIR": str(folder)})
    registry = Registry(config)
    (service,) = registry.read().services
    Removed(tmp_path).write({"parakeet": digest(service), "gone": "0"})
    assert registry.read().services == ()
    file.touch()  # a converge that changes nothing
    assert registry.read().services == ()
    file.write_text('{"kind": "asr", "api": "parakeet", "base_url": "http://spark2:8001"}')
    assert [it.host for it in registry.read().services] == ["spark2"]
