"""The gateway as people run it, gunicorn and all, in front of a stand-in for the speech engine."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml

from proxy_app.services import Places, Reports
from tests.api.recordings import canonical_wav
from tests.data import test_data
from tests.standins.listener import Listener
from tests.standins.upstream_whisperx import StandIn

if TYPE_CHECKING:
    from tests.api.audio_house import Installation
    from tests.api.routed import Routed
    from tests.api.speaking import Speaking

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Gateway:
    """A running gateway."""

    process: subprocess.Popen[bytes]
    port: int
    state: Path
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def reports(self) -> Reports:
        """What the gateway's workers write down of services, and what a watch process would."""
        return Reports(self.state / "reports")

    @property
    def places(self) -> Places:
        """The places that its workers hold."""
        return Places(self.state / "places")

    def connect(self) -> socket.socket:
        """A bare connection, for what HTTP clients do not do."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def transcribe(
        self, file: bytes | None = None, path: str = "/v1/audio/transcriptions", /, **fields: str
    ) -> requests.Response:
        """Upload one recording; five seconds of a tone if none is given."""
        return self._post(file, path, fields, stream=False)

    def follow(
        self, path: str = "/v1/audio/transcriptions", file: bytes | None = None, /, **fields: str
    ) -> requests.Response:
        """The same as a stream, whose answer is not read yet: to be closed."""
        return self._post(file, path, fields | {"stream": "true"}, stream=True)

    def _post(
        self, file: bytes | None, path: str, fields: dict[str, str], *, stream: bool
    ) -> requests.Response:
        data = canonical_wav(5) if file is None else file
        files = {"file": ("upload.wav", data, "application/octet-stream")}
        return requests.post(self.url + path, data=fields, files=files, timeout=20, stream=stream)

    def get(self, path: str, **headers: str) -> requests.Response:
        return requests.get(self.url + path, headers=headers, timeout=20, allow_redirects=False)

    def files(self) -> list[Path]:
        """What lies in the spool folder, the workers' own empty folders left out."""
        return list((self.state / "spool").glob("*/*"))

    def workers(self) -> list[int]:
        """The process numbers of gunicorn's workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


def eventually(condition: Callable[[], object], within_s: float = 10.0) -> bool:
    """Whether the condition becomes true; the limit only ends a test that has failed."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(state: Path, port: int, **settings: str) -> dict[str, str]:
    """The settings of a gateway, and nothing of this machine's."""
    return {
        "PATH": os.environ["PATH"],
        "SPEECH_STATE_DIR": str(state),
        "SPEECH_SERVICES_DIR": str(state / "services.d"),
        "SPEECH_PORT": str(port),
        **settings,
    }


GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "proxy_app/gunicorn.conf.py"]
APP = "proxy_app.app:create_app()"
COMMAND = [*GUNICORN, APP]


@contextlib.contextmanager
def running(state: Path, upstream: int, *, app: str = APP, **settings: str) -> Iterator[Gateway]:
    """Start a gateway, wait until it answers, and stop it afterwards."""
    port = free_port()
    log = state / "gateway.log"
    named = {
        "WHISPERX_HOST": "127.0.0.1",
        "WHISPERX_PORT": str(upstream),
        "SPEECH_LINGER_S": "0",  # what one test leaves ends at once, before the next one
    } | settings
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*GUNICORN, app],
            cwd=REPOSITORY,
            env=environment(state, port, **named),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    gateway = Gateway(process, port, state, log)
    try:
        assert eventually(lambda: is_alive(gateway), within_s=120), log.read_text()
        yield gateway
    finally:
        process.send_signal(signal.SIGQUIT)  # at once: no client is served any more
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def taken(gateway: Gateway, name: str, count: int) -> Iterator[None]:
    """Hold all places of that name, as requests in other workers do."""
    places = Places(gateway.state / "places")
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(places.hold(name, count, 5))
        yield


def is_alive(gateway: Gateway) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{gateway.url}/livez", timeout=5).ok
    return False


@pytest.fixture(scope="session")
def engine() -> Iterator[StandIn]:
    with StandIn() as standin:
        yield standin


@pytest.fixture
def standin(engine: StandIn) -> Iterator[StandIn]:
    """The stand-in, well-behaved at first."""
    engine.reset()
    yield engine
    engine.release.set()


