"""One site for the whole run, on hosts of its own; its pages build on one another, in order."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import browser, context, page, playwright, shoot
from tests.fleet.conftest import engine, fleet, playbook, spark1, spark2
from tests.fleet.fleet import Fleet
from tests.fleet.playbooks import Playbooks, Result
from tests.site.mirror import running_mirror
from tests.site.site import Site, make_site, sample

__all__ = [
    "browser", "context", "engine", "fleet", "page", "playbook", "playwright", "shoot", "spark1",
    "spark2",
]  # fmt: skip

_failed: dict[str, str] = {}
"""By page, the test whose failure ends it: the next ones would only wait for what is not there."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """An installation of the whole site may take longer than any other test."""
    item.add_marker(pytest.mark.timeout(1800))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember the first failure of a page."""
    report = yield
    if report.failed:
        _failed.setdefault(item.nodeid.partition("::")[0], item.name)
    return report


def pytest_runtest_setup(item: pytest.Item) -> None:
    """End a page with its first failure."""
    if first := _failed.get(item.nodeid.partition("::")[0]):
        pytest.fail(f"builds on {first}, which failed")


@pytest.fixture(scope="session")
def call() -> Path:
    """30 s of a telephone call of two people."""
    found = sample()
    if not found:
        pytest.skip("the engine's environment is not there: no sample of pyannote's")
    return found


@pytest.fixture(scope="session")
def empty_site(
    fleet: Fleet, playbook: Playbooks, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Hosts on which nothing is installed yet."""
    with running_mirror(fleet.gateway) as mirror:
        yield make_site(fleet, playbook, tmp_path_factory.mktemp("site"), mirror)


@pytest.fixture(scope="session")
def installation(empty_site: Site) -> Result:
    """The first run of the whole site."""
    return empty_site.run("site")


@pytest.fixture(scope="session")
def site(empty_site: Site, installation: Result) -> Site:
    """All of it is installed, once for the whole run; test_5_taken_away.py takes it away."""
    assert installation.rc == 0, installation.out
    return empty_site
