"""A person with a browser and a bare Spark: WhisperX by a click, and services that heal themselves.

The page, Ansible, SSH, Docker and WhisperX's image and models are real until WhisperX is taken away
again; then a stand-in for its server (tests/standins/engine_process.py), which the same form, role
and playbook install, misbehaves on the same host. The tests build on one another, in this order.
What the first one builds is what the site is installed from after them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from proxy_app.jobs.states import State
from proxy_app.watch.clip import CLIP, SPOKEN
from tests.browser.axe import problems
from tests.browser.conftest import Shoot, open_speech
from tests.fleet.spark import HOST_KEY, USER, Spark
from tests.jobs.house import eventually
from tests.site.control import CONTAINER, PATIENCE_S, Control, running_control
from tests.site.site import Site

ALLOWED = f"/home/{USER}/.ssh/authorized_keys"
PATIENCE_MS = 1000 * PATIENCE_S

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def control(empty_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """A fresh one; the Spark is bare again after it."""
    spark1 = empty_site.fleet.sparks[0]
    spark1.root("cp", "-p", ALLOWED, "/root/allowed")
    try:
        with running_control(empty_site, spark1, tmp_path_factory.mktemp("control")) as control:
            yield control
    finally:
        spark1.root("cp", "-p", "/root/allowed", ALLOWED)
        spark1.ssh(
            "docker ps -aq | xargs -r docker rm --force --volumes; "
            "docker volume ls -q | xargs -r docker volume rm; "
            "docker images -q 'spark-speech/*' | xargs -r docker rmi --force; "
            "rm -rf ~/.spark-speech"
        )


@pytest.fixture(autouse=True)
def calm(page: Page) -> None:
    """Without a graphics card a sign that turns costs as much as the build beside it."""
    page.emulate_media(reduced_motion="reduce")


def card(page: Page) -> Locator:
    return page.locator(".card[data-name=whisperx]")


def state(page: Page) -> Locator:
    return card(page).locator("header .pill")


def offer(page: Page) -> Locator:
    return page.locator(".offer", has_text="Add WhisperX")


def job_id(page: Page) -> str:
    return page.url.rpartition("/")[2].partition("#")[0]


def last_line(page: Page) -> int:
    """The number of the last line in sight."""
    return int(page.locator(".line a").last.get_attribute("href", timeout=PATIENCE_MS)[2:])  # type: ignore[index]


def moves(page: Page) -> None:
    """The log grows under the reader's eyes."""
    before = last_line(page)
    assert eventually(lambda: last_line(page) > before, PATIENCE_S)


def shows_all(context: BrowserContext, tab: Page, control: Control) -> None:
    """A tab has the whole log of its job, without a gap and without a line twice."""
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.bring_to_front()
    tab.get_by_role("button", name="Copy", exact=True).click()
    expect(tab.get_by_role("button", name="Copied")).to_be_visible()
    copied = tab.evaluate("() => navigator.clipboard.readText()")
    assert copied.split("\n") == control.log(job_id(tab))


def test_a_spark_is_added_whose_key_was_confirmed_and_which_lets_our_key_in(
    page: Page, control: Control, spark1: Spark, shoot: Shoot
) -> None:
    open_speech(page, control.url)
    expect(page.locator("#part-hosts")).to_contain_text("No host is known yet")
    shoot(page, "fleet-1-nothing-yet")
    offer(page).get_by_role("link", name="Add a Spark").click()
    page.get_by_label("Address").fill(spark1.address)
    page.get_by_label("User").fill(USER)
    page.get_by_role("button", name="Look for it").click()
    _bits, its_own, *_rest = spark1.root("ssh-keygen", "-lf", f"/{HOST_KEY}").split()
    expect(page.locator("#fingerprint")).to_have_text(its_own)
    page.get_by_label("It is the same").click()
    page.get_by_role("button", name="Test the connection").click()
    expect(page.locator("#who .form-wrong")).to_be_visible()
    spark1.ssh(page.locator("#public-key").text_content() or "")
    page.get_by_role("button", name="Test the connection").click()
    found = page.locator("#found-list")
    for words in ("Docker, which this user may use", "No GPU", "memory available", "disk free"):
        expect(found).to_contain_text(words)
    page.get_by_label("Name").fill("spark1")
    shoot(page, "fleet-2-spark-found")
    page.get_by_role("button", name="Save it").click()
    host = page.get_by_role("article", name="spark1")
    expect(host.locator(".pill")).to_have_text("Reachable")
    for gauge in ("CPU", "Memory", "Disk"):
        expect(host.locator(".gauges")).to_contain_text(gauge)
    shoot(page, "fleet-3-spark-added")


