"""A stand-in for the Hugging Face hub: it serves one folder as every model.

It answers those four requests of the hub's protocol that huggingface_hub makes to fetch a model,
and may hang in the middle of a file, until it is released, or take no token, as for a gated model.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What it serves, and what it was asked.

    Attributes:
        url: for HF_ENDPOINT.
        folder: the model's files.
        hangs_at: the end of the name of a file that is finished only once `release` is set.
        takes_no_token: every request is answered as by a gated model that the token may not read.
        hung: set once it has begun.
        asked: the paths that were asked for.
        tokens: the Authorization headers that came with them.
    """

    folder: Path
    hangs_at: str = ""
    takes_no_token: bool = False
    url: str = ""
    hung: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)


@contextmanager
def serving(
    folder: Path, *, hangs_at: str = "", takes_no_token: bool = False, address: str = "127.0.0.1"
) -> Iterator[Hub]:
    """A hub that serves a folder on an address of this machine."""
    hub = Hub(folder, hangs_at, takes_no_token)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0]
            hub.asked.append(path)
            hub.tokens.add(self.headers["Authorization"])
            file = hub.folder / path.rpartition("/")[2]
            if hub.takes_no_token:
                self._refuse(401, "GatedRepo", "Access to this model is restricted.")
            elif path.startswith("/api/models/") and "/missing" not in path:
                self._send(json.dumps(_described(hub.folder, path)).encode(), body=body)
            elif "/resolve/" in path and file.is_file():
                hangs = bool(hub.hangs_at) and path.endswith(hub.hangs_at)
                self._send(file.read_bytes(), body=body, hangs=hangs)
            else:
                self._refuse(404, "RepoNotFound", "Repository not found")

        def _refuse(self, status: int, code: str, said: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", said)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, content: bytes, *, body: bool, hangs: bool = False) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.end_headers()
            if body and hangs:
                half = len(content) // 2
                self.wfile.write(content[:half])
                self.wfile.flush()
                hub.hung.set()
                hub.release.wait()
                self.wfile.write(content[half:])
            elif body:
                self.wfile.write(content)

    server = ThreadingHTTPServer((address, 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://{address}:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.release.set()
        server.shutdown()
        server.server_close()


def _described(folder: Path, path: str) -> Any:  # noqa: ANN401 - JSON
    files = sorted(file for file in folder.iterdir() if file.is_file())
    if "/tree/" in path:
        return [
            {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": file.name}
            for file in files
        ]
    model = "/".join(path.split("/")[3:5])
    return {
        "id": model,
        "modelId": model,
        "sha": COMMIT,
        "siblings": [{"rfilename": file.name} for file in files],
    }
