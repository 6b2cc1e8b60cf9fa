"""A control host whose playbooks are scenarios, the gateway before it, and a browser."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    Playwright,
    ViewportSize,
    expect,
    sync_playwright,
)

from proxy_app.jobs.states import ACTIVE
from proxy_app.store import Job
from tests.jobs.house import House, eventually, settings
from tests.jobs.web import Web, serving

SCREENS = Path(__file__).with_name("screens")
WIDE = ViewportSize(width=1440, height=900)
PHONE = ViewportSize(width=390, height=844)

expect.set_options(timeout=150_000)  # it only ends a test that has failed


@dataclass
class Site:
    """A house and the gateway before it."""

    house: House
    web: Web

    def url(self, path: str = "/") -> str:
        return self.web.url + path


def chromium() -> str:
    """Debian's browser, installed where it is missing."""
    if (found := shutil.which("chromium")) is None and os.geteuid() == 0:
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "-qq", "install", "--yes", "--no-install-recommends"]
        subprocess.run(["apt-get", "-qq", "update"], check=True, env=environ)
        subprocess.run([*install, "chromium", "fonts-dejavu-core"], check=True, env=environ)
        found = shutil.which("chromium")
    assert found, "the tests of the page need Debian's chromium"
    return found


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    running = playwright.chromium.launch(executable_path=chromium(), args=options)
    yield running
    running.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport=WIDE)
    made.set_default_timeout(150_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab. What scripts raise, what the policy forbids and who else is asked fail the test."""
    tab = context.new_page()
    bad: list[str] = []
    tab.on("pageerror", lambda error: bad.append(f"raised: {error}"))
    tab.on("console", lambda said: bad.append(said.text) if _is_policy(said.text) else None)
    tab.on("request", lambda asked: bad.append(asked.url) if not _is_ours(asked.url) else None)
    yield tab
    tab.close()
    assert bad == []


def open_speech(page: Page, url: str) -> None:
    """Open the page Speech, and wait until its script is there."""
    page.goto(url)
    expect(page.locator("#live-text")).to_have_text("Live")


def _is_policy(text: str) -> bool:
    return "Content Security Policy" in text


def _is_ours(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "http://localhost:", "data:", "blob:"))


@pytest.fixture(scope="session")
def session_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    house = House(settings(tmp_path_factory.mktemp("site")))
    with house.dispatching(), serving(house) as web:
        yield Site(house, web)
    house.room.close()


@pytest.fixture
def site(session_site: Site) -> Iterator[Site]:
    """The site; every test leaves it without an active job."""
    yield session_site
    jobs = session_site.house.room.jobs
    for job in jobs.history():
        with contextlib.suppress(LookupError):
            jobs.cancel(job.id, force=True)
    assert eventually(lambda: not jobs.history(Job.state.in_(ACTIVE)))


class Shoot(Protocol):
    """Takes pictures of a page under a name; of the `whole` of it, or of what is in sight."""

    def __call__(self, page: Page, name: str, *, whole: bool = True) -> None: ...


Scheme = Literal["light", "dark"]
LOOKS: tuple[tuple[str, ViewportSize, Scheme], ...] = (
    ("wide", WIDE, "light"),
    ("phone", PHONE, "dark"),
)
ALL_LOOKS = (*LOOKS, ("wide", WIDE, "dark"), ("phone", PHONE, "light"))


@pytest.fixture
def shoot() -> Shoot:
    """Keep how a page looks: wide and light, on a phone and dark; with SCREENS=all in all four."""
    SCREENS.mkdir(exist_ok=True)
    looks = ALL_LOOKS if os.environ.get("SCREENS") == "all" else LOOKS

    def kept(page: Page, name: str, *, whole: bool = True) -> None:
        for size, viewport, scheme in looks:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.set_viewport_size(viewport)
            page.wait_for_timeout(100)
            wider = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
            assert wider <= 0, f"{name}: something is wider than the page ({size})"
            page.screenshot(path=SCREENS / f"{name}-{size}-{scheme}.png", full_page=whole)
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(WIDE)

    return kept
