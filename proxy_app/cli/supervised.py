"""`up` and `down`: the gateway and the embedded engine under supervisord, in the background.

Everything lies in the state folder (SPEECH_STATE_DIR): supervisord's configuration, its pid and the
logs. A second `up` and `down` find the processes by supervisord's socket, which belongs to the user
alone, so that they touch nobody else's.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shlex
import socket
import subprocess
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import requests

from proxy_app.access.start import claim_links
from proxy_app.cli.errors import CommandError
from proxy_app.config import Config, make_folders
from proxy_app.services import Registry
from proxy_app.settings import SettingError
from proxy_app.supervision import ENGINE, supervisor

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
# A first start may fetch a model.
READY_WITHIN_S = 900
STOPPED_WITHIN_S = 60
# supervisord waits a second longer before each: 15 s of kills are survived, and as in
# images/control/supervisord.conf.
START_RETRIES = 5
GIVEN_UP = ("FATAL", "EXITED")
# An address of a Unix socket holds 107 bytes on Linux; supervisord makes it under a longer name.
SOCKET_PATH_BYTES = 90
SETTINGS = ("SPEECH_", "ENGINE_", "WHISPERX_", "PARAKEET_", "MAGPIE_", "LLM_", "SPARK2_", "HF_")


@dataclass(frozen=True, slots=True)
class Program:
    """One process that supervisord starts, and starts again when it ends."""

    name: str
    command: tuple[str, ...]
    host: str = ""
    port: int | None = None
    """Where it listens, if it does."""
    setting: str = ""


def embeds_engine(config: Config) -> bool:
    """Whether an engine belongs to it: not where a WhisperX server is named or registered.

    Raises:
        SettingError: naming the variable that holds an unusable host.
    """
    if config.whisperx_host:
        return False
    return Registry(config).read().first("speakers", "whisperx") is None


def programs(config: Config) -> list[Program]:
    """Gateway, dispatcher, watch process, audio jobs, and the embedded engine, if there is one."""
    python = str(VENV / "gateway/bin/python")
    gunicorn = (python, "-m", "gunicorn", "-c", "proxy_app/gunicorn.conf.py")
    web = (*gunicorn, "proxy_app.app:create_app()")
    found = [
        Program("web", web, config.host, config.port, "SPEECH_PORT"),
        Program("dispatch", (python, "-m", "proxy_app.jobs.dispatcher")),
        Program("watch", (python, "-m", "proxy_app.watch")),
        Program("audio", (python, "-m", "proxy_app.audio_jobs")),
    ]
    if embeds_engine(config):
        engine = (str(VENV / "engine/bin/python"), "-m", "images.whisperx.app")
        found.append(Program(ENGINE, engine, "127.0.0.1", config.whisperx_port, "WHISPERX_PORT"))
    return found


def up(config: Config, environ: Mapping[str, str]) -> None:
    """Start what is not running yet, wait until all of it is ready, and say where it is.

    Raises:
        CommandError: a port is taken, an `up` with other settings is running, or a process does
            not start; the message has the end of its log.
        SettingError: a setting that cannot work here.
    """
    make_folders(config)
    links = claim_links(config) if config.needs_password or config.names else []
    state = config.state_dir.resolve()
    if "%" in f"{state}{ROOT}":  # supervisord expands them in some paths once, in others twice
        raise CommandError(f"a path with a percent sign cannot be used: {state}, {ROOT}")
    children = child_environment(config, environ)
    wanted = configuration(config, environ)
    file = state / "supervisord.conf"
    with alone(state):
        if is_running(state):
            if file.read_text(encoding="utf-8") != wanted:
                raise CommandError("already running with other settings: `make down` first")
            start_again(state)
        else:
            for program in programs(config):
                refuse_taken_port(program)
            file.write_text(wanted, encoding="utf-8")
            start(file, children)
        wait_until_ready(config, state)
    print(f"Ready: {config.url}")
    if links:
        print(f"Set its password: {' or '.join(links)}")


def down(state: Path) -> None:
    """Stop what `up` started with this state folder, and only that."""
    state = state.resolve()
    if not is_running(state):
        print("Nothing is running.")
        return
    process = supervisor_process(state)
    # Another `down` may be quicker.
    with contextlib.suppress(xmlrpc.client.Fault, OSError), supervisor(socket_path(state)) as rpc:
        rpc.supervisor.shutdown()
    wait_until_ended(process)
    print("Stopped.")


@contextlib.contextmanager
def alone(state: Path) -> Iterator[None]:
    """Let a second `up` wait for the first: it then finds everything running."""
    with (state / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


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
    tether = (str(VENV / "gateway/bin/python"), str(ROOT / "proxy_app/cli/tethered.py"))
    for program in programs(config):
        sections += [
            f"[program:{program.name}]",
            f"command={shlex.join((*tether, *program.command))}",
            "startsecs=3",
            f"startretries={START_RETRIES}",
            "stopwaitsecs=40",
            "stopasgroup=true",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={state}/{program.name}.log",
            "stdout_logfile_maxbytes=10MB",
            "stdout_logfile_backups=2",
        ]
    return "\n".join(sections) + "\n"


def socket_path(state: Path) -> Path:
    """Where supervisord listens: the state folder, unless its path is too long for a socket."""
    path = state / "supervisor.sock"
    if len(bytes(path)) <= SOCKET_PATH_BYTES:
        return path
    name = hashlib.sha256(bytes(state)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"spark-speech-{name}.sock"


def child_environment(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    """What the processes are started with.

    Raises:
        SettingError: the engine is told by its own settings where to listen, which the gateway
            would not know of.
    """
    children = dict(environ)
    # A compiled copy of torch's modules halves the engine's next start.
    children.pop("PYTHONDONTWRITEBYTECODE", None)
    children["PYTHONUNBUFFERED"] = "1"
    if not is_set("SPEECH_VOICE", environ):
        children["SPEECH_VOICE"] = "true"
    if not embeds_engine(config):
        return children
    for name in ("ENGINE_HOST", "ENGINE_PORT"):
        if is_set(name, environ):
            raise SettingError(
                f"{name} is for an engine that is started by itself: the embedded one listens on"
                " 127.0.0.1 and WHISPERX_PORT"
            )
    port = str(config.whisperx_port)
    replace(children, WHISPERX_HOST="127.0.0.1", WHISPERX_PORT=port, WHISPERX_CONTAINER="")
    replace(children, ENGINE_HOST="127.0.0.1", ENGINE_PORT=port)
    replace(children, SPEECH_ENGINE_SUPERVISOR=str(socket_path(config.state_dir.resolve())))
    if is_set("WHISPERX_MODEL", environ) and not is_set("ENGINE_MODEL", environ):
        children["ENGINE_MODEL"] = config.whisperx_model
    if is_set("ENGINE_API_KEY", environ) and not is_set("WHISPERX_API_KEY", environ):
        for suffix in ("", "_FILE"):
            if f"ENGINE_API_KEY{suffix}" in environ:
                children[f"WHISPERX_API_KEY{suffix}"] = environ[f"ENGINE_API_KEY{suffix}"]
    if not is_set("ENGINE_SPOOL_DIR", environ):
        children["ENGINE_SPOOL_DIR"] = str(config.state_dir.resolve() / "engine-spool")
    return children


def is_set(name: str, environ: Mapping[str, str]) -> bool:
    """Whether a setting is given, by value or by file."""
    return name in environ or f"{name}_FILE" in environ


def replace(environ: dict[str, str], **values: str) -> None:
    """Set variables, and unset the files that would speak against them."""
    for name, value in values.items():
        environ[name] = value
        environ.pop(f"{name}_FILE", None)


def refuse_taken_port(program: Program) -> None:
    """Raise where something else listens on a program's port."""
    if program.port is None:
        return
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
    python = str(VENV / "gateway/bin/python")
    command = [python, "-m", "supervisor.supervisord", "--configuration", str(file)]
    done = subprocess.run(
        command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise CommandError(f"supervisord did not start: {done.stderr.strip()}")


def start_again(state: Path) -> None:
    """Start what was stopped on the page, and what supervisord has given up."""
    with supervisor(socket_path(state)) as rpc:
        for info in rpc.supervisor.getAllProcessInfo():
            if info["statename"] in ("STOPPED", *GIVEN_UP):
                # Where it does not start this time either, raise_if_ended tells.
                with contextlib.suppress(xmlrpc.client.Fault):
                    rpc.supervisor.startProcess(info["name"], False)


def is_running(state: Path) -> bool:
    """Whether our supervisord answers; one that is told to stop is waited for."""
    process = supervisor_process(state)
    try:
        with supervisor(socket_path(state)) as rpc:
            rpc.supervisor.getPID()
    except OSError:
        return False
    except xmlrpc.client.Fault:  # SHUTDOWN_STATE
        wait_until_ended(process)
        return False
    return True


def supervisor_process(state: Path) -> Path | None:
    """The folder in /proc of the supervisord that noted its pid here."""
    try:
        return Path("/proc", (state / "supervisord.pid").read_text(encoding="ascii").strip())
    except OSError:
        return None


def wait_until_ended(process: Path | None) -> None:
    """Wait for a supervisord that was told to stop."""
    deadline = time.monotonic() + STOPPED_WITHIN_S
    while process and process.exists():
        if time.monotonic() > deadline:
            raise CommandError(f"supervisord (pid {process.name}) did not stop: kill it by hand")
        time.sleep(0.1)


def wait_until_ready(config: Config, state: Path) -> None:
    """Wait for /readyz, telling what it waits for; raise when a process keeps ending."""
    deadline = time.monotonic() + READY_WITHIN_S
    told = {""}
    while reason := why_not_ready(config):
        raise_if_ended(state)
        if time.monotonic() > deadline:
            raise CommandError(f"not ready after {READY_WITHIN_S} s: {reason}")
        if reason not in told:
            print(f"Waiting: {reason}", flush=True)
            told.add(reason)
        time.sleep(0.2)


def why_not_ready(config: Config) -> str:
    """What /readyz says is missing; empty when all is ready."""
    try:
        answer = requests.get(f"{config.url}/readyz", timeout=10, verify=False)  # noqa: S501 - as in demo
    except requests.RequestException:
        return "the gateway starts"
    return "" if answer.ok else answer.text.strip()


def raise_if_ended(state: Path) -> None:
    """Raise when supervisord has given a process up, with the end of its log."""
    try:
        with supervisor(socket_path(state)) as rpc:
            infos = rpc.supervisor.getAllProcessInfo()
    except (OSError, xmlrpc.client.Fault):
        raise CommandError("stopped meanwhile, by `make down` or by a signal") from None
    for info in infos:
        if info["statename"] in GIVEN_UP:
            log = Path(info["stdout_logfile"])
            text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
            tail = "\n".join(f"  {line}" for line in text.splitlines()[-15:] or [info["spawnerr"]])
            raise CommandError(
                f"the {info['name']} does not stay up; the end of {log}:\n{tail}\n"
                "`make down` stops the rest."
            )
