"""The view of a job, in a browser: real playbooks, and jobs that a test tells."""

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from proxy_app.jobs.states import State
from tests.browser.axe import problems
from tests.browser.conftest import PHONE, Shoot, Site
from tests.browser.relay import relayed
from tests.jobs.told import Told
from tests.jobs.web import free_port, serving


@pytest.fixture
def told(site: Site) -> Iterator[Told]:
    """A running job whose process is this one."""
    made = Told(site.house)
    yield made
    if not State(site.house.now(made.job).state).is_over:
        made.end()
    made.events.close()


def open_job(page: Page, site: Site, job_id: str, line: str = "") -> None:
    page.goto(site.url(f"/jobs/{job_id}{line}"))
    expect(page.locator("#job[data-live=yes]")).to_be_visible()


def lines(page: Page) -> list[str]:
    """The lines that are elements now."""
    return page.locator(".line code").all_text_contents()


def put(told: Told, first: int, last: int) -> None:
    told.events.log("\n".join(f"line {number}" for number in range(first, last + 1)))


def scrolled_to_end(page: Page) -> bool:
    return bool(page.evaluate(
        "() => { const box = document.getElementById('log');"
        " return box.scrollHeight - box.scrollTop - box.clientHeight < 30; }"
    ))  # fmt: skip


def test_a_failed_job_says_why_on_top_and_which_phase_it_was(
    page: Page, site: Site, shoot: Shoot
) -> None:
    job = site.house.order("failing")
    open_job(page, site, job.id)
    expect(page.locator(".outcome")).to_contain_text("There are 3 GB free, and 30 GB are needed.")
    expect(page.locator(".job-phases li[data-state=failed]")).to_have_text(re.compile("Build"))
    expect(page.locator(".job-title .pill")).to_have_text("Failed")
    expect(page.locator("#log .ink-red").first).to_be_visible()
    assert page.title().startswith("✗")
    shoot(page, "job-failed", whole=False)


def test_a_job_is_canceled_then_run_again(page: Page, site: Site, shoot: Shoot) -> None:
    job = site.house.order("slow")
    open_job(page, site, job.id)
    expect(page.locator(".job-phases li[data-state=running]")).to_contain_text("Build")
    shoot(page, "job-running", whole=False)
    page.get_by_role("button", name="Cancel the job").click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text("Cancel the job?")
    shoot(page, "job-cancel-asked", whole=False)
    question.get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".job-title .pill")).to_have_text("Canceled")
    expect(page.locator(".outcome")).to_contain_text("Canceled by")
    page.get_by_role("button", name="Run again").click()
    expect(page).not_to_have_url(site.url(f"/jobs/{job.id}"))
    expect(page.locator(".job-title .pill")).to_have_text(re.compile("Queued|Running"))
    expect(page.get_by_role("link", name="the run before")).to_be_visible()


def test_a_job_that_is_being_stopped_can_be_forced(
    page: Page, site: Site, told: Told, shoot: Shoot
) -> None:
    put(told, 1, 3)
    open_job(page, site, told.job.id)
    page.get_by_role("button", name="Cancel the job").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".job-title .pill")).to_have_text("Canceling")
    expect(page.locator(".outcome")).to_contain_text("it is being stopped")
    shoot(page, "job-canceling", whole=False)
    assert not site.house.now(told.job).force
    page.get_by_role("button", name="Force stop").click()
    with page.expect_response("**/cancel"):
        page.get_by_role("dialog").get_by_role("button", name="Force stop").click()
    assert site.house.now(told.job).force
    told.end(State.CANCELED, "Canceled by a test.")
    expect(page.locator(".job-title .pill")).to_have_text("Canceled")


def test_a_question_that_is_answered_with_not_now_does_nothing(
    page: Page, site: Site, told: Told
) -> None:
    open_job(page, site, told.job.id)
    page.get_by_role("button", name="Cancel the job").click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Cancel the job").click()
    page.get_by_role("button", name="Not now").click()
    assert site.house.now(told.job).state == State.RUNNING


def test_a_reload_and_a_second_tab_show_the_same(
    context: BrowserContext, page: Page, site: Site, told: Told
) -> None:
    told.events.phase("Build", "running")
    put(told, 1, 30)
    open_job(page, site, told.job.id)
    expect(page.locator(".line")).to_have_count(30)
    page.reload()
    second = context.new_page()
    open_job(second, site, told.job.id)
    put(told, 31, 40)
    for tab in (page, second):
        expect(tab.locator(".line")).to_have_count(40)
        assert lines(tab) == [f"line {number}" for number in range(1, 41)]


