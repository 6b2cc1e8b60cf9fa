"""Processes that patch the standard library with gevent do so before anything else imports it."""

import subprocess
import sys

import pytest

_TO_HTTPS = """
import runpy, socket
runpy.run_module("%s", run_name="entry")
from proxy_app.upstreams.http import _pool
with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
    try:
        _pool(f"https://127.0.0.1:{port}").urlopen("GET", "/", retries=False, timeout=0.2)
    except Exception as error:
        print(type(error).__name__)
"""


@pytest.mark.parametrize("process", ["proxy_app.audio_jobs", "proxy_app.watch"])
def test_a_process_can_ask_services_by_https(process: str) -> None:
    asked = subprocess.run(
        [sys.executable, "-c", _TO_HTTPS % process], capture_output=True, text=True, check=True
    )
    assert "Monkey-patching" not in asked.stderr
    assert asked.stdout == "ReadTimeoutError\n"
