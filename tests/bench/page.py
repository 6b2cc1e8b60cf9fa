"""The page in a browser: how soon it shows what was clicked, and what a playbook does.

`python -m tests.bench.page`. A line counts when it is an element in sight and the frame with it was
drawn. The playbook's lines say when they were made: its task's template is rendered last thing
before its event. Browser, gateway and playbook share the processor and the clock of one machine.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.bench.jobs import CLICKS, PAUSE_S, WATCHED_S, WATCHERS, figures, read_by_many
from tests.bench.printing import say, table
from tests.browser.conftest import chromium
from tests.jobs.house import PROJECT as TESTS_PROJECT
from tests.jobs.house import House, settings
from tests.jobs.told import Told
from tests.jobs.web import Web, serving

STEPS = 40
PATIENCE_MS = 60_000
PLAYBOOK = f"""
- name: A playbook that says what time it is
  hosts: whisperx
  gather_facts: false
  tasks:
    - name: Build | Ensure it is said
      ansible.builtin.debug:
        msg: "made {{{{ '%.3f' | format(now().timestamp()) }}}}"
      loop: "{{{{ range({STEPS}) | list }}}}"
      loop_control:
        pause: {PAUSE_S}
"""
# What each line of the log says, and when it was drawn: after the next frame's own work.
SEES = """
window.seen = [];
const drawn = (rows) => requestAnimationFrame(() => {
  const channel = new MessageChannel();
  channel.port1.onmessage = () => {
    const bottom = document.getElementById("log").getBoundingClientRect().bottom;
    const at = Date.now() / 1000;
    for (const row of rows) {
      if (row.getBoundingClientRect().top < bottom) window.seen.push([row.textContent, at]);
    }
  };
  channel.port2.postMessage(0);
});
new MutationObserver((changes) => {
  const added = changes.flatMap(({ addedNodes }) => [...addedNodes]);
  const rows = added.filter((node) => node.matches?.(".line:not(.is-probe)"));
  if (rows.length) drawn(rows);
}).observe(document, { childList: true, subtree: true });
"""


def seen(page: Page) -> list[tuple[str, float]]:
    """The log's lines with the seconds since the epoch at which each was in sight."""
    found: list[tuple[str, float]] = page.evaluate("() => window.seen")
    return found


def click(page: Page, web: Web) -> tuple[float, list[float]]:
    """Seconds from the click to the first line in sight, and the delay of each of the playbook."""
    page.goto(web.url)
    page.get_by_text("Live", exact=True).wait_for()
    button = page.locator(".offer button.primary")
    button.evaluate("it => it.addEventListener('click', () => { window.name = Date.now() })")
    button.click()
    page.wait_for_function("() => document.getElementById('job')?.dataset.over === 'yes'")
    # A tab's name is all that outlives the way from one page to the next.
    clicked = float(page.evaluate("() => window.name")) / 1000
    lines = seen(page)
    delays = [
        at - float(text.split("made ")[1].split('"')[0]) for text, at in lines if "made " in text
    ]
    assert len(delays) == STEPS, lines
    return lines[0][1] - clicked, delays


def beside_many(page: Page, house: House, web: Web) -> list[float]:
    """The delay of each line of a job that many others watch, too."""
    told = Told(house)
    with read_by_many(web, told.path):
        page.goto(f"{web.url}/jobs/{told.job.id}")
        page.locator("#job[data-live=yes]").wait_for()
        until = time.monotonic() + WATCHED_S
        while time.monotonic() < until:
            told.events.log(f"made {time.time():.3f}")
            time.sleep(PAUSE_S)
        told.end()
        page.wait_for_function("() => document.getElementById('job').dataset.over === 'yes'")
        return [at - float(text.split("made ")[1]) for text, at in seen(page)]


def project(folder: Path) -> Path:
    """A project of one playbook, on this machine; its forms are those of the tests' own."""
    (folder / "playbooks").mkdir(parents=True)
    (folder / "playbooks/whisperx.yml").write_text(PLAYBOOK)
    (folder / "collections").symlink_to(TESTS_PROJECT / "collections")
    (folder / "ansible.cfg").write_text("")
    python = "{{ ansible_playbook_python }}"
    spark = {"ansible_connection": "local", "ansible_python_interpreter": python}
    inventory = {"whisperx": {"hosts": {"spark1": spark}}}
    (folder / "inventory.json").write_text(json.dumps(inventory))
    return folder


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        made = project(Path(name) / "project")
        where = {
            "SPEECH_PROJECT_DIR": str(made), "SPEECH_INVENTORY": str(made / "inventory.json"),
        }  # fmt: skip
        house = House(settings(Path(name), **where))
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=chromium(), args=options)
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(SEES)
        with house.dispatching(), serving(house) as web:
            say(f"{CLICKS} clicks on Install, one after another")
            clicks = [click(page, web) for _ in range(CLICKS)]
            say(f"a page beside {WATCHERS} streams of its job")
            beside = beside_many(page, house, web)
        browser.close()
        house.room.close()
    table(
        ("Chromium, one worker of the gateway", "median", "95th percentile"),
        [
            ["from the click on Install to the first line in sight",
             *figures([first for first, _ in clicks])],
            ["from an event in the playbook to its line in sight",
             *figures([delay for _, delays in clicks for delay in delays])],
            [f"from an event to its line in sight, beside {WATCHERS} readers", *figures(beside)],
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
