"""Jobs that are playbooks, run by the real ansible-runner: scenarios as the roles have them."""

import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy_app.jobs.events import plain
from proxy_app.jobs.forms import FormError
from proxy_app.jobs.kinds import INSTALLS
from proxy_app.jobs.playbook import write_variables
from proxy_app.jobs.secrets import Secrets
from proxy_app.jobs.states import State
from proxy_app.store import Job
from tests.jobs.house import House, settings

TOKEN = "hf_neverToBeSeenAnywhere"
ODD = "a: b #c 'd' \"e\" \\ $(id) ; id | & <x> %s"


class Played:
    """A control host, and one job of each scenario that ends by itself."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.ended: dict[str, Job] = {}

    def text(self, name: str) -> str:
        return plain(self.house.text(self.ended[name]))

    def phases(self, name: str) -> list[tuple[str, str]]:
        return [(phase["name"], phase["state"]) for phase in self.ended[name].phases]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    environment = {"HF_TOKEN": TOKEN, "PGPASSWORD": "pgNeverToBeSeen"}
    played = Played(House(settings(tmp_path_factory.mktemp("played"), **environment)))
    house = played.house
    Secrets(house.state / "secrets").put("hf_token", TOKEN)
    odd = {"whisperx_settings": {"ENGINE_ODD": ODD, "ENGINE_PORT": 8, "ENGINE_ON": True}}
    with house.dispatching():
        jobs = {
            "quick": house.order("quick", variables={"whisperx_model": "small"}),
            "preview": house.order("quick", preview=True, variables={"whisperx_container": "new"}),
            "failing": house.order("failing"),
            "building": house.order("building"),
            "telling": house.order("telling", variables=odd),
            "unreachable": house.order("unreachable"),
        }
        played.ended = {name: house.wait(job) for name, job in jobs.items()}
    yield played
    house.room.close()


def test_a_playbook_that_runs_to_its_end_has_succeeded(played: Played) -> None:
    job = played.ended["quick"]
    assert (job.state, job.reason) == (State.SUCCEEDED, "The playbook ran to its end.")
    assert job.created_at <= (job.started_at or 0) <= (job.finished_at or 0)


def test_phases_come_from_the_names_of_tasks(played: Played) -> None:
    assert played.phases("quick") == [
        ("Preflight", "succeeded"),
        ("Run", "succeeded"),
        ("Verify", "succeeded"),
    ]
    phases = played.ended["quick"].phases
    for phase, following in itertools.pairwise(phases):
        assert phase["started_at"] <= phase["finished_at"] <= following["started_at"]
    told = [
        (event["name"], event["state"])
        for event in played.house.events(played.ended["quick"])
        if event["event"] == "phase"
    ]
    assert told == [
        (name, state)
        for name in ("Preflight", "Run", "Verify")
        for state in ("running", "succeeded")
    ]


def test_the_log_is_ansibles_own_with_its_colours(played: Played) -> None:
    text = played.text("quick")
    assert "TASK [Preflight | Ensure the host can do it]" in text
    assert "The model is small." in text
    assert "Grüße: <b>&amp;</b>" in text
    assert "PLAY RECAP" in text
    assert "\x1b[0;32mok: [quick]" in played.house.text(played.ended["quick"])


def test_a_failure_that_is_ignored_or_rescued_is_none_of_the_jobs(played: Played) -> None:
    assert "...ignoring" in played.text("quick")
    assert played.ended["quick"].state == State.SUCCEEDED


def test_a_job_fails_with_the_roles_own_words_in_the_phase_that_failed(played: Played) -> None:
    job = played.ended["failing"]
    assert job.state == State.FAILED
    assert job.reason == "whisperx on failing: There are 3 GB free, and 30 GB are needed."
    phases = [("Lock", "succeeded"), ("Build", "failed"), ("Restore", "succeeded")]
    assert played.phases("failing") == phases  # what failed in Lock was mended


def test_the_log_of_a_build_is_told_try_by_try_and_the_last_part_too(played: Played) -> None:
    lines = [line for line in played.text("building").splitlines() if line.startswith("#")]
    expected = [(f"#{n} [cpu {n}/5] RUN make", f"#{n} DONE") for n in range(1, 6)]
    assert lines == [line for pair in expected for line in pair]


def test_what_is_waited_for_is_no_failure_in_the_log(played: Played) -> None:
    told = [line for line in played.text("building").splitlines() if line.startswith("waiting")]
    assert told == [f"waiting: [building] (try {number} of 10)" for number in (1, 2)]
    assert "FAILED" not in played.text("building")


def test_a_host_that_cannot_be_reached_fails_the_job_and_says_so(played: Played) -> None:
    job = played.ended["unreachable"]
    assert job.state == State.FAILED
    assert job.reason.startswith("unreachable cannot be reached: Failed to connect")


def test_values_reach_the_playbook_as_they_were_given(played: Played) -> None:
    assert played.ended["telling"].state == State.SUCCEEDED
    settings, _address = json.loads((played.house.tmp / "given").read_text())
    assert settings == {"ENGINE_ODD": ODD, "ENGINE_PORT": 8, "ENGINE_ON": True}


def test_a_playbook_has_an_environment_of_listed_variables(played: Played) -> None:
    text = played.text("telling")
    names = {line.partition("=")[0].strip("- ") for line in text.splitlines() if "=" in line}
    assert {"PATH", "HOME", "TMPDIR"} <= names
    ours = {name for name in names if name.startswith(("SPEECH_", "PG", "HF_"))}
    assert ours == {"SPEECH_RUN_OF", "SPEECH_RUN_FOLDER"}
    assert "ANSIBLE_HOST_KEY_CHECKING=True" in text  # although ansible.cfg here says otherwise


def test_a_secret_is_handed_on_as_a_file_and_shown_nowhere(played: Played) -> None:
    assert "token=********" in played.text("telling")  # the role that printed it did get it
    for path in played.house.state.rglob("*"):
        if path.is_file() and path.parent.name != "secrets":
            assert TOKEN.encode() not in path.read_bytes(), path
            assert b"pgNeverToBeSeen" not in path.read_bytes(), path
    assert TOKEN not in str(played.ended["telling"].variables)


def test_a_preview_changes_nothing_and_shows_what_would_change(played: Played) -> None:
    job = played.ended["preview"]
    assert (job.state, job.reason) == (State.SUCCEEDED, "The preview ran to its end.")
    assert "+after" in played.text("preview")
    assert "changed: [quick]" in played.text("preview")
    assert not (played.house.tmp / "new").exists()
    assert (played.house.tmp / "quick").exists()


def test_what_only_the_run_needed_is_gone(played: Played) -> None:
    for job in played.ended.values():
        folder = played.house.room.jobs.folder(job.id)
        assert {path.name for path in folder.path.iterdir()} == {
            "lock",
            "playbook.lock",
            "events.jsonl",
            "worker.log",
        }
        assert folder.output.read_text() == ""
        assert not folder.is_held()


def test_a_template_in_a_value_is_never_rendered(house: House, tmp_path: Path) -> None:
    """The form refuses one; this is what stands behind it."""
    pwned = tmp_path / "pwned"
    evil = "{{ lookup('ansible.builtin.pipe', 'touch " + str(pwned) + "') }}"
    file = tmp_path / "variables.yml"
    write_variables(file, {"whisperx_bind_address": evil, "whisperx_settings": {"A": [evil]}})
    assert file.stat().st_mode & 0o777 == 0o600
    project = house.room.project
    done = subprocess.run(
        [project.program("ansible-playbook"), "-i", project.inventory, "--limit", "telling",
         "-e", f"@{file}", "playbooks/whisperx.yml"],
        cwd=project.root, env=project.environment(house.environ), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    given = json.loads((house.tmp / "given").read_text())
    assert (done.returncode, given) == (0, [{"A": [evil]}, evil]), done.stdout
    assert not pwned.exists()


def test_a_host_outside_the_group_is_refused(house: House) -> None:
    for host in ("elsewhere", "localhost,", "all:!quick", "-l", "@x", "../x", "", None):
        with pytest.raises(FormError, match="inventory's group") as caught:
            house.order(host)  # type: ignore[arg-type]
        assert caught.value.param == "host"


def finish(house: House, job: Job, state: State = State.SUCCEEDED) -> None:
    """What a job's process does at its end, without the playbook."""
    jobs = house.room.jobs
    lock = jobs.folder(job.id).take()
    assert lock is not None
    assert jobs.finish(job.id, State.RUNNING, "")
    assert jobs.finish(job.id, state, "")
    os.close(lock)


