"""Read Ansible, then fork a run of ansible-playbook for each who connects; ends with its stdin.

    python warm_server.py SOCKET

Who connects sends arguments in JSON, with the files that are to be the run's input and output, and
is told the process id and, at the end, the exit status, or the signal as a negative number.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys

from ansible.cli.playbook import main

MOST_BYTES = 65_536


def serve(path: str) -> None:
    """Fork until stdin ends."""
    # What is never freed is never touched, and so not copied either.
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        print("ready", flush=True)
        while server in select.select([server, sys.stdin], [], [])[0]:
            channel, _address = server.accept()
            with channel:
                if os.fork() == 0:
                    _attend(channel)


def _attend(channel: socket.socket) -> None:
    """Start one run, and tell how it ended."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        told, files, *_ = socket.recv_fds(channel, MOST_BYTES, 3)
        pid = os.fork()
        if pid == 0:
            channel.close()
            _become(json.loads(told), files)
        channel.sendall(f"{pid}\n".encode())
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        channel.sendall(f"{status}\n".encode())
    finally:
        os._exit(0)


def _become(arguments: list[str], files: list[int]) -> None:
    """Be the command; what the first process does at its end is not done at that of a run."""
    status: object = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        main(["ansible-playbook", *arguments])
    except SystemExit as end:
        status = end.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    serve(sys.argv[1])
