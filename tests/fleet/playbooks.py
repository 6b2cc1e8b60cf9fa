"""Run ansible-playbook as a person does, in an environment of its own."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.fleet.warm import warm_ansible

ROOT = Path(__file__).resolve().parents[2]
RECAP = re.compile(
    r"^(?P<host>\S+)\s+: ok=\d+\s+changed=(?P<changed>\d+)\s+unreachable=(?P<unreachable>\d+)"
    r"\s+failed=(?P<failed>\d+)",
    re.MULTILINE,
)
# What a person's shell may hold and a test must not see.
FOREIGN = ("ANSIBLE_", "SSH_AUTH_SOCK", "SSH_ASKPASS", "DOCKER_", "VIRTUAL_ENV", "PYTHON")


@dataclass(frozen=True)
class Result:
    """How a run of a playbook ended."""

    rc: int
    out: str
    """All that it printed."""
    seconds: float
    changed: dict[str, int] = field(default_factory=dict)
    """Changed tasks by host, from the recap."""
    failed: dict[str, int] = field(default_factory=dict)
    """Failed and unreachable tasks by host, from the recap."""


@dataclass(frozen=True)
class Playbooks:
    """Runs playbooks on an inventory; call it, or start one and let it run."""

    inventory: Path
    folder: Path
    """Holds HOME, connections (cp) and files of variables; a folder for one test run."""
    working_folder: Path = ROOT
    warm: Sequence[str] = ()
    """What stands for the command ansible-playbook where it runs as it does by default."""

    def __call__(
        self,
        name: str | Path,
        *arguments: str,
        inventory: Path | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = 600,
        **extra: Any,  # noqa: ANN401 - whatever JSON holds
    ) -> Result:
        """Run playbooks/NAME.yml, or the file NAME, with EXTRA variables; wait for its end.

        A variable {"__ansible_unsafe": "{{ x }}"} is passed on as that text, not as a template.
        """
        began = time.monotonic()
        warm = self.warm if self.working_folder == ROOT and not environment else ()
        command = self._command(name, *arguments, inventory=inventory, by=warm, **extra)
        with self._started(command, environment) as process:
            try:
                out, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.terminate()
                out, _ = process.communicate(timeout=30)
                raise AssertionError(f"{name} ran longer than {timeout} s:\n{out}") from None
        hosts = list(RECAP.finditer(out))
        return Result(
            rc=process.returncode,
            out=out,
            seconds=time.monotonic() - began,
            changed={host["host"]: int(host["changed"]) for host in hosts},
            failed={host["host"]: int(host["failed"]) + int(host["unreachable"]) for host in hosts},
        )

    def start(
        self,
        name: str | Path,
        *arguments: str,
        inventory: Path | None = None,
        **extra: Any,  # noqa: ANN401
    ) -> subprocess.Popen[str]:
        """Start a playbook and return at once; its output is a pipe."""
        return self._started(self._command(name, *arguments, inventory=inventory, **extra), {})

    def _command(
        self,
        name: str | Path,
        *arguments: str,
        inventory: Path | None,
        by: Sequence[str] = (),
        **extra: Any,  # noqa: ANN401
    ) -> list[str]:
        playbook = name if isinstance(name, Path) else ROOT / "playbooks" / f"{name}.yml"
        command = [
            *(by or [str(ansible("ansible-playbook"))]),
            "-i",
            str(inventory or self.inventory),
        ]
        if extra:
            file = self.folder / f"extra-{secrets.token_hex(4)}.json"
            file.touch(mode=0o600)
            file.write_text(json.dumps(extra))
            command += ["-e", f"@{file}"]
        return [*command, *arguments, str(playbook)]

    def _started(
        self, command: Sequence[str], environment: Mapping[str, str] | None
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.working_folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment() | dict(environment or {}),
            text=True,
        )

    def environment(self) -> dict[str, str]:
        """The environment of every run: this repository's ansible.cfg and nothing of the user's."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        return kept | {
            "PATH": f"{ansible('ansible-playbook').parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "True",
            "ANSIBLE_HOST_KEY_CHECKING": "True",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / "cp"),
        }


@contextmanager
def warm(playbooks: Playbooks) -> Iterator[Playbooks]:
    """The same, of which most runs need no start of Ansible."""
    python = ansible("ansible-playbook").with_name("python")
    if not python.exists():
        yield playbooks  # SPEECH_ANSIBLE_BIN is no virtual environment
        return
    place = (playbooks.folder / "warm.sock", playbooks.environment(), playbooks.working_folder)
    with warm_ansible(python, *place) as command:
        yield replace(playbooks, warm=command)


def ansible(command: str) -> Path:
    """Where an Ansible command is: SPEECH_ANSIBLE_BIN, or the environment that setup makes."""
    given = os.environ.get("SPEECH_ANSIBLE_BIN")
    path = (Path(given) if given else ROOT / ".venv" / "ansible" / "bin") / command
    if not path.exists():
        raise FileNotFoundError(f"no {path}: `python3 tools/setup.py ansible` makes it")
    return path
