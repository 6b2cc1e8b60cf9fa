"""Add a Spark in a browser: from an empty inventory to an install on a real host, by SSH."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from proxy_app.hosts.own import Host
from tests.browser.axe import problems
from tests.browser.conftest import Shoot, Site, open_speech
from tests.hosts import sshd as hosts
from tests.hosts.conftest import empty_house, engine, sshd, the_sshd
from tests.jobs.web import serving

__all__ = ["engine", "sshd", "the_sshd"]

ANOTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHdqDVa5x1U2nIGSgVvPIQ3FJlJmUHSnqVvqyXwHZGw7"


@pytest.fixture
def empty_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A control host whose inventory is empty."""
    folder = tmp_path_factory.mktemp("empty")
    house = empty_house(folder)
    with house.dispatching(), serving(house) as web:
        yield Site(house, web)
    house.room.close()


def look_for(page: Page, sshd: hosts.Sshd) -> None:
    page.get_by_label("Address").fill(sshd.address)
    page.get_by_label("User").fill(sshd.user)
    page.get_by_role("button", name="Look for it").click()
    expect(page.locator("#fingerprint")).to_have_text(sshd.fingerprint())
    expect(page.locator("#who")).to_be_visible()  # our key is there, too


def test_a_spark_is_added_with_our_key_and_whisperx_is_installed_there(
    page: Page, empty_site: Site, sshd: hosts.Sshd, shoot: Shoot
) -> None:
    open_speech(page, empty_site.url())
    offer = page.locator(".offer", has_text="Add WhisperX")
    offer.get_by_role("link", name="Add a Spark").click()
    look_for(page, sshd)
    command = page.locator("#public-key").text_content() or ""
    key = re.findall(r"'(ssh-ed25519 [^']+)'", command)
    assert len(key) == 1
    shoot(page, "add-host-compare")
    page.get_by_role("button", name="Test the connection").click()
    expect(page.locator("#who .form-wrong")).to_contain_text("Compare the fingerprints first")
    page.get_by_label("It is the same").click()
    page.get_by_role("button", name="Test the connection").click()
    expect(page.locator("#who .form-wrong")).to_be_visible()
    shoot(page, "add-host-refused")
    sshd.allow(key[0])
    page.get_by_role("button", name="Test the connection").click()
    expect(page.locator("#found-list")).to_contain_text("of memory available")
    expect(page.get_by_label("Name")).to_have_value("spark")
    page.get_by_label("Name").fill("spark2")
    shoot(page, "add-host-found")
    assert problems(page) == []
    page.get_by_role("button", name="Save it").click()
    expect(page.get_by_role("article", name="spark2")).to_be_visible()
    expect(page.locator("#live-text")).to_have_text("Live")
    offer.get_by_role("button", name="Install").click()
    expect(page.locator(".job-title .pill")).to_have_text("Succeeded")
    assert sshd.root("cat /tmp/installed").strip() == sshd.user
    open_speech(page, empty_site.url())
    expect(page.locator(".card[data-name=whisperx]")).to_be_visible()
    page.get_by_role("article", name="spark2").get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("article", name="spark2")).to_have_count(0)
    assert empty_site.house.room.project.hosts().groups.get("whisperx", ()) == ()


def test_a_password_puts_the_key_there_and_is_kept_nowhere(
    page: Page, empty_site: Site, sshd: hosts.Sshd
) -> None:
    page.goto(empty_site.url("/hosts/add"))
    look_for(page, sshd)
    page.get_by_label("It is the same").click()
    page.get_by_label("By a password, once").check()
    page.get_by_label("Password", exact=True).fill(hosts.PASSWORD)
    page.get_by_role("button", name="Test the connection").click()
    expect(page.locator("#found-list")).to_contain_text("of memory available")
    expect(page.get_by_label("Password", exact=True)).to_have_value("")
    assert "ssh-ed25519" in sshd.authorized_keys
    kept = [path for path in empty_site.house.state.rglob("*") if path.is_file()]
    assert not [path for path in kept if hosts.PASSWORD.encode() in path.read_bytes()]


def test_a_saved_host_is_changed_and_one_that_was_installed_anew_is_confirmed_again(
    page: Page, empty_site: Site, sshd: hosts.Sshd, shoot: Shoot
) -> None:
    old = Host("spark5", "192.0.2.5", 22, "me", ("whisperx",), ANOTHER_KEY)
    own = empty_site.house.room.own_hosts
    assert own.add(old)
    open_speech(page, empty_site.url())
    page.get_by_role("link", name="Edit spark5").click()
    page.get_by_label("User").fill("no user")
    page.get_by_label("Magpie").check()
    save = page.get_by_role("button", name="Save it")
    save.click()
    expect(page.locator("#wrong-user")).to_contain_text("the name of a user there")
    expect(page.get_by_label("User")).to_have_value("no user")
    expect(page.get_by_label("User")).to_be_focused()
    expect(page.get_by_label("Magpie")).to_be_checked()
    page.get_by_label("User").fill(sshd.user)
    page.get_by_label("Address").fill(sshd.address)
    save.click()
    expect(page.locator(".form-wrong")).to_contain_text("does not show the key")
    assert own.one("spark5") == old
    page.locator("summary").click()
    page.get_by_role("button", name="Show its key").click()
    expect(page.locator("#fingerprint")).to_have_text(sshd.fingerprint())
    shoot(page, "edit-host-key")
    assert problems(page) == []
    page.get_by_label("It is the same").check()
    save.click()
    expect(page.get_by_role("article", name="spark5")).to_contain_text(sshd.address)
    now = own.one("spark5")
    assert now
    assert (now.user, now.groups) == (sshd.user, ("whisperx", "magpie"))


def test_an_address_that_nothing_answers_at_is_said_to_be_so(page: Page, site: Site) -> None:
    page.goto(site.url("/hosts/add"))
    page.get_by_role("button", name="Look for it").click()
    expect(page.locator("#wrong-address")).to_have_text("This is needed.")
    page.get_by_label("Address").fill("127.0.0.1")
    page.get_by_label("User").fill("ada")
    page.get_by_label("SSH port").fill("9")
    page.get_by_role("button", name="Look for it").click()
    expect(page.locator("#where .form-wrong")).to_be_visible()
    expect(page.locator("#who")).to_be_hidden()
    page.get_by_label("Address").fill("-oProxyCommand=id")
    page.get_by_role("button", name="Look for it").click()
    expect(page.locator("#wrong-address")).to_be_visible()
