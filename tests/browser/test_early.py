"""What a person does on a page whose scripts are still on their way."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import Site

SECRET = "hf_" + "onlyForThisTest" * 2


@contextmanager
def without_scripts(page: Page, path: str) -> Iterator[None]:
    """Open a page whose modules arrive when the block ends."""
    held: list[Route] = []

    def hold(route: Route) -> None:  # Playwright takes no method of a list
        held.append(route)

    page.route(re.compile(r"/static/(?!early)\w+\.js$"), hold)
    with page.expect_request("**/*.js"):
        page.goto(path, wait_until="commit")
    page.locator("main").wait_for()
    yield
    assert held
    page.unroute_all()  # which lets go of what is held


def test_a_press_that_comes_before_the_scripts_is_done_when_they_are_there(
    page: Page, site: Site
) -> None:
    job = site.house.order("failing")
    site.house.wait(job)
    with without_scripts(page, site.url(f"/jobs/{job.id}")):
        page.get_by_role("button", name="Run again").click()
    expect(page.get_by_role("link", name="the run before")).to_be_visible()


def test_a_secret_that_is_saved_before_the_scripts_are_there_is_in_no_address(
    page: Page, site: Site
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with without_scripts(page, site.url("/settings")):
        page.get_by_label("Hugging Face token").fill(SECRET)
        page.get_by_label("Hugging Face token").press("Enter")
    expect(page.locator("#state-hf_token")).to_contain_text("Set just now")
    file = site.house.state / "secrets" / "hf_token"
    assert file.read_text() == SECRET
    file.unlink()
    assert not [url for url in asked if SECRET in url]


def test_a_secret_that_is_saved_without_scripts_is_in_no_address(
    browser: Browser, site: Site
) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(site.url("/settings"))
        page.get_by_label("Hugging Face token").fill(SECRET)
        with page.expect_navigation():
            page.get_by_label("Hugging Face token").press("Enter")
        assert not [url for url in asked if SECRET in url]