def test_a_click_builds_whisperx_for_all_who_watch_and_who_cancels_can_go_on(
    page: Page, context: BrowserContext, control: Control, shoot: Shoot
) -> None:
    open_speech(page, control.url)
    offer(page).get_by_role("button", name="Install").click()
    building = page.locator(".job-phases li[data-state=running]", has_text="Build")
    expect(building).to_be_visible()
    assert eventually(control.build, PATIENCE_S)
    moves(page)
    page.reload()
    expect(building).to_be_visible()
    moves(page)
    shoot(page, "fleet-4-building", whole=False)
    second = context.new_page()
    second.goto(page.url)
    expect(second.locator(".job-phases li[data-state=running]")).to_contain_text("Build")
    assert second.locator(".phase-name").all_text_contents() == (
        page.locator(".phase-name").all_text_contents()
    )
    builds = control.build()
    second.get_by_role("button", name="Cancel the job").click()
    second.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    for tab in (second, page):
        expect(tab.locator(".job-title .pill")).to_have_text("Canceled")
        expect(tab.locator(".job-phases li[data-state=canceled]")).to_contain_text("Build")
        shows_all(context, tab, control)
    shoot(page, "fleet-5-canceled", whole=False)
    second.close()
    open_speech(page, control.url)
    expect(offer(page)).to_contain_text("Canceled by")
    offer(page).get_by_role("link", name="See its log").click()

    page.get_by_role("button", name="Run again").click()
    expect(page.get_by_role("link", name="the run before")).to_be_visible()
    expect(building).to_be_visible()
    moves(page)
    assert builds == control.build() != "", "it goes on with the build that runs"
    done = page.locator(".job-title .pill")
    expect(done).to_have_text("Succeeded")
    shows_all(context, page, control)
    assert any("check_image.py cpu" in line for line in control.log(job_id(page)))
    shoot(page, "fleet-6-installed", whole=False)


def test_its_card_is_ready_and_the_offer_is_gone(
    page: Page, control: Control, shoot: Shoot
) -> None:
    open_speech(page, control.url)
    expect(state(page)).to_have_text("Ready")
    expect(page.locator(".offer")).to_have_count(0)
    expect(card(page)).to_contain_text("Heard right")
    expect(card(page)).to_contain_text("spark-speech/whisperx:")
    expect(card(page)).to_contain_text("tiny.en")
    shoot(page, "fleet-7-ready")
    assert problems(page) == []


def test_a_telephone_call_has_its_words_and_speakers_by_whisperx(
    control: Control, call: Path
) -> None:
    said = control.transcribe(call)
    assert said.status_code == 200, said.text
    assert said.headers["x-served-by"] == "whisperx"
    assert said.json()["speakers_detected"] == 2
    text = " ".join(segment["text"] for segment in said.json()["segments"])
    assert "didn't know you were there" in text


def test_a_container_that_is_killed_is_started_again_by_a_job(
    page: Page, control: Control, spark1: Spark, shoot: Shoot
) -> None:
    open_speech(page, control.url)
    before = control.inspected()
    spark1.docker("kill", CONTAINER)
    expect(state(page)).to_have_text("Restarting")
    expect(card(page)).to_contain_text("Its container was killed.")
    shoot(page, "fleet-8-killed")
    expect(state(page)).to_have_text("Ready")
    expect(card(page)).to_contain_text("2 of 3 in half an hour")
    row = page.locator("#part-jobs .row").first
    expect(row).to_contain_text("Restart a service")
    expect(row).to_contain_text("Succeeded")
    shoot(page, "fleet-9-healed")
    row.click()
    expect(page.locator("#part-job")).to_contain_text("by the watch process")
    shoot(page, "fleet-10-why", whole=False)
    (job,) = control.restarts()
    assert (job.host, job.state) == ("spark1", State.SUCCEEDED)
    after = control.inspected()
    assert after["Id"] == before["Id"]
    assert after["State"]["StartedAt"] > before["State"]["StartedAt"]


