"""A child process with limits for work on strangers' texts and sounds: a crash costs one request.

The limits are set from outside, before the child is told anything, and its standard input ends when
nobody wants it any more: so its script stands alone, with the standard library and one more.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


class ChildError(Exception):
    """The process ended before its work did; the message is for the log."""


def child_environment() -> dict[str, str]:
    """Next to nothing: the environment holds keys."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"LC_ALL": "C.UTF-8"} | kept


@contextmanager
def confined(script: Path, *, memory_bytes: int, cpu_s: int) -> Iterator[Child]:
    """Run a script for as long as the block lasts.

    Args:
        script: its file.
        memory_bytes: its address space.
        cpu_s: processor time.
    """
    # -I: neither the working folder nor the environment decides what it imports.
    process = subprocess.Popen(  # noqa: S603 - no shell, our own script
        [sys.executable, "-I", str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=child_environment(),
        bufsize=0,
    )
    try:
        for kind, value in (
            (resource.RLIMIT_AS, memory_bytes),
            (resource.RLIMIT_CPU, cpu_s),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, 64),
        ):
            resource.prlimit(process.pid, kind, (value, value))
        yield Child(process)
    finally:
        process.kill()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
        process.wait()


class Child:
    """The process, as who gives it work sees it: blocks, each with its length before it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def send(self, block: bytes) -> None:
        """Give it a block; it has to take the whole of it before it answers.

        Raises:
            ChildError: it has ended.
        """
        pipe = self._pipe(self._process.stdin)
        rest = memoryview(len(block).to_bytes(4, "big") + block)
        try:
            while rest:
                rest = rest[pipe.write(rest) :]
        except BrokenPipeError:
            raise self._ended() from None

    def receive(self) -> bytes:
        """Wait for its next block.

        Raises:
            ChildError: it has ended.
        """
        return self._read(int.from_bytes(self._read(4), "big"))

    def _read(self, size: int) -> bytes:
        pipe = self._pipe(self._process.stdout)
        data = bytearray()
        while len(data) < size:
            piece = pipe.read(size - len(data))
            if not piece:
                raise self._ended()
            data += piece
        return bytes(data)

    def _pipe(self, pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None, "it was started with pipes"
        return pipe

    def _ended(self) -> ChildError:
        return ChildError(f"a child process ended early, with status {self._process.wait()}")
