"""Run a module as Ansible does, JSON in and JSON out, in a process of its own.

It is forked from this one, which has read already what modules import: a new interpreter would take
longer for that than most modules do for their work.
"""

from __future__ import annotations

import os
import runpy
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping
from typing import IO, NoReturn

import ansible.module_utils.basic

assert ansible.module_utils.basic  # read before the first fork
ENDS_WITHIN_S = 120


def run_forked(module: str, given: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Run MODULE as a program that reads GIVEN; returns what it wrote to stdout and to stderr."""
    with (
        tempfile.TemporaryFile("w+") as stdin,
        tempfile.TemporaryFile("w+") as stdout,
        tempfile.TemporaryFile("w+") as stderr,
    ):
        stdin.write(given)
        stdin.seek(0)
        with warnings.catch_warnings():
            # Of threads beside the fork: the child goes on with none of them.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _become(module, environment, (stdin, stdout, stderr))
        _wait_for(pid, module)
        stdout.seek(0)
        stderr.seek(0)
        return stdout.read(), stderr.read()


def _become(
    module: str, environment: Mapping[str, str], files: tuple[IO[str], IO[str], IO[str]]
) -> NoReturn:
    """Be the program; nothing of this process' tests is told of its end."""
    try:
        for number, file in enumerate(files):
            os.dup2(file.fileno(), number)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = [module]
        os.environ.clear()
        os.environ.update(environment)
        warnings.simplefilter("ignore")
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit:
        pass
    except BaseException:  # noqa: BLE001 - as an interpreter does
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _wait_for(pid: int, module: str) -> None:
    deadline = time.monotonic() + ENDS_WITHIN_S
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            raise AssertionError(f"{module} has not ended after {ENDS_WITHIN_S} s")
        time.sleep(0.002)
