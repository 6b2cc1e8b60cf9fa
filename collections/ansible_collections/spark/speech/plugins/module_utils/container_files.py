# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
# SPDX-License-Identifier: Apache-2.0
"""The files of a container, read and written with their mode and owner, whether it runs or not.

`docker cp` speaks tar on its standard input and output, and a tar's headers carry mode, uid, gid
and time as numbers. Nothing has to be installed in the container for that; only to remove a file
Docker has no command, so that the container's own `rm` is run.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import subprocess
import tarfile
import tempfile
import threading
from typing import IO, NamedTuple, cast

from ansible_collections.spark.speech.plugins.module_utils.docker_cli import (
    Docker,
    Result,
    trouble,
)

MAX_FILE_BYTES = 16 * 2**20
_TIMEOUT_S = 120
_MISSING = ("no such container:path", "could not find the file")


class ContainerFileError(Exception):
    """A file that could not be read, written or removed; the message says why."""


class File(NamedTuple):
    """A regular file: what is in it, the mode's last twelve bits, owner and time in seconds."""

    data: bytes
    mode: int
    uid: int
    gid: int
    mtime: int

    @property
    def sha256(self) -> str:
        """The hash of its bytes."""
        return hashlib.sha256(self.data).hexdigest()

    def same(self, other: File | None) -> bool:
        """Whether bytes, mode and owner are the same; the time does not count."""
        return other is not None and self[:4] == other[:4]


class ContainerFiles:
    """The files of one container, named by its id: a successor of its name is never hit."""

    def __init__(self, docker: Docker, container_id: str) -> None:
        self._docker = docker
        self._id = container_id

    def read(self, path: str) -> File | None:
        """Read a file; None where there is none.

        Raises:
            ContainerFileError: it is a link, a folder, longer than 16 MiB, or Docker refuses.
        """
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                self._command("cp", f"{self._id}:{path}", "-"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
            )
            output = cast("IO[bytes]", process.stdout)  # ansible-test wants no assert
            killer = threading.Timer(_TIMEOUT_S, process.kill)
            killer.start()
            try:
                file = _first(output, path)
            finally:
                output.close()
                process.wait()
                killer.cancel()
            said.seek(0)
            words = said.read(4096).decode(errors="replace")
        if file is None and not any(word in words.lower() for word in _MISSING):
            raise ContainerFileError(_why("read", path, Result(process.returncode, "", words)))
        return file

    def write(self, path: str, file: File) -> None:
        """Put a file in place of the one that is there; its folder has to be there.

        Raises:
            ContainerFileError: Docker refuses.
        """
        folder, name = posixpath.split(path)
        header = tarfile.TarInfo(name)
        header.size, header.mode, header.mtime = len(file.data), file.mode, file.mtime
        header.uid, header.gid = file.uid, file.gid
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.addfile(header, io.BytesIO(file.data))
        try:
            done = subprocess.run(
                self._command("cp", "-", f"{self._id}:{folder}"),
                input=archive.getvalue(),
                capture_output=True,
                check=False,
                timeout=_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise ContainerFileError(f"{path}: Docker took longer than {_TIMEOUT_S} s.") from None
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace")
            raise ContainerFileError(_why("written", path, Result(done.returncode, "", words)))

    def remove(self, paths: list[str]) -> None:
        """Remove files, in this order. A container that does not run is started for it and stopped.

        Raises:
            ContainerFileError: Docker refuses, or the container has no `rm`.
        """
        found = self._docker.container(self._id)
        status = found["State"]["Status"] if found else "absent"
        if status == "restarting":  # it would come and go between two commands
            self._run("stop", self._id)
        if status != "running":
            self._run("start", self._id)
        try:
            self._run("exec", "--user", "0", self._id, "rm", "-f", "--", *paths)
        finally:
            if status in ("exited", "created"):
                self._run("stop", self._id)

    def _run(self, *arguments: str) -> None:
        result = self._docker.run(list(arguments), check=False)
        if result.rc != 0:
            why = trouble(result)
            raise ContainerFileError(f"docker {arguments[0]}: {why.said} {why.todo}".strip())

    def _command(self, *arguments: str) -> list[str]:
        binary = self._docker.binary()
        if binary is None:
            raise ContainerFileError("There is no `docker` command in the PATH of this user.")
        return [binary, *arguments]


def _first(stream: IO[bytes], path: str) -> File | None:
    """Read the only file of a tar; None of an empty one, which Docker sends where there is none."""
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            member = tar.next()
            if member is None:
                return None
            if member.issym():
                raise ContainerFileError(f"{path} is a link to {member.linkname}: name that file.")
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                raise ContainerFileError(f"{path} is no regular file.")
            if member.size > MAX_FILE_BYTES:
                raise ContainerFileError(
                    f"{path} has {member.size} bytes: more than {MAX_FILE_BYTES} are not patched."
                )
            file = File(
                content.read(), member.mode & 0o7777, member.uid, member.gid, int(member.mtime)
            )
    except tarfile.TarError:
        return None
    while stream.read(65536):  # what is left is padding; docker cp ends only when it is taken
        pass
    return file if len(file.data) == member.size else None


def _why(done: str, path: str, result: Result) -> str:
    why = trouble(result)
    return f"{path} cannot be {done}: {why.said} {why.todo}".strip()
