"""What is measured side by side: the gateway, and peers before the same stand-in for services."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from proxy_app.config import load_config
from tests.api.conftest import eventually, free_port, running

ROOT = Path(__file__).resolve().parents[2]
NODE = Path(__file__).with_name("node")
_START_S = 90


class MissingError(Exception):
    """A peer is not here; the message says what it wants."""


@dataclass
class Target:
    """One thing to be measured."""

    name: str
    port: int
    pids: Callable[[], list[int]]
    headers: dict[str, str] = field(default_factory=dict)
    """Of every request."""

    def cpu_s(self) -> float:
        """Seconds of a processor that it has used."""
        ticks = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):  # it has ended
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def resident(self) -> int:
        """Bytes of memory that it has in use."""
        pages = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def standin(work: Path, stack: contextlib.ExitStack) -> Target:
    """What all of them ask."""
    port = free_port()
    command = [sys.executable, "-m", "tests.standins.upstream_light", str(port)]
    return _started("direct", command, port, work, stack)


def gateway(work: Path, upstream: int, stack: contextlib.ExitStack) -> Target:
    """As shipped, but for the length of a recording: 1 GB are hours."""
    folder = work / "gateway"
    folder.mkdir()
    llm = {"LLM_HOST": "127.0.0.1", "LLM_PORT": str(upstream)}
    started = stack.enter_context(running(folder, upstream, SPEECH_MAX_AUDIO_S="100000", **llm))
    return Target("gateway", started.port, lambda: [started.process.pid, *started.workers()])


def flask(work: Path, upstream: int, stack: contextlib.ExitStack) -> Target:
    """A relay of thirty lines, by the gateway's server and with as many workers."""
    port = free_port()
    workers = str(load_config({}).workers)
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-w", workers]
    command += ["-t", "600", "-b", f"127.0.0.1:{port}", "tests.bench.relay:app"]
    environ = {"PATH": os.environ["PATH"], "RELAY_TO": f"http://127.0.0.1:{upstream}"}
    return _started("bare Flask relay", command, port, work, stack, environ=environ)


def nginx(work: Path, upstream: int, stack: contextlib.ExitStack) -> Target:
    """Debian's nginx with request buffering, as it is by default."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise MissingError("not installed (Debian: apt install nginx)")
    port = free_port()
    folder = work / "nginx"
    folder.mkdir()
    folder.chmod(0o777)
    work.chmod(0o755)
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(f"""
        daemon off; pid {folder}/pid; error_log {folder}/error.log;
        events {{}}
        http {{
          access_log off; client_max_body_size 2g; {temporary}
          upstream engine {{ server 127.0.0.1:{upstream}; keepalive 16; }}
          server {{
            listen 127.0.0.1:{port};
            location / {{
              proxy_pass http://engine; proxy_http_version 1.1; proxy_buffering off;
              proxy_set_header Connection "";
            }}
          }}
        }}
    """)
    return _started("nginx", [program, "-c", str(configuration)], port, work, stack)


def litellm(
    work: Path, upstream: int, stack: contextlib.ExitStack, *, workers: int | None = None
) -> Target:
    """LiteLLM's proxy with the stand-in as an OpenAI server; its default is one worker."""
    name = f"litellm, {workers} workers" if workers else "litellm"
    program = Path(os.environ.get("BENCH_LITELLM", ROOT / ".venv/litellm/bin/litellm"))
    if not program.exists():
        raise MissingError(f"not installed: {program} (`make bench` makes it)")
    port = free_port()
    folder = work / name
    folder.mkdir()
    key = f"sk-{secrets.token_hex(16)}"
    behind = {"api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "none"}
    models = [
        {"model_name": model, "litellm_params": {"model": f"openai/{model}", **behind},
         "model_info": {"mode": mode}}
        for model, mode in (("whisper-1", "audio_transcription"), ("gpt-4o", "chat"))
    ]  # fmt: skip
    configuration = folder / "config.yaml"
    configuration.write_text(
        json.dumps({"model_list": models, "general_settings": {"master_key": key}})
    )
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
    }
    command = [str(program), "--config", str(configuration)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    if workers:
        command += ["--num_workers", str(workers)]
    target = _started(name, command, port, work, stack, environ=environ)
    target.headers = {"Authorization": f"Bearer {key}"}
    return target


def portkey(work: Path, upstream: int, stack: contextlib.ExitStack) -> Target:
    """Portkey's gateway with the stand-in as an OpenAI server."""
    if not (shutil.which("node") and shutil.which("npm")):
        raise MissingError("no node and npm (Debian: apt install nodejs npm)")
    folder = work / "portkey"
    shutil.copytree(NODE, folder, ignore=shutil.ignore_patterns("node_modules"))
    install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(f"npm ci failed: {(done.stderr.splitlines() or ['?'])[-1]}")
    port = free_port()
    program = folder / "node_modules/@portkey-ai/gateway/build/start-server.js"
    command = ["node", str(program), "--headless", f"--port={port}"]
    target = _started("portkey", command, port, work, stack)
    target.headers = {
        "Authorization": "Bearer none",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1",
    }
    return target


PEERS: dict[str, Callable[[Path, int, contextlib.ExitStack], Target]] = {
    "gateway": gateway,
    "bare Flask relay": flask,
    "nginx": nginx,
    "litellm": litellm,
    "litellm, as many workers": partial(litellm, workers=load_config({}).workers),
    "portkey": portkey,
}


def _started(
    name: str,
    command: list[str],
    port: int,
    work: Path,
    stack: contextlib.ExitStack,
    *,
    environ: dict[str, str] | None = None,
) -> Target:
    log = work / f"{name}.log"
    started = stack.enter_context(_process(command, port, log, environ))
    return Target(name, port, lambda: [started.pid, *_children(started.pid)])


@contextlib.contextmanager
def _process(
    command: list[str], port: int, log: Path, environ: dict[str, str] | None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server, wait until its port answers, stop it afterwards."""
    with log.open("wb") as output:
        started = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        assert eventually(lambda: _listens(port), within_s=_START_S), log.read_text()[-2000:]
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def _listens(port: int) -> bool:
    """Whether it answers, whatever it answers."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=5) as asked,
    ):
        asked.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return bool(asked.recv(1))
    return False


def _children(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return [*found, *(grandchild for child in found for grandchild in _children(child))]
