"""A stand-in for a registry such as nvcr.io: it has one image, and gives it to one user.

NVIDIA's registry cannot be had without a key. Real is the protocol by which Docker pulls, version 2
of https://distribution.github.io/distribution/spec/api/, with the Basic challenge that small
registries have; nvcr.io's own challenge sends to a server of tokens, which Docker knows by itself.

The image is an archive of `docker save`. `python3 registry.py ARCHIVE NAME:TAG LOGIN PORT LOG`
serves it on loopback, with nothing but the standard library: LOGIN is a file that holds
USER:PASSWORD, and LOG gets a line of who asked for what.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"  # Docker finds out itself what it is


class Archive:
    """What `docker save` wrote, as a registry names it: by the hashes of the parts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members: dict[str, str] = {}
        """Digests of the blobs, and the members of the archive that they are."""
        with tarfile.open(path) as tar:
            (saved,) = json.loads(_member(tar, "manifest.json").read())
            config = self._described(tar, saved["Config"], CONFIG)
            layers = [self._described(tar, name, LAYER) for name in saved["Layers"]]
        told = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        self.manifest = json.dumps(told).encode()
        self.digest = f"sha256:{hashlib.sha256(self.manifest).hexdigest()}"

    def _described(self, tar: tarfile.TarFile, name: str, kind: str) -> dict[str, Any]:
        told, size = hashlib.sha256(), 0
        with _member(tar, name) as file:
            while block := file.read(1 << 20):
                told.update(block)
                size += len(block)
        digest = f"sha256:{told.hexdigest()}"
        self.members[digest] = name
        return {"mediaType": kind, "size": size, "digest": digest}

    @contextmanager
    def blob(self, digest: str) -> Iterator[tuple[IO[bytes], int]]:
        """A blob and its size in bytes."""
        with tarfile.open(self.path) as tar, _member(tar, self.members[digest]) as file:
            yield file, file.seek(0, 2) - file.seek(0)


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    file = tar.extractfile(name)
    assert file, f"{name} is no file"
    return file


def make_server(
    archive: Archive, image: str, login: str, address: tuple[str, int], log: Callable[[str], object]
) -> ThreadingHTTPServer:
    """A server that has ARCHIVE as IMAGE (name:tag) for LOGIN (user:password)."""
    name, _, tag = image.rpartition(":")
    allowed = f"Basic {base64.b64encode(login.encode()).decode()}"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            given = self.headers["Authorization"] or ""
            log(f"{user_of(given)} {self.command} {self.path}")
            if given != allowed:
                self._refuse(401, "UNAUTHORIZED", "authentication required")
            elif self.path == "/v2/":
                self._answer("application/json", b"{}")
            elif self.path in (f"/v2/{name}/manifests/{ref}" for ref in (tag, archive.digest)):
                self._answer(MANIFEST, archive.manifest, digest=archive.digest)
            elif self.path in (f"/v2/{name}/blobs/{digest}" for digest in archive.members):
                digest = self.path.rpartition("/")[2]
                with archive.blob(digest) as (file, size):
                    self._head(200, "application/octet-stream", size, digest)
                    shutil.copyfileobj(file, self.wfile)
            elif "/manifests/" in self.path:
                self._refuse(404, "MANIFEST_UNKNOWN", "manifest unknown")
            else:
                self._refuse(404, "BLOB_UNKNOWN", "blob unknown")

        def _answer(self, kind: str, body: bytes, *, status: int = 200, digest: str = "") -> None:
            self._head(status, kind, len(body), digest)
            if self.command == "GET":
                self.wfile.write(body)

        def _refuse(self, status: int, code: str, message: str) -> None:
            body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
            self._answer("application/json", body, status=status)

        def _head(self, status: int, kind: str, size: int, digest: str) -> None:
            self.send_response(status)
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(size))
            if digest:
                self.send_header("Docker-Content-Digest", digest)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="the stand-in"')
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return ThreadingHTTPServer(address, Handler)


def user_of(authorization: str) -> str:
    """Who asks, without the password; "-" for nobody."""
    kind, _, encoded = authorization.partition(" ")
    return base64.b64decode(encoded).decode().partition(":")[0] if kind == "Basic" else "-"


@contextmanager
def serving(archive: Path, image: str, login: str) -> Iterator[tuple[str, list[str]]]:
    """A registry on loopback: HOST:PORT, and the lines of its log."""
    asked: list[str] = []
    with make_server(Archive(archive), image, login, ("127.0.0.1", 0), asked.append) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def main(archive: str, image: str, login: str, port: str, log: str) -> None:
    """Serve until it is ended."""
    with Path(log).open("a", buffering=1) as lines:
        make_server(
            Archive(Path(archive)),
            image,
            Path(login).read_text().strip(),
            ("127.0.0.1", int(port)),
            lambda line: lines.write(f"{line}\n"),
        ).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