@pytest.fixture(scope="session")
def session_gateway(engine: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    state = tmp_path_factory.mktemp("gateway")
    limits = {
        "SPEECH_MAX_UPLOAD_BYTES": str(4 * 1024 * 1024),
        "SPEECH_MAX_AUDIO_S": "60",
        "SPEECH_PLACES": "1",
        "SPEECH_QUEUE_DEADLINE_S": "0.4",
    }
    with running(state, engine.port, **limits) as gateway:
        yield gateway


@pytest.fixture
def gateway(session_gateway: Gateway, standin: StandIn) -> Iterator[Gateway]:
    """A gateway of two workers, one place and small limits; every test leaves its spool empty."""
    for recording in (session_gateway.state / "suspects").iterdir():
        recording.unlink()  # that of another test, which is the same
    yield session_gateway
    standin.release.set()
    left = session_gateway.files
    assert eventually(lambda: not left()), left()


@pytest.fixture(scope="session")
def strict_gateway(engine: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One worker that gives services and silent or slow senders a second, and takes 40 uploads."""
    state = tmp_path_factory.mktemp("strict")
    limits = {
        "SPEECH_WORKERS": "1",
        "SPEECH_QUEUE_DEADLINE_S": "0.4",
        "SPEECH_TIME_LIMIT_FLOOR_S": "1",
        "SPEECH_TIME_LIMIT_FACTOR": "0",
        "SPEECH_BODY_TIMEOUT_S": "1",
        "SPEECH_BODY_BYTES_PER_S": "1000000",
        "SPEECH_MAX_UPLOADS": "40",
    }
    with running(state, engine.port, **limits) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def session_routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Routed"]:
    from tests.api.routed import three_behind  # noqa: PLC0415 - it needs this file

    with three_behind(tmp_path_factory.mktemp("routed")) as routed:
        yield routed


@pytest.fixture
def routed(session_routed: "Routed") -> Iterator["Routed"]:
    """A gateway before WhisperX, Parakeet and Sortformer; every test leaves the spool empty."""
    session_routed.reset()
    yield session_routed
    for standin in session_routed.standins.values():
        standin.release.set()
    left = session_routed.gateway.files
    assert eventually(lambda: not left()), left()


@pytest.fixture(scope="session")
def session_listener() -> Iterator[Listener]:
    with Listener() as found:
        yield found


@pytest.fixture
def listener(session_listener: Listener) -> Listener:
    """Who is told of the ends of audio jobs, and has heard of none."""
    session_listener.heard.clear()
    session_listener.statuses.clear()
    return session_listener


@pytest.fixture(scope="session")
def session_house(
    engine: StandIn, session_listener: Listener, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Installation"]:
    from tests.api.audio_house import installed  # noqa: PLC0415 - it needs this file

    state = tmp_path_factory.mktemp("audio-jobs")
    with installed(state, engine.port, **session_listener.settings) as house:
        yield house


@pytest.fixture
def house(
    session_house: "Installation", standin: StandIn, listener: Listener
) -> Iterator["Installation"]:
    """At first no process works on the jobs; every test takes its own away."""
    yield session_house
    standin.release.set()
    standin.steps.release(1000)
    for job in session_house.get().json()["data"]:
        assert session_house.delete(job["id"]) == 204
    if session_house.folders() and session_house.process is None:
        session_house.start()
    assert eventually(lambda: not session_house.folders(), 30)
    assert eventually(lambda: not session_house.gateway.files())
    session_house.end()


@pytest.fixture(scope="session")
def session_speaking(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Speaking"]:
    from tests.api.speaking import voices_behind  # noqa: PLC0415 - it needs this file

    with voices_behind(tmp_path_factory.mktemp("speaking")) as speaking:
        yield speaking


@pytest.fixture
def speaking(session_speaking: "Speaking") -> Iterator["Speaking"]:
    """A gateway before Magpie, Kokoro and eSpeak NG; every test leaves it tidy."""
    from tests.api.speaking import tidy  # noqa: PLC0415 - as above

    with tidy(session_speaking):
        yield session_speaking


@pytest.fixture(scope="session")
def schema() -> dict[str, Any]:
    """OpenAI's own document of its API."""
    document: dict[str, Any] = yaml.safe_load(test_data("openai-audio-openapi.yaml").read_text())
    return document
