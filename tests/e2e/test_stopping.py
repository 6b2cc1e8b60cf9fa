"""What ends, by hand or by accident. The last file by name: it leaves nothing running."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from tests.e2e.conftest import Installation

PATIENCE_S = 120


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).ok
    except requests.ConnectionError:
        return False


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def engine_pid(installation: Installation) -> int:
    for pid in installation.pids():
        if b"images.whisperx.app" in command_line(pid):
            return pid
    return 0


def test_the_engine_is_restarted_by_a_job(installation: Installation) -> None:
    before = engine_pid(installation)
    answer = requests.post(f"{installation.url}/api/services/whisperx/restart", timeout=30)
    assert answer.status_code == 202, answer.text
    job = installation.url + answer.json()["url"]
    wait_for(lambda: requests.get(job, timeout=30).json()["over"])
    ended = requests.get(job, timeout=30).json()
    assert (ended["state"], ended["phase"]) == ("succeeded", "Verify"), ended
    assert engine_pid(installation) not in (0, before)
    assert requests.get(f"{installation.url}/readyz", timeout=10).ok


def test_an_engine_that_is_killed_comes_back(installation: Installation) -> None:
    health = f"http://127.0.0.1:{installation.environ['WHISPERX_PORT']}/health"
    killed = engine_pid(installation)
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: engine_pid(installation) not in (0, killed))
    wait_for(lambda: answers(health))
    wait_for(lambda: requests.get(f"{installation.url}/readyz", timeout=10).ok)


def test_down_stops_exactly_what_up_started(installation: Installation) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert len(installation.pids()) >= 3
        done = installation.make("down", SPEECH_PORT="a wrong setting must not keep it running")
        assert done.returncode == 0, done.stderr
        assert done.stdout == "Stopped.\n"
        assert not installation.pids()
        assert bystander.poll() is None
    finally:
        bystander.communicate(b"\n")
    again = installation.make("down")
    assert again.stdout == "Nothing is running.\n"


def test_two_ups_at_once_start_one_installation_which_ends_with_its_supervisor(
    installation: Installation,
) -> None:
    with ThreadPoolExecutor(2) as pool:
        key = {"ENGINE_API_KEY": "a key for both"}
        both = list(pool.map(lambda _: installation.make("up", **key), range(2)))
    assert [one.returncode for one in both] == [0, 0], [one.stderr for one in both]
    assert installation.make("demo", **key).returncode == 0
    supervisors = [pid for pid in installation.pids() if b"supervisord" in command_line(pid)]
    assert len(supervisors) == 1
    os.kill(supervisors[0], signal.SIGKILL)
    wait_for(lambda: not installation.pids())


def test_down_twice_at_once_and_up_behind_them_end_in_order(elsewhere: Installation) -> None:
    # A service elsewhere: only the gateway is started, and it need not be ready to be stopped.
    settings = {"WHISPERX_HOST": "127.0.0.1"}
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(elsewhere.make, "up", **settings)
        wait_for(lambda: answers(f"{elsewhere.url}/livez"))
        downs = [pool.submit(elsewhere.make, "down", **settings) for _ in range(2)]
        done = [one.result() for one in downs]
    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    assert first.result().returncode != 0
    assert "stopped meanwhile" in first.result().stderr
    assert not elsewhere.pids()