def test_a_job_that_goes_on_from_an_install_has_its_variables(house: House) -> None:
    desk = house.room.desk

    def end(job: Job, state: State) -> None:
        finish(house, job, state)

    given = {"whisperx_container": "mine", "whisperx_model": "small"}
    end(desk.order("whisperx.install", host="quick", variables=given), State.SUCCEEDED)
    end(desk.order("whisperx.install", host="quick", variables={}), State.FAILED)
    end(desk.order("whisperx.install", host="slow", variables={}), State.SUCCEEDED)
    model = desk.order("whisperx.model", host="quick", variables={"whisperx_model": "medium"})
    assert model.variables == {"whisperx_container": "mine", "whisperx_model": "medium"}
    end(model, State.SUCCEEDED)
    gone = desk.order("whisperx.remove", host="quick")
    assert gone.variables == model.variables
    end(gone, State.SUCCEEDED)
    assert desk.rerun(gone, None).variables == gone.variables


@pytest.mark.parametrize(
    ("keep", "keep_days"), [pytest.param(2, 90, id="too many"), pytest.param(500, 0, id="too old")]
)
def test_an_install_that_was_long_ago_is_still_what_others_go_on_from(
    house: House, keep: int, keep_days: int
) -> None:
    desk, jobs = house.room.desk, house.room.jobs
    given = {"whisperx_container": "mine", "whisperx_port": 8009}
    older = desk.order("whisperx.install", host="quick", variables={"whisperx_port": 8001})
    finish(house, older)
    install = desk.order("whisperx.install", host="quick", variables=given)
    finish(house, install)
    seen = desk.order("whisperx.install", host="quick", preview=True)
    finish(house, seen)
    for host in ("quick", "slow"):
        for _ in range(3):
            finish(house, desk.order("whisperx.install", host=host), State.FAILED)
    jobs.forget(keep_days=keep_days, keep=keep, bases=INSTALLS)
    left = {job.id for job in jobs.history()}
    assert install.id in left, "the container and the port would be forgotten with it"
    assert not left & {older.id, seen.id}
    model = desk.order("whisperx.model", host="quick", variables={"whisperx_model": "medium"})
    assert model.variables == {**given, "whisperx_model": "medium"}
    finish(house, model)
    jobs.forget(keep_days=keep_days, keep=1, bases=INSTALLS)
    assert install.id not in {job.id for job in jobs.history()}, "the change took its place"
    assert desk.order("whisperx.remove", host="quick").variables == model.variables