def test_a_page_that_was_open_goes_on_after_the_gateway_was_killed(
    page: Page, site: Site, told: Told, shoot: Shoot
) -> None:
    port = free_port()
    with serving(site.house, port) as web:
        put(told, 1, 5)
        page.goto(f"{web.url}/jobs/{told.job.id}")
        expect(page.locator(".line")).to_have_count(5)
    put(told, 6, 8)
    expect(page.locator("#lost-touch")).to_be_visible()
    shoot(page, "job-gateway-away", whole=False)
    with serving(site.house, port):
        expect(page.locator("#lost-touch")).to_be_hidden()
        put(told, 9, 9)
        expect(page.locator(".line")).to_have_count(9)
        assert lines(page) == [f"line {number}" for number in range(1, 10)]
        told.end()
        expect(page.locator(".job-title .pill")).to_have_text("Succeeded")


def test_output_is_text_whatever_it_looks_like(
    page: Page, site: Site, told: Told, shoot: Shoot
) -> None:
    bad = '<img src=x onerror="document.title=1"><script>document.title=2</script>&lt;'
    told.events.log(f"\x1b[0;31m{bad}\n  second line of red\x1b[0m and plain")
    told.events.log(
        "\x1b[1;35mbold\x1b[0m \x1b[32mgreen\x1b[39m \x1b[38;5;12mblue\x1b[0m \x1b[4mu\x1b[0m"
    )
    told.events.log("\x1b]0;title\x07\x1b[2Jcleared \x1b[38;2;1;2;3mtrue colour\x1b[0m")
    told.events.phase(f"Odd {bad}", "running")
    site.house.room.jobs.note(told.job.id, [
        {"name": f"Odd {bad}", "state": "running", "started_at": 1.0, "finished_at": None}
    ])  # fmt: skip
    open_job(page, site, told.job.id)
    expect(page.locator(".line")).to_have_count(4)
    assert lines(page)[0] == bad
    expect(page.locator(".phase-name")).to_have_text(f"Odd {bad}")
    assert page.locator("#job img, #job script").count() == 0
    red = page.locator(".line .ink-red").all_text_contents()
    assert red == [bad, "  second line of red"]
    expect(page.locator(".ansi-bold.ink-magenta")).to_have_text("bold")
    expect(page.locator(".ink-blue")).to_have_text("blue")
    assert lines(page)[3].endswith("true colour")
    told.end(State.FAILED, bad)
    expect(page.locator(".outcome p")).to_have_text(bad)
    assert bad not in page.title()
    shoot(page, "job-hostile", whole=False)


