"""The forms of jobs and the settings, in a browser."""

import re
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page, expect

from proxy_app.jobs.forms import fields
from proxy_app.jobs.kinds import KINDS
from proxy_app.jobs.ledger import SERVICE
from tests.browser.axe import problems
from tests.browser.conftest import Shoot, Site


def newest(site: Site) -> tuple[str, str, dict[str, object], bool]:
    (job,) = site.house.room.jobs.history(limit=1)
    return job.kind, job.host, job.variables, job.preview


def test_a_form_has_every_variable_with_its_default_and_the_rest_folded(
    page: Page, site: Site, shoot: Shoot
) -> None:
    page.goto(site.url("/install/whisperx.install"))
    expect(page.get_by_label("Model")).to_have_value("medium")
    expect(page.get_by_label("Memory", exact=True)).to_be_hidden()
    shoot(page, "install-form")
    page.locator("summary", has_text="more settings").click()
    expect(page.get_by_label("Memory", exact=True)).to_have_value("40g")
    expect(page.get_by_label("Start timeout (seconds)")).to_have_value("1800")
    known = {
        field.name for field in fields(KINDS["whisperx.install"], site.house.room.project.root)
    }
    names = page.locator("#order .field[data-type] [name]").evaluate_all(
        "them => them.map(it => it.name)"
    )
    assert set(names) == known
    shoot(page, "install-form-open")
    assert problems(page) == []


def test_what_is_left_alone_is_not_ordered_and_a_default_is_that_was_chosen(
    page: Page, site: Site
) -> None:
    page.goto(site.url("/install/whisperx.install?host=quick"))
    page.get_by_label("Model").select_option("large-v3")
    page.locator("summary", has_text="more settings").click()
    page.get_by_label("Settings", exact=True).fill(
        "ENGINE_UNLOAD_AFTER_MIN=5\n\nENGINE_LOG_LEVEL=info"
    )
    page.get_by_label("Auto restart").click()
    page.get_by_label("Diarizer").select_option("senko")
    page.get_by_label("Diarizer").select_option("auto")
    page.get_by_role("button", name="Install WhisperX").click()
    page.wait_for_url("**/jobs/*")
    assert newest(site) == (
        "whisperx.install",
        "quick",
        {
            "whisperx_model": "large-v3",
            "whisperx_diarizer": "auto",
            "whisperx_auto_restart": False,
            "whisperx_settings": {"ENGINE_UNLOAD_AFTER_MIN": "5", "ENGINE_LOG_LEVEL": "info"},
        },
        False,
    )


def test_a_preview_changes_nothing_and_says_what_would(page: Page, site: Site) -> None:
    page.goto(site.url("/install/whisperx.install?host=quick"))
    page.get_by_role("button", name="Preview").click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("h1")).to_contain_text("(preview)")
    expect(page.locator(".outcome")).to_contain_text("The preview ran to its end.")
    expect(page.locator(".line", has_text="+after")).to_be_visible()
    assert newest(site)[3]


def test_what_is_refused_is_said_at_its_field(page: Page, site: Site, shoot: Shoot) -> None:
    page.goto(site.url("/install/whisperx.install?host=quick"))
    page.locator("summary", has_text="more settings").click()
    page.get_by_label("Container").fill("{{ lookup('pipe', 'id') }}")
    page.locator("summary", has_text="more settings").click()
    page.get_by_role("button", name="Install WhisperX").click()
    wrong = page.locator("#wrong-whisperx_container")
    expect(wrong).to_contain_text("is no template")
    expect(page.get_by_label("Container")).to_be_focused()
    expect(page.get_by_label("Container")).to_have_attribute("aria-invalid", "true")
    shoot(page, "install-refused")


