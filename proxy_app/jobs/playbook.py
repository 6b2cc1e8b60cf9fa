"""A job that is a playbook: ansible-runner, without what goes wrong with it.

It is given a fresh folder, an environment of listed variables, host keys that are checked, and the
job's variables in a file of this user's alone, as values that are no templates. Its events are only
written down; the verdict is ansible-playbook's own exit status and its recap.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible_runner import Runner, RunnerConfig

from proxy_app.jobs.events import EventWriter, plain
from proxy_app.jobs.folders import JobFolder
from proxy_app.jobs.processes import adopt_orphans, children, end_orphans, end_tree
from proxy_app.jobs.project import Project
from proxy_app.jobs.states import State
from proxy_app.jobs.work import Outcome, Phases
from proxy_app.store import Job

log = logging.getLogger(__name__)

_PHASE = re.compile(r"([A-Z][A-Za-z ]{0,30}) \| ")
_POLL_S = 1.0
_LONGEST_REASON = 2000
_UNREACHABLE = "{host} cannot be reached: {said}"


class Playbook:
    """Runs one job's playbook.

    Args:
        job: what to run.
        playbook: its file's name in playbooks/.
        variables: all that it is given.
        project: the playbooks and the inventory.
        folder: the job's.
        installation: by which the locks that it takes on hosts are known again.
        events: where it tells what happens.
        phases: the same, of phases.
    """

    def __init__(
        self,
        job: Job,
        *,
        playbook: str,
        variables: Mapping[str, Any],
        project: Project,
        folder: JobFolder,
        installation: str,
        events: EventWriter,
        phases: Phases,
    ) -> None:
        self._job = job
        self._playbook = playbook
        self._variables = variables
        self._project = project
        self._folder = folder
        self._installation = installation
        self._events = events
        self._phases = phases
        self._failure = ""
        self._reached: set[str] = set()
        self._is_stopped = False
        self._ansible: list[int] = []

    def run(self) -> Outcome:
        """Run it to its end, or to the end that `stop` makes."""
        self._folder.clear()
        self._folder.work.mkdir(mode=0o700)
        try:
            runner = Runner(self._prepared(), event_handler=self._heard)
            if not self._is_stopped:
                runner.run()
            return self._outcome(runner.rc)
        finally:
            if self._is_stopped:
                end_orphans()
            self._folder.clear()

    def stop(self, *, force: bool) -> None:
        """SIGTERM lets ansible-playbook end all that it has started; the tree is what is left.

        It ends without a command that hears no signal, which `run` sees to.
        """
        self._is_stopped = True
        self._ansible = self._ansible or children(os.getpid())
        adopt_orphans()
        for pid in self._ansible:
            if force:
                end_tree(pid)
            else:
                os.kill(pid, signal.SIGTERM)

    def _prepared(self) -> RunnerConfig:
        work = self._folder.work
        variables = work / "variables.yml"
        write_variables(variables, self._variables)
        options = ["--extra-vars", f"@{variables}"]
        options += ["--check", "--diff"] if self._job.preview else []
        config = RunnerConfig(
            private_data_dir=str(work),
            project_dir=str(self._project.root),
            playbook=f"playbooks/{self._playbook}",
            inventory=[str(path) for path in self._project.inventories()],
            limit=self._job.host,
            cmdline=shlex.join(options),
            ident="run",
            # Should the worker's own clock fail.
            timeout=int(self._job.limit_s + 300),
            fact_cache_type="memory",
            # What plugins/plugin_utils/runs.py of the collection names this run by.
            envvars={
                "SPEECH_RUN_OF": self._installation,
                "SPEECH_RUN_FOLDER": str(self._folder.path),
            },
            quiet=True,
        )
        config.prepare()
        config.pexpect_timeout = _POLL_S
        config.suppress_output_file = True
        tether = (
            sys.executable, str(Path(__file__).with_name("tether.py")), str(os.getpid()),
            str(self._folder.playbook_lock),
        )  # fmt: skip
        program = self._project.program(config.command[0])
        config.command = [*tether, program, *config.command[1:]]
        return config

    def _heard(self, event: Mapping[str, Any]) -> bool:
        """Write down what is worth it. Whatever is raised here would stop the runner for ever."""
        try:
            self._write_down(event)
        except Exception:
            log.exception("an event that is not understood")
        return False  # ansible-runner keeps no copy

    def _write_down(self, event: Mapping[str, Any]) -> None:
        data = event.get("event_data", {})
        result = data.get("res") if isinstance(data.get("res"), dict) else {}
        kind = event.get("event", "")
        if kind in ("playbook_on_task_start", "playbook_on_handler_task_start"):
            if match := _PHASE.match(data.get("task") or ""):
                self._phases.begin(match[1])
        elif kind == "runner_retry":
            # Each try of a build brings the new part of its log. Ansible's own line says FAILED.
            tries = f"try {result.get('attempts')} of {result.get('retries')}"
            self._events.log(str(result.get("stdout", f"waiting: [{data.get('host')}] ({tries})")))
            return
        elif kind == "runner_on_unreachable":
            said = _UNREACHABLE.format(host=data.get("host"), said=_said(result))
            self._fails(said, data.get("task"))
        elif kind == "runner_on_failed" and not data.get("ignore_errors"):
            self._fails(_said(result), data.get("task"))
        elif kind == "playbook_on_stats":
            self._reached = {host for key in ("ok", "changed") for host in data.get(key, {})}
        if kind == "runner_on_ok" and "attempts" in result:
            self._events.log(str(result.get("stdout", "")))
        self._events.log(event.get("stdout", ""))

    def _fails(self, reason: str, task: str | None) -> None:
        """It may be rescued yet: the last one counts. What only tells it belongs to no phase."""
        if _PHASE.match(task or ""):
            self._phases.failed_here()
        self._failure = reason or self._failure

    def _outcome(self, status: int | None) -> Outcome:
        what = "The preview" if self._job.preview else "The playbook"
        if status == 0 and self._job.host in self._reached:
            return Outcome(State.SUCCEEDED, f"{what} ran to its end.")
        if status == 0:
            return Outcome(State.FAILED, f"{what} does not apply to {self._job.host}.")
        failure = self._events.clean(plain(self._failure)).strip()[:_LONGEST_REASON]
        fallback = f"ansible-playbook ended with status {status}; the log has the reason."
        return Outcome(State.FAILED, failure or fallback)


def _said(result: Mapping[str, Any]) -> str:
    """What a failed task says, in a loop its first item that failed."""
    for item in (*result.get("results", ()), result):
        if isinstance(item, dict) and item.get("failed", True) and item.get("msg"):
            return str(item["msg"]).removeprefix("Task failed: ")
    return ""


class _Unsafe(str):
    """A text that Ansible must not take for a template."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _data: object) -> bool:
        return True


_Dumper.add_representer(
    _Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"')
)


def write_variables(path: Path, variables: Mapping[str, Any]) -> None:
    """Write a file for `--extra-vars @file`, for this user alone.

    Ansible renders the templates of variables on this machine, and {{ lookup('pipe', ...) }} runs
    a command: every text is marked as one that is none.
    """
    with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        yaml.dump(_unsafe(dict(variables)), file, Dumper=_Dumper, allow_unicode=True)


def _unsafe(value: Any) -> Any:  # noqa: ANN401 - what JSON has
    match value:
        case str():
            return _Unsafe(value)
        case dict():
            return {str(key): _unsafe(item) for key, item in value.items()}
        case list():
            return [_unsafe(item) for item in value]
    return value
