"""ansible-playbook from a process that has read Ansible already, and forks one for each run.

To read Ansible takes a run a second, and to pack the modules that it sends to hosts about three
more: more than most runs of the tests take here for all the rest. Nothing of what a run does is
left out, and what is packed lies where Ansible itself looks for it. The environment and the working
folder are those of the first process; a run in others needs the command.

Run by itself (`python warm.py SOCKET ARGUMENTS`) this stands for one run: its input, its output,
its exit status, and its end when it is asked to end.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def warm_ansible(
    python: Path, path: Path, environment: Mapping[str, str], folder: Path
) -> Iterator[list[str]]:
    """The command that stands for ansible-playbook in this ENVIRONMENT and working FOLDER.

    PYTHON is the interpreter of Ansible, and PATH that of a socket to make.
    """
    program = Path(__file__).resolve()
    with subprocess.Popen(
        # -P: beside the program lie files with names of packages.
        [str(python), "-P", str(program.with_name("warm_server.py")), str(path)],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdin
        assert server.stdout
        assert server.stdout.readline() == b"ready\n"
        yield [str(python), "-I", "-S", str(program), str(path)]
        server.stdin.close()


def run(path: str, arguments: list[str]) -> int:
    """Have ARGUMENTS run with this process' own input and output; returns the exit status."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(path)
        socket.send_fds(channel, [json.dumps(arguments).encode()], [0, 1, 2])
        answers = channel.makefile()
        pid = int(answers.readline())
        signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
        status = int(answers.readline())
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
