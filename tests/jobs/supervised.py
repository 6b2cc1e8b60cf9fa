"""A stand-in for the engine under a real supervisord, as `up` runs the engine."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.jobs.house import ROOT, eventually
from tests.jobs.web import free_port

_CONFIGURATION = """\
[supervisord]
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
nodaemon=true
[unix_http_server]
file={socket}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[program:engine]
command={python} {engine} {port} {folder}
startsecs=1
startretries=0
stopwaitsecs=1
stdout_logfile={folder}/engine.log
redirect_stderr=true
"""


@contextlib.contextmanager
def supervised(folder: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """supervisord's socket, and the settings by which a gateway knows the engine as embedded."""
    with tempfile.TemporaryDirectory() as short:  # for the socket, whose path is limited
        socket, port = Path(short, "sock"), free_port()
        values = {
            "folder": folder, "socket": socket, "python": sys.executable, "port": port,
            "engine": ROOT / "tests/standins/engine_process.py",
        }  # fmt: skip
        file = folder / "supervisord.conf"
        file.write_text(_CONFIGURATION.format(**values))
        command = [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(file)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert eventually(socket.exists)
            yield (
                socket,
                {
                    "WHISPERX_HOST": "127.0.0.1",
                    "WHISPERX_PORT": str(port),
                    "SPEECH_ENGINE_SUPERVISOR": str(socket),
                },
            )
        finally:
            process.terminate()
            process.wait(20)