def test_what_cannot_be_read_of_a_field_is_not_taken_for_nothing(page: Page, site: Site) -> None:
    page.goto(site.url("/install/whisperx.install?host=quick"))
    page.locator("summary", has_text="more settings").click()
    before = [job.id for job in site.house.room.jobs.history()]
    order = page.get_by_role("button", name="Install WhisperX")
    port = page.get_by_label("Port", exact=True)
    port.fill("")
    port.press_sequentially("80-2")
    order.click()
    expect(page.locator("#wrong-whisperx_port")).to_have_text("A whole number is expected.")
    expect(port).to_be_focused()
    port.fill("8002")
    settings = page.get_by_label("Settings", exact=True)
    settings.fill("ENGINE_LOG_LEVEL=info\nENGINE_UNLOAD")
    order.click()
    expect(page.locator("#wrong-whisperx_settings")).to_contain_text("not: ENGINE_UNLOAD")
    expect(page.locator("#wrong-whisperx_port")).to_be_hidden()
    expect(settings).to_have_value("ENGINE_LOG_LEVEL=info\nENGINE_UNLOAD")
    assert [job.id for job in site.house.room.jobs.history()] == before


@pytest.mark.parametrize(
    "path", ["/login", "/claim?token=x", "/claim", "/nowhere", "/jobs?before=x"]
)
def test_the_pages_at_the_door_and_of_errors_can_be_read(
    page: Page, site: Site, shoot: Shoot, path: str
) -> None:
    page.goto(site.url(path))
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("link", name="Spark Speech")).to_be_visible()
    shoot(page, "door-" + re.sub(r"\W+", "-", path).strip("-"))
    assert problems(page) == []


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS.values() if kind.lane != SERVICE])
def test_every_kind_has_a_form(page: Page, site: Site, kind: str) -> None:
    response = page.goto(site.url(f"/install/{kind}"))
    assert response is not None
    assert response.ok
    expect(page.locator("h1")).to_have_text(KINDS[kind].title)


def test_a_change_of_model_sends_the_model_also_where_it_is_the_default(
    page: Page, site: Site
) -> None:
    page.goto(site.url("/install/whisperx.model?host=quick"))
    page.get_by_role("button", name="Change WhisperX's model").click()
    page.wait_for_url("**/jobs/*")
    kind, _host, variables, _preview = newest(site)
    assert kind == "whisperx.model"
    assert variables["whisperx_model"] == "medium"


def test_where_no_host_is_meant_for_it_the_form_leads_to_adding_one(page: Page, site: Site) -> None:
    page.goto(site.url("/install/magpie.install"))
    expect(page.get_by_text("No host is meant for this yet")).to_be_visible()
    expect(page.get_by_role("link", name="Add a Spark")).to_be_visible()


def test_a_key_is_made_shown_once_and_revoked(page: Page, site: Site) -> None:
    page.goto(site.url("/settings"))
    page.get_by_label("Name of a new one").fill("<i>n8n</i>")
    page.get_by_label("Requests a minute").fill("60")
    page.get_by_role("button", name="Make a key").click()
    made = page.locator("#made-key code")
    expect(made).to_contain_text("sk-spark-")
    key = made.inner_text()
    headers = {"Authorization": f"Bearer {key}"}
    assert requests.get(site.url("/v1/models"), headers=headers, timeout=60).ok
    assert problems(page) == []
    page.reload()
    expect(page.get_by_text("60 a minute.")).to_be_visible()
    assert key not in page.content()
    page.get_by_role("button", name="Revoke <i>n8n</i>").click()
    page.locator("#ask-yes").click()
    expect(page.get_by_text("<i>n8n</i>")).to_have_count(0)
    answer = requests.get(site.url("/v1/models"), headers=headers, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


def test_a_secret_is_written_and_never_shown(page: Page, site: Site, shoot: Shoot) -> None:
    page.goto(site.url("/settings"))
    form = page.locator("[data-secret=hf_token]")
    form.get_by_label("Hugging Face token").fill("hf_a_secret_of_mine")
    form.get_by_role("button", name="Save").click()
    expect(form).to_contain_text("Set just now.")
    expect(form.get_by_label("Hugging Face token")).to_have_value("")
    page.reload()
    expect(form).to_contain_text("Set just now.")
    assert "hf_a_secret_of_mine" not in page.content()
    shoot(page, "settings")
    assert problems(page) == []
    file = Path(site.house.environ["SPEECH_STATE_DIR"]) / "secrets/hf_token"
    assert file.read_text() == "hf_a_secret_of_mine"
    form.get_by_role("button", name="Forget it").click()
    page.get_by_role("dialog").get_by_role("button", name="Forget it").click()
    expect(form).to_contain_text("Not set.")
    assert not file.exists()