def test_a_click_takes_whisperx_away_and_it_is_offered_again(
    page: Page, control: Control, spark1: Spark, shoot: Shoot
) -> None:
    open_speech(page, control.url)
    card(page).get_by_label("More for WhisperX").click()
    card(page).get_by_role("link", name="Remove WhisperX").click()
    page.get_by_label("Purge").check()
    page.get_by_role("button", name="Remove WhisperX").click()
    expect(page.locator(".job-title .pill")).to_have_text("Succeeded")
    open_speech(page, control.url)
    expect(offer(page)).to_be_visible()
    expect(card(page)).to_have_count(0)
    shoot(page, "fleet-11-taken-away")
    assert spark1.docker("ps", "-aq", "--filter", f"name={CONTAINER}") == ""
    assert spark1.docker("images", "-q", "spark-speech/whisperx") == ""


def test_a_server_that_answers_500_until_it_is_restarted_is_probed_and_restarted_once(
    page: Page, control: Control, shoot: Shoot
) -> None:
    control.order_a_standin()
    open_speech(page, control.url)
    offer(page).get_by_role("button", name="Install").click()
    expect(page.locator(".job-title .pill")).to_have_text("Succeeded")
    open_speech(page, control.url)
    expect(state(page)).to_have_text("Ready")
    expect(card(page)).to_contain_text("3 of 3 in half an hour")
    ordered = len(control.restarts())
    control.uploads()
    control.make("wedged")
    refused = control.transcribe(CLIP)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "60")
    expect(state(page)).to_have_text("Restarting")
    expect(card(page)).to_contain_text("It answered a deep probe with status 500.")
    expect(card(page).locator(".doing")).to_be_visible()
    shoot(page, "fleet-12-wedged")
    expect(state(page)).to_have_text("Ready")
    expect(card(page)).to_contain_text("2 of 3 in half an hour")
    expect(card(page).locator("blockquote")).to_have_text(SPOKEN)
    assert control.uploads() == ["client", "probe", "probe"], "one that failed, and the next life's"
    assert len(control.restarts()) == ordered + 1
    assert control.transcribe(CLIP).status_code == 200


def test_what_docker_starts_again_counts_and_what_a_person_stops_stays_so(
    page: Page, control: Control, spark1: Spark, shoot: Shoot
) -> None:
    """Which of them it was its host tells: `docker container inspect`, by SSH."""
    open_speech(page, control.url)
    ordered = len(control.restarts())
    spark1.root("pkill", "-KILL", "-f", "^python3 /engine_process.py")
    expect(card(page)).to_contain_text("1 of 3 in half an hour")
    expect(state(page)).to_have_text("Ready")
    assert control.inspected()["RestartCount"] == 1
    spark1.docker("stop", "--time", "1", CONTAINER)
    expect(state(page)).to_have_text("Stopped")
    expect(card(page)).to_contain_text("Somebody stopped its container.")
    shoot(page, "fleet-13-stopped")
    assert len(control.restarts()) == ordered
    card(page).get_by_role("button", name="Start").click()
    expect(state(page)).to_have_text("Ready")
    expect(card(page)).to_contain_text("3 of 3 in half an hour")


def test_a_server_that_stays_wedged_is_given_up_after_three_restarts_and_clients_are_told(
    page: Page, control: Control, shoot: Shoot
) -> None:
    open_speech(page, control.url)
    ordered = len(control.restarts())
    control.make("wedged-for-good")
    assert control.transcribe(CLIP).status_code == 503
    expect(state(page)).to_have_text("Given up")
    expect(card(page)).to_contain_text("3 restarts in 30 minutes did not help")
    expect(card(page)).to_contain_text("0 of 3 in half an hour")
    shoot(page, "fleet-14-given-up")
    assert problems(page) == []
    assert len(control.restarts()) == ordered + 3
    control.uploads()
    refused = control.transcribe(CLIP)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "60")
    assert refused.headers["x-should-retry"] == "false"
    assert "client" not in control.uploads(), "it is not even asked"


def test_a_container_that_is_gone_is_absent_and_whisperx_is_offered_again(
    page: Page, control: Control, spark1: Spark, shoot: Shoot
) -> None:
    open_speech(page, control.url)
    spark1.docker("rm", "--force", CONTAINER)
    expect(state(page)).to_have_text("Absent")
    expect(card(page)).to_contain_text(re.compile(f"no container {CONTAINER} on spark1"))
    expect(offer(page)).to_be_visible()
    shoot(page, "fleet-15-absent")
    assert control.transcribe(CLIP).status_code == 503