def test_following_yields_to_a_reader_and_comes_back_at_the_end(
    page: Page, site: Site, told: Told, shoot: Shoot
) -> None:
    put(told, 1, 400)
    open_job(page, site, told.job.id)
    expect(page.get_by_text("line 400", exact=True)).to_be_in_viewport()
    page.locator("#log").hover()
    page.mouse.wheel(0, -1500)
    expect(page.locator("#follow")).to_have_attribute("aria-pressed", "false")
    top = page.locator("#log").evaluate("box => box.scrollTop")
    put(told, 401, 450)
    expect(page.locator("#to-end")).to_have_text("↓ 50 new lines")
    assert page.locator("#log").evaluate("box => box.scrollTop") == top
    shoot(page, "job-behind", whole=False)
    page.locator("#to-end").click()
    expect(page.get_by_text("line 450", exact=True)).to_be_in_viewport()
    expect(page.locator("#follow")).to_have_attribute("aria-pressed", "true")
    put(told, 451, 460)
    expect(page.get_by_text("line 460", exact=True)).to_be_in_viewport()
    page.locator("#log").focus()
    page.keyboard.press("Home")
    expect(page.locator("#follow")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("End")
    expect(page.locator("#follow")).to_have_attribute("aria-pressed", "true")


def test_the_log_can_be_searched(page: Page, site: Site, told: Told, shoot: Shoot) -> None:
    put(told, 1, 900)
    told.events.log("a \x1b[31mNee\x1b[32mdle\x1b[0m in colours")
    put(told, 902, 1500)
    told.events.log("another needle")
    open_job(page, site, told.job.id)
    expect(page.get_by_text("another needle")).to_be_in_viewport()
    page.get_by_label("Search the log").fill("needle")
    expect(page.locator("#found")).to_have_text("2 of 2")
    page.keyboard.press("Enter")
    expect(page.locator("#found")).to_have_text("1 of 2")
    expect(page.locator("mark.is-current").first).to_be_in_viewport()
    assert "".join(page.locator("mark.is-current").all_text_contents()) == "Needle"
    expect(page).to_have_url(re.compile("#L901$"))
    shoot(page, "job-searched", whole=False)
    told.events.log("a third needle")
    expect(page.locator("#found")).to_have_text("1 of 3")
    page.keyboard.press("Shift+Enter")
    expect(page.locator("#found")).to_have_text("3 of 3")
    page.get_by_label("Search the log").fill("hay")
    expect(page.locator("#found")).to_have_text("None")
    page.keyboard.press("Escape")
    expect(page.locator("mark")).to_have_count(0)


def test_a_line_has_an_address_of_its_own(page: Page, site: Site, told: Told) -> None:
    put(told, 1, 2000)
    open_job(page, site, told.job.id, "#L700")
    selected = page.locator(".line.is-selected")
    expect(selected).to_have_count(1)
    expect(selected.locator("code")).to_have_text("line 700")
    expect(selected).to_be_in_viewport()
    expect(page.locator("#follow")).to_have_attribute("aria-pressed", "false")
    page.get_by_role("link", name="Line 705", exact=True).click()
    expect(page).to_have_url(re.compile("#L705$"))
    page.reload()
    expect(page.locator(".line.is-selected code")).to_have_text("line 705")


def test_a_phase_leads_to_its_first_line(page: Page, site: Site, told: Told) -> None:
    phases = []
    for number, name in enumerate(("Preflight", "Build", "Verify")):
        told.events.phase(name, "running")
        put(told, number * 300 + 1, number * 300 + 300)
        phases.append({"name": name, "state": "succeeded", "started_at": 1.0, "finished_at": 62.0})
    site.house.room.jobs.note(told.job.id, phases)
    open_job(page, site, told.job.id)
    page.get_by_role("button", name="Build").click()
    expect(page.locator(".line.is-selected code")).to_have_text("line 301")
    expect(page.locator(".job-phases li").first).to_contain_text("1 min 1 s")


def test_a_log_of_a_hundred_thousand_lines_keeps_the_page_small(
    page: Page, site: Site, told: Told, shoot: Shoot
) -> None:
    for first in range(1, 100_001, 500):
        put(told, first, first + 499)
    open_job(page, site, told.job.id)
    expect(page.get_by_text("line 100000", exact=True)).to_be_in_viewport(timeout=60_000)
    count = "() => document.querySelectorAll('*').length"
    assert page.evaluate(count) < 5000
    for where in ("0", "box.scrollHeight / 2", "box.scrollHeight * 0.9"):
        page.locator("#log").evaluate(f"box => {{ box.scrollTop = {where}; }}")
        page.wait_for_timeout(200)
        assert page.evaluate(count) < 5000
        assert page.locator(".line").first.is_visible()
    page.locator("#log").evaluate("box => { box.scrollTop = 0; }")
    expect(page.get_by_text("line 1", exact=True)).to_be_in_viewport()
    page.get_by_label("Search the log").fill("line 54321")
    page.keyboard.press("Enter")
    expect(page.get_by_text("line 54321", exact=True)).to_be_in_viewport()
    page.set_viewport_size(PHONE)
    expect(page.get_by_text("line 54321", exact=True)).to_be_in_viewport()
    told.events.log("the end")
    page.locator("#to-end").click()
    expect(page.get_by_text("the end", exact=True)).to_be_in_viewport()
    assert page.evaluate(count) < 5000


def test_the_log_is_copied_and_downloaded_whole(
    context: BrowserContext, page: Page, site: Site, told: Told
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    told.events.log("\x1b[32mgreen\x1b[0m\nplain")
    put(told, 3, 1000)
    open_job(page, site, told.job.id)
    expect(page.get_by_text("line 1000", exact=True)).to_be_visible()
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied.split("\n") == ["green", "plain", *(f"line {n}" for n in range(3, 1001))]
    page.locator("summary", has_text="Download").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="As text").click()
    assert download.value.suggested_filename == f"job-{told.job.number}.log"
    assert download.value.path().read_text().rstrip("\n") == copied


def test_a_job_that_is_not_there_is_a_page_that_says_so(page: Page, site: Site) -> None:
    response = page.goto(site.url("/jobs/0123456789abcdef"))
    assert response is not None
    assert response.status == 404
    expect(page.get_by_role("link", name="To the services")).to_be_visible()


def test_every_phase_has_its_state_and_time_and_the_job_counts_on(
    page: Page, site: Site, told: Told
) -> None:
    begun = time.time() - 125
    phases = [
        {"name": "Preflight", "state": "succeeded", "started_at": begun, "finished_at": begun + 5},
        {"name": "Build", "state": "running", "started_at": begun + 5, "finished_at": None},
    ]
    site.house.change(told.job, started_at=begun)
    site.house.room.jobs.note(told.job.id, phases)
    page.clock.install()
    open_job(page, site, told.job.id)
    shown = page.locator(".job-phases li")
    expect(shown).to_have_text([re.compile(r"Preflight, Succeeded\s+5 s"),
                                re.compile(r"Build, Running\s+\d min .* s")])  # fmt: skip
    expect(page.locator(".job-facts")).to_contain_text(re.compile(r"for \d min .* s"))
    page.clock.fast_forward("01:00:00")
    expect(shown.last).to_have_text(re.compile(r"Build, Running\s+1 h"))
    expect(page.locator(".job-facts")).to_contain_text("for 1 h")
    told.end(State.LOST, "Nothing runs it any more.")
    expect(shown.last).to_have_attribute("data-state", "lost")
    assert page.locator(".turns").count() == 0, "nothing turns in a job that is over"
    outcome, log = page.locator(".outcome").bounding_box(), page.locator("#log").bounding_box()
    assert outcome
    assert log
    assert outcome["y"] + outcome["height"] <= log["y"], "the reason is above the log"


def test_a_laptop_that_slept_goes_on_where_it_was(page: Page, site: Site, told: Told) -> None:
    put(told, 1, 5)
    with relayed(site.web.port) as relay:
        page.clock.install()
        page.goto(f"http://127.0.0.1:{relay.port}/jobs/{told.job.id}")
        expect(page.locator(".line")).to_have_count(5)
        relay.forget()  # as a router does: both ends believe that they are connected
        put(told, 6, 9)
        page.clock.fast_forward("08:00:00")
        expect(page.locator(".line")).to_have_count(9)
        assert lines(page) == [f"line {number}" for number in range(1, 10)]


def test_a_hidden_tab_gives_its_connection_back_and_goes_on(
    page: Page, site: Site, told: Told
) -> None:
    put(told, 1, 5)
    hide = (
        "value => { Object.defineProperty(document, 'hidden', {value, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')); }"
    )
    with relayed(site.web.port) as relay:
        page.clock.install()
        page.goto(f"http://127.0.0.1:{relay.port}/jobs/{told.job.id}")
        expect(page.locator(".line")).to_have_count(5)
        streams = relay.asked_for("/stream")
        page.evaluate(hide, True)
        page.clock.fast_forward(35_000)
        put(told, 6, 9)
        page.clock.fast_forward(60_000)
        assert relay.asked_for("/stream") == streams, "it asked again while it was hidden"
        expect(page.locator(".line")).to_have_count(5)
        page.evaluate(hide, False)
        expect(page.locator(".line")).to_have_count(9)
        assert relay.asked_for("/stream") == streams + 1


def test_the_log_is_downloaded_in_colours_too(page: Page, site: Site, told: Told) -> None:
    told.events.log("\x1b[32mgreen\x1b[0m")
    open_job(page, site, told.job.id)
    page.locator("summary", has_text="Download").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="With colours (ANSI)").click()
    assert "\x1b[32mgreen\x1b[0m" in download.value.path().read_text()


