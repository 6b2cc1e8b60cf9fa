"""A Parakeet with the patch, as a real process: ours and strangers' look alike to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parents[2]
PATCH = ROOT / "images/sortformer"
STANDINS = ROOT / "tests/standins"
WITHIN_S = 120
"""On a machine that is busy with other tests."""


def with_hook(main: str, settings: dict[str, object] | None = None) -> str:
    """The patched main.py: the block is before the part that runs the server, or at the end."""
    hook = (PATCH / "hook.py.txt").read_text()
    assert hook.count("settings = {}") == 1
    hook = hook.replace("settings = {}", f"settings = {json.dumps(settings or {})}")
    before, guard, after = main.partition('if __name__ == "__main__":')
    return f"{before}\n\n{hook}\n\n{guard}{after}"


class Parakeet:
    """One patched server.

    Args:
        folder: an empty folder; the app, the diarizer's folder and the log come to lie in it.
        model: what SORTFORMER_MODEL says; None writes a stand-in model without faults.
        python: the interpreter; it has FastAPI, uvicorn and python-multipart.
        as_script: start it with `python main.py` and not with `uvicorn main:app`.
        real: use NeMo and not its stand-in.
        changed: files of the patch, by name, that hold something else; None: it is not there.
        hook: settings that the patch writes into the hook.
        more: further environment.
    """

    def __init__(
        self,
        folder: Path,
        *,
        model: Path | None = None,
        python: Path = ROOT / ".venv/engine/bin/python",
        as_script: bool = False,
        real: bool = False,
        changed: Mapping[str, bytes | None] | None = None,
        hook: dict[str, object] | None = None,
        more: dict[str, str] | None = None,
    ) -> None:
        self.app = folder / "app"
        self.app.mkdir(parents=True)
        main = (STANDINS / "parakeet_main.py").read_text()
        (self.app / "main.py").write_text(with_hook(main, hook))
        files = {path.name: path.read_bytes() for path in PATCH.glob("*.py")}
        for name, content in (files | dict(changed or {})).items():
            if content is not None:
                (self.app / name).write_bytes(content)
        self.folder = folder / "diarizer"
        self.log = folder / "log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        environment |= {
            "PORT": str(self.port),
            "SORTFORMER_DIR": str(self.folder),
            "SORTFORMER_MODEL": str(model or standin_model(folder)),
        }
        if not real:
            environment["PYTHONPATH"] = str(STANDINS / "sortformer_nemo")
        uvicorn = ["-m", "uvicorn", "main:app", "--host", "127.0.0.1", "--port", str(self.port)]
        command = [str(python), *(["main.py"] if as_script else uvicorn)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=self.app, env=environment | (more or {}), stdout=log, stderr=log
            )

    def __enter__(self) -> Parakeet:
        """Wait until the server answers; not for the model."""
        wait_for(self._answers, self.log)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return requests.get(f"{self.url}/anything", timeout=10).status_code in (200, 401)
        except requests.ConnectionError:
            return False

    def health(self) -> dict[str, Any]:
        """What the diarizer's health says; `http` is the status."""
        answer = requests.get(f"{self.url}/v1/audio/diarize/health", timeout=30)
        return {"http": answer.status_code, **answer.json()}

    def wait_until(self, status: str) -> dict[str, Any]:
        """Wait for a state of the diarizer."""
        wait_for(lambda: self.health()["status"] == status, self.log)
        return self.health()

    def post(self, content: bytes, name: str = "audio.wav", key: str = "") -> requests.Response:
        """Upload a recording; the key is the whole Authorization header."""
        url = f"{self.url}/v1/audio/diarize"
        headers = {"Authorization": key} if key else {}
        files = {"file": (name, content)}
        return requests.post(url, files=files, headers=headers, timeout=300)

    def uploading(self, content: bytes) -> socket.socket:
        """A client that has sent its recording and waits for the answer, until it is closed."""
        request = requests.Request("POST", f"{self.url}/v1/audio/diarize", files={"file": content})
        prepared = request.prepare()
        assert isinstance(prepared.body, bytes)
        head = "".join(f"{name}: {value}\r\n" for name, value in prepared.headers.items())
        client = socket.create_connection(("127.0.0.1", self.port))
        client.sendall(f"POST {prepared.path_url} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
        client.sendall(prepared.body)
        return client

    def transcribes(self) -> bool:
        """Whether Parakeet's own work goes on."""
        url = f"{self.url}/v1/audio/transcriptions"
        answer = requests.post(url, files={"file": b"four"}, timeout=30)
        return bool(answer.json() == {"text": "4 bytes"})

    def left_files(self) -> list[str]:
        """What lies in the diarizer's folder."""
        return sorted(path.name for path in self.folder.iterdir())


def standin_model(folder: Path, **said: object) -> Path:
    """A .nemo file for the stand-in; see tests/standins/sortformer_nemo."""
    path = folder / "standin.nemo"
    path.write_text(json.dumps(said))
    return path


def wait_for(condition: Callable[[], bool], log: Path | None = None) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, log.read_text() if log else condition
        time.sleep(0.05)


def lives(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet collected does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def kill(pid: int) -> None:
    """End a process that has no say in it."""
    assert pid > 1, "no process of ours"
    assert sys.platform == "linux"
    os.kill(pid, signal.SIGKILL)
