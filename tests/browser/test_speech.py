"""The page Speech in a browser: offers, cards, gauges, jobs, all of it without a reload."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from proxy_app.jobs.states import State
from tests.browser import told
from tests.browser.axe import problems
from tests.browser.conftest import Shoot, Site, open_speech
from tests.jobs.house import House, settings
from tests.jobs.web import Web, free_port, serving
from tests.standins.upstream_whisperx import StandIn

APP = "tests.standins.told_states:create_app()"


@dataclass
class Told:
    """A gateway whose services and hosts are what a test says."""

    web: Web
    file: Path

    def say(self, **topics: dict[str, Any]) -> None:
        known = json.loads(self.file.read_text()) if self.file.exists() else {}
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps({"services": EMPTY, "hosts": NO_HOSTS} | known | topics))
        new.rename(self.file)


NO_HOSTS: dict[str, Any] = {"hosts": [], "error": None, "key": None}
Register = Callable[..., None]
EMPTY: dict[str, Any] = {"summary": "", "services": [], "malformed": []}


@pytest.fixture(scope="module")
def told_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("told")
    house = House(settings(folder))
    file = folder / "told.json"
    file.write_text(json.dumps({"services": EMPTY, "hosts": NO_HOSTS}))
    with serving(house, app=APP, TOLD_STATES=str(file)) as web:
        yield Told(web, file)
    house.room.close()


def services_folder(site: Site) -> Path:
    folder = Path(site.house.environ["SPEECH_SERVICES_DIR"])
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def register(site: Site) -> Iterator[Register]:
    """Registers a service, as a playbook does; they are forgotten after the test."""
    folder = services_folder(site)

    def registered(name: str, **fields: Any) -> None:  # noqa: ANN401 - any field's
        new = folder / f"{name}.new"
        new.write_text(json.dumps(fields))
        new.rename(folder / f"{name}.json")

    yield registered
    for file in folder.iterdir():
        file.unlink()


def test_a_click_installs_and_the_offer_goes_when_it_is_healthy(
    page: Page,
    context: BrowserContext,
    site: Site,
    register: Register,
    shoot: Shoot,
) -> None:
    speech = context.new_page()
    open_speech(speech, site.url())
    offer = speech.locator(".offer", has_text="Add WhisperX")
    expect(offer).to_be_visible()
    shoot(speech, "speech-empty")
    open_speech(page, site.url())
    page.get_by_label("on", exact=True).select_option("slow")
    page.locator(".offer").get_by_role("button", name=re.compile("Install|Try again")).click()
    expect(page).to_have_url(re.compile("/jobs/[0-9a-f]{16}$"))
    expect(page.locator(".job-phases li[data-state=running]")).to_contain_text("Build")
    busy = speech.locator(".offer", has_text="WhisperX is being installed")
    expect(busy).to_contain_text("Build")
    expect(speech.locator("#part-jobs .row").first).to_contain_text("Running: Build")
    shoot(speech, "speech-installing")
    with StandIn() as engine:
        register("whisperx", kind="speakers", api="whisperx", title="WhisperX",
                 base_url=f"http://127.0.0.1:{engine.port}")  # fmt: skip
        expect(speech.locator(".card[data-name=whisperx] .pill")).to_have_text("Ready")
        expect(speech.locator(".offer")).to_have_count(0)
        expect(speech.locator(".summary")).to_have_text("1 of 1 ready")
    speech.close()


def test_a_second_click_leads_to_the_job_that_runs(page: Page, site: Site) -> None:
    page.goto(site.url("/install/whisperx.install?host=slow"))
    job = site.house.order("slow")
    page.get_by_role("button", name="Install WhisperX").click()
    note = page.locator(".toast")
    expect(note).to_contain_text("That is already being done.")
    note.get_by_role("link", name="Watch it").click()
    expect(page).to_have_url(site.url(f"/jobs/{job.id}"))


def test_a_failed_install_says_so_where_it_is_offered_again(
    page: Page, site: Site, shoot: Shoot
) -> None:
    job = site.house.wait(site.house.order("failing"))
    assert job.state == State.FAILED
    open_speech(page, site.url())
    offer = page.locator(".offer")
    expect(offer).to_contain_text("There are 3 GB free, and 30 GB are needed.")
    expect(offer.get_by_role("button", name="Try again")).to_be_visible()
    expect(page.locator("#part-jobs .row-why").first).to_contain_text("3 GB free")
    shoot(page, "speech-install-failed")


def test_a_parakeet_without_a_diarizer_is_offered_the_patch(
    page: Page,
    site: Site,
    register: Register,
    shoot: Shoot,
) -> None:
    open_speech(page, site.url())
    expect(page.locator(".offer", has_text="Add WhisperX")).to_be_visible()
    register("parakeet", kind="asr", api="parakeet", title="Parakeet", host="slow",
             container="my-parakeet", base_url="http://127.0.0.1:9")  # fmt: skip
    offer = page.locator(".offer", has_text="Tell speakers apart on slow")
    expect(offer).to_be_visible()
    shoot(page, "speech-patch-offered")
    offer.get_by_role("link", name="Options").click()
    expect(page.get_by_label("Container")).to_have_value("my-parakeet")
    open_speech(page, site.url())
    offer.get_by_role("button", name="Patch it").click()
    expect(page).to_have_url(re.compile("/jobs/"))
    (job,) = site.house.room.jobs.history(limit=1)
    assert (job.kind, job.host) == ("sortformer.patch", "slow")
    assert job.variables == {"sortformer_container": "my-parakeet", "sortformer_port": 9}
    register("sortformer", kind="diarize", api="sortformer", host="slow",
             base_url="http://127.0.0.1:9")  # fmt: skip
    open_speech(page, site.url())
    expect(page.locator(".card[data-name=sortformer]")).to_be_visible()
    expect(page.locator(".offer", has_text="Tell speakers apart")).to_have_count(0)


def test_every_state_of_a_service_has_its_card(page: Page, told_house: Told, shoot: Shoot) -> None:
    told_house.say(services=told.services(), hosts=told.hosts())
    open_speech(page, told_house.web.url)
    for service in told.services()["services"]:
        card = page.locator(f".card[data-name={service['name']}]")
        word = service["state"].replace("_", " ").capitalize()
        expect(card.locator(".pill")).to_have_text(word)
    ready = page.locator(".card[data-name=whisperx]")
    expect(ready).to_contain_text("good morning please transcribe this sentence")
    expect(ready).to_contain_text("3 of 3 in half an hour")
    expect(ready).to_contain_text("whisperx:3f9c2a71d0b4")
    given_up = page.locator(".card[data-name=whisperx-spark2]")
    expect(given_up).to_contain_text("0 of 3 in half an hour")
    expect(given_up).to_contain_text("expected: good morning")
    shoot(page, "speech-states")
    assert problems(page) == []


def test_hosts_have_gauges_and_a_history(page: Page, told_house: Told, shoot: Shoot) -> None:
    told_house.say(services=EMPTY, hosts=told.hosts())
    open_speech(page, told_house.web.url)
    spark = page.get_by_role("article", name="spark1")
    for words in ("87%", "61 °C · 48 W", "61 GB of 128 GB free", "210 GB of 4.0 TB free"):
        expect(spark).to_contain_text(words)
    expect(spark.locator("polyline")).to_have_count(3)
    expect(page.get_by_role("article", name="spark2")).to_contain_text("No route to host.")
    spark.locator("summary").click()
    expect(spark.get_by_text("whisperx-asr")).to_be_visible()
    shoot(page, "speech-hosts")
    # A fold stays open while its host's numbers change.
    hosts = told.hosts()
    hosts["hosts"][0]["cpu"] = 0.99
    told_house.say(hosts=hosts)
    expect(spark).to_contain_text("99%")
    expect(spark.get_by_text("whisperx-asr")).to_be_visible()


def test_what_services_are_called_is_text(page: Page, told_house: Told, shoot: Shoot) -> None:
    told_house.say(services=told.hostile(), hosts=NO_HOSTS)
    open_speech(page, told_house.web.url)
    card = page.locator(".card[data-name=odd]")
    expect(card.locator("h2")).to_have_text(told.HOSTILE)
    expect(card.locator("blockquote")).to_have_text(told.HOSTILE)
    assert page.locator("#part-services img, #part-services b").count() == 0
    shoot(page, "speech-hostile")


def test_a_change_of_state_is_read_out_and_numbers_are_not(page: Page, told_house: Told) -> None:
    calm: dict[str, Any] = EMPTY | {"services": [told.service("whisperx", "ready")]}
    told_house.say(services=calm)
    open_speech(page, told_house.web.url)
    expect(page.locator("#live-text")).to_have_text("Live")
    calm["services"][0] |= {"work": "5 requests"}
    told_house.say(services=calm)
    expect(page.locator(".card[data-name=whisperx]")).to_contain_text("5 requests")
    expect(page.locator("#said")).to_have_text("")
    calm["services"][0] |= {"state": "restarting"}
    told_house.say(services=calm)
    expect(page.locator("#said")).to_have_text("Whisperx: Restarting")


def test_focus_and_an_open_menu_outlive_what_changes(page: Page, told_house: Told) -> None:
    services: dict[str, Any] = EMPTY | {"services": [told.service("whisperx", "ready")]}
    told_house.say(services=services)
    open_speech(page, told_house.web.url)
    card = page.locator(".card[data-name=whisperx]")
    card.get_by_label("More for Whisperx").focus()
    page.keyboard.press("Enter")
    services["services"].insert(0, told.service("another", "warming"))
    services["services"][1] |= {"work": "7 requests"}
    told_house.say(services=services)
    expect(card).to_contain_text("7 requests")
    expect(card.get_by_label("More for Whisperx")).to_be_focused()
    expect(card.get_by_role("button", name="Stop")).to_be_visible()
    page.keyboard.press("Escape")
    expect(card.get_by_role("button", name="Stop")).to_be_hidden()


def test_the_buttons_of_a_card_ask_the_api(page: Page, told_house: Told) -> None:
    asked: list[tuple[str, str, str | None]] = []

    def answer(route: Route) -> None:
        request = route.request
        asked.append((request.method, request.url.partition("/api")[2], request.post_data))
        route.fulfill(status=202, json={"ok": True})

    told_house.say(services=told.services())
    open_speech(page, told_house.web.url)
    page.route("**/api/services/**", answer)
    card = page.locator(".card[data-name=whisperx]")
    card.get_by_role("button", name="Check now").click()
    card.get_by_role("button", name="Restart").click()
    page.get_by_role("dialog").get_by_role("button", name="Restart").click()
    card.get_by_role("checkbox", name="Heals itself").click()
    card.get_by_label("More for Whisperx").click()
    card.get_by_role("button", name="Remove from the list").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove from the list").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.wait_for_timeout(300)
    assert asked == [
        ("POST", "/services/whisperx/check", "{}"),
        ("POST", "/services/whisperx/restart", "{}"),
        ("PUT", "/services/whisperx/auto_restart", '{"on":false}'),
        ("DELETE", "/services/whisperx", None),
    ]


def test_the_page_says_when_the_gateway_is_away_and_when_it_is_back(
    page: Page, site: Site, shoot: Shoot
) -> None:
    port = free_port()
    with serving(site.house, port) as web:
        open_speech(page, web.url)
    expect(page.locator("#live-text")).to_have_text("The gateway does not answer")
    shoot(page, "speech-gateway-away", whole=False)
    with serving(site.house, port):
        expect(page.locator("#live-text")).to_have_text("Live")


def test_all_jobs_have_a_page(page: Page, site: Site, shoot: Shoot) -> None:
    site.house.wait(site.house.order("quick"))
    page.goto(site.url("/jobs"))
    expect(page.locator(".row").first).to_contain_text("Install WhisperX")
    shoot(page, "jobs")
    assert problems(page) == []