def tab_to(page: Page, name: str) -> None:
    """Press Tab until this has the focus, which is to be seen."""
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "() => { const it = document.activeElement;"
            " const name = it.labels?.[0]?.textContent ?? it.textContent;"
            " return [name.trim(), getComputedStyle(it).outlineStyle]; }"
        )
        if focused[0] == name:
            assert focused[1] == "solid", f"nobody sees that {name} has the focus"
            return
    pytest.fail(f"{name} cannot be reached by the Tab key")


def test_a_job_is_canceled_forced_and_run_again_by_keyboard(
    page: Page, site: Site, told: Told
) -> None:
    put(told, 1, 300)
    open_job(page, site, told.job.id)
    tab_to(page, "Skip to the content")
    page.keyboard.press("Enter")
    tab_to(page, "Cancel the job")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Not now")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".job-title .pill")).to_have_text("Canceling")
    # The button is gone, and what comes next is not the log's three hundred lines further on.
    tab_to(page, "Force stop")
    page.keyboard.press("Escape")
    told.end(State.CANCELED, "Canceled by a test.")
    expect(page.locator(".job-title .pill")).to_have_text("Canceled")
    focused = page.evaluate("() => document.activeElement.closest('.job-head') !== null")
    assert focused, "the focus went with the button"
    assert page.evaluate("() => document.activeElement.tagName") != "BUTTON", "Enter would do it"
    tab_to(page, "Run again")
    tab_to(page, "Search the log")
    page.keyboard.type("line 150")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#L150$"))
    assert problems(page) == []


def test_who_wants_no_motion_has_none(page: Page, site: Site, told: Told) -> None:
    phase = {"name": "Build", "state": "running", "started_at": 1.0, "finished_at": None}
    site.house.room.jobs.note(told.job.id, [phase])
    open_job(page, site, told.job.id)
    count = "() => document.getAnimations().length"
    expect(page.locator(".job-phases .turns")).to_have_count(1)
    assert page.evaluate(count) > 0
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(count) == 0
