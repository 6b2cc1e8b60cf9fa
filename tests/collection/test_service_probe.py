"""A probe of services that are ready, slow, wrong, gone or hostile, and of the container behind."""

import contextlib
import http.server
import json
import socket
import socketserver
import ssl
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.spark.speech.plugins.modules import service_probe

from tests.collection.conftest import RunDocker, RunModule

Probe = Callable[..., dict[str, Any]]
KEY = "sk-Kq9vX2mPz7LrT4w"
LOADED = {"whisper_loaded": True, "diarizer_loaded": True}


class Service(http.server.BaseHTTPRequestHandler):
    """Answers by path, and keeps what it was asked."""

    asked: list[tuple[str, str]]

    def do_GET(self) -> None:
        key = self.headers.get("Authorization", "")
        self.asked.append((self.path, key))
        status, body = {
            "/health": (200, json.dumps(LOADED).encode()),
            "/loading": (200, json.dumps({**LOADED, "diarizer_loaded": False}).encode()),
            "/deep": (200, b'{"models": {"asr": {"loaded": true}}, "count": 1, "at": "a/b"}'),
            "/text": (200, b"ok"),
            "/empty": (204, b""),
            "/list": (200, b"[1]"),
            "/nested": (200, b"[" * 30_000),
            "/echo": (200, json.dumps({"you_sent": key, key: ["x", key]}).encode()),
            "/long": (200, b'"' + b"x" * 70_000 + b'"'),
            "/moved": (302, b""),
            "/key": (401, b"{}"),
            "/error": (500, b'{"error": "boom"}'),
            "/busy": (503, b"{}"),
            "/failed": (503, b'{"status": "failed", "detail": "no such model"}'),
            "/third": (200, b"{}") if len(self.asked) > 2 else (503, b"{}"),
        }[self.path.partition("?")[0]]
        self.send_response(status)
        self.send_header("Location", "/health")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1]  # type: ignore[index, misc]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def service() -> Iterator[str]:
    Service.asked = []
    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    return path


@pytest.fixture
def probe(run_module: RunModule) -> Probe:
    return lambda **options: run_module("service_probe", **options)


class NoDocker:
    """The only thing that is asked of it here is nothing."""


def ask(url: str, expect: dict[str, Any] | None = None, **options: object) -> dict[str, Any]:
    """The module's work without its process, for tables of cases without a container."""
    given: dict[str, Any] = {
        "container": None,
        "https": False,
        "validate_certs": True,
        "api_key_file": None,
    }
    given |= {
        "gives_up": {},
        "timeout_s": 10,
        "wait_s": 0,
        "log_lines": 40,
        "url": url,
        "expect": expect or {},
    }
    given |= options
    return service_probe.probe(NoDocker(), given)  # type: ignore[arg-type]


def test_a_service_that_answers_as_expected_is_ready(service: str, probe: Probe) -> None:
    answer = probe(url=f"{service}/health", expect=LOADED)
    assert answer["ready"]
    assert (answer["over"], answer["changed"], answer["status"]) == (False, False, 200)
    assert answer["body"] == LOADED
    assert answer["said"] == f"{service}/health is ready."
    assert answer["log"] == ""


def test_check_mode_asks_as_well(service: str, probe: Probe) -> None:
    assert probe(url=f"{service}/health", expect=LOADED, check=True)["ready"]


def test_within_its_time_it_asks_again_until_the_service_is_ready(service: str) -> None:
    answer = ask(f"{service}/third", wait_s=60)
    assert answer["ready"]
    assert len(Service.asked) == 3
    assert not ask(f"{service}/busy", wait_s=1)["ready"]


def test_one_that_has_given_up_is_not_waited_for_and_its_reason_is_told(service: str) -> None:
    answer = ask(f"{service}/failed", wait_s=60, gives_up={"status": "failed"})
    assert (answer["ready"], answer["over"]) == (False, True)
    assert "it answers HTTP 503 (no such model)" in answer["said"]
    assert len(Service.asked) == 1
    assert not ask(f"{service}/failed", gives_up={"status": "lost"})["over"]
    assert not ask(f"{service}/health", LOADED, gives_up=LOADED)["over"]


def test_a_service_that_still_loads_is_not_ready_and_says_what_is_missing(
    service: str, probe: Probe
) -> None:
    answer = probe(url=f"{service}/loading", expect=LOADED)
    assert not answer["ready"]
    assert not answer["over"]
    assert not answer.get("failed")
    assert "diarizer_loaded is false, not yet true" in answer["said"]
    assert "whisper_loaded" not in answer["said"]


@pytest.mark.parametrize(
    ("path", "expect", "ready", "said"),
    [
        ("/text", {}, True, "is ready"),
        ("/empty", {}, True, "is ready"),
        ("/list", {}, True, "is ready"),
        ("/nested", {}, True, "is ready"),
        ("/deep?a=b", {"models/asr/loaded": True, "/count": 1}, True, "is ready"),
        ("/deep", {"models/asr/loaded": False}, False, "models/asr/loaded is true, not yet false"),
        ("/deep", {"models/tts/loaded": True}, False, "models/tts/loaded is null"),
        ("/deep", {"count/x": 1}, False, "count/x is null"),
        ("/deep", {"count": True}, False, "count is 1, not yet true"),
        ("/deep", {"count": "1"}, False, 'count is 1, not yet "1"'),
        ("/text", {"a": 1}, False, "no JSON object"),
        ("/list", {"a": 1}, False, "no JSON object"),
        ("/nested", {"a": 1}, False, "no JSON object"),
        ("/moved", {}, False, "redirects (HTTP 302), which is not followed"),
        ("/key", {}, False, "refuses the key (HTTP 401)"),
        ("/error", {}, False, "answers HTTP 500"),
        ("/busy", {}, False, "answers HTTP 503"),
        ("/long", {}, False, "longer than 64 kB"),
    ],
)
def test_what_counts_as_ready(
    service: str, path: str, expect: dict[str, Any], ready: bool, said: str
) -> None:
    answer = ask(service + path, expect)
    assert answer["ready"] is ready
    assert said in answer["said"]
    assert [asked for asked, _ in Service.asked] == [path]


def test_the_key_is_sent_as_bearer_and_shown_nowhere(
    service: str, key_file: Path, probe: Probe
) -> None:
    answer = probe(url=f"{service}/echo", expect={"you_sent": "x"}, api_key_file=str(key_file))
    assert Service.asked == [("/echo", f"Bearer {KEY}")]
    assert KEY not in json.dumps(answer)
    assert answer["body"]["you_sent"] == "Bearer (hidden)"
    assert answer["body"]["Bearer (hidden)"] == ["x", "Bearer (hidden)"]
    assert "Bearer (hidden)" in answer["said"]


def test_without_a_key_none_is_sent(service: str) -> None:
    ask(f"{service}/health")
    assert Service.asked == [("/health", "")]


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"a b", b"a\nb", b"\xff", b"a\r\nX: y", b"x" * 5000]
)
def test_a_key_that_fits_into_no_header_is_refused_and_not_shown(
    service: str, key_file: Path, content: bytes
) -> None:
    key_file.write_bytes(content)
    with pytest.raises(service_probe.ParameterError, match="one line of ASCII") as refused:
        ask(f"{service}/health", api_key_file=str(key_file))
    assert "X: y" not in str(refused.value)
    assert Service.asked == []


def test_a_key_file_that_is_not_there_is_named(service: str, probe: Probe, tmp_path: Path) -> None:
    answer = probe(url=f"{service}/health", api_key_file=str(tmp_path / "none"))
    assert answer["failed"]
    assert f"{tmp_path}/none cannot be read" in answer["msg"]


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_port_where_nothing_listens_is_not_over_as_it_may_still_come() -> None:
    answer = ask(f"http://127.0.0.1:{closed_port()}/health")
    assert "connection refused" in answer["said"]
    assert (answer["ready"], answer["over"], answer["status"]) == (False, False, 0)


def test_a_name_that_nobody_knows_says_so() -> None:
    assert "name is not known" in ask("http://nowhere.invalid/health")["said"]


def raw(answer: Callable[[socket.socket], None]) -> socketserver.BaseServer:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            with contextlib.suppress(OSError):  # the probe hung up, as it should
                answer(self.request)

    return socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)


def drip(start: bytes) -> Callable[[socket.socket], None]:
    def drip(connection: socket.socket) -> None:
        connection.sendall(start)
        for _ in range(200):
            connection.sendall(b"x")
            time.sleep(0.1)

    return drip


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda connection: connection.recv(1), "no whole answer within 1 s"),
        (drip(b"HTTP/1.1 200 OK\r\nX: "), "no whole answer within 1 s"),
        (drip(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"), "no whole answer within 1 s"),
        (lambda _: None, "closed the connection without an answer"),
        (lambda connection: connection.sendall(b"SSH-2.0\r\n"), "does not speak HTTP"),
        (lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n" * 200), "not speak HTTP"),
    ],
    ids=["silent", "slow headers", "slow body", "hangs up", "ssh", "headers without end"],
)
def test_a_service_that_misbehaves_costs_no_more_than_the_time_limit(
    answer: Callable[[socket.socket], None], said: str
) -> None:
    with serving(raw(answer)) as port:
        assert said in ask(f"http://127.0.0.1:{port}/", timeout_s=1)["said"]


def test_an_answer_without_end_is_read_no_further_than_64_kb() -> None:
    sent = []

    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sent.append(connection.send(b"x" * 65536))

    with serving(raw(pour)) as port:
        assert "longer than 64 kB" in ask(f"http://127.0.0.1:{port}/")["said"]
    assert sum(sent) < 32 * 2**20  # what the kernel buffers, and no more


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://127.0.0.1/", "set `https: true`"),
        ("ftp://127.0.0.1/", "no address like"),
        ("file:///etc/passwd", "no address like"),
        ("127.0.0.1:80/health", "no address like"),
        ("http:///health", "no address like"),
        ("http://127.0.0.1:99999/", "no address"),
        ("http://127.0.0.1:0/", "no address like"),
        ("http://[::1/", "no address"),
        ("http://127.0.0.1/a b", "neither spaces"),
        ("http://127.0.0.1/\r\nX: y", "neither spaces"),
        ("http://127.0.0.1/é", "neither spaces"),
        ("http://user:secret@127.0.0.1/", "no user and password"),
        ("", "no address like"),
        ("-x", "no address like"),
    ],
)
def test_an_address_that_may_not_be_asked_is_refused(url: str, said: str) -> None:
    with pytest.raises(service_probe.ParameterError, match="url") as refused:
        ask(url)
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [{"wait_s": -1}, {"timeout_s": 0}, {"timeout_s": 601}, {"log_lines": -1}, {"container": "--x"}],
)
def test_a_parameter_out_of_range_fails_the_module(
    service: str, probe: Probe, options: dict[str, Any]
) -> None:
    answer = probe(url=f"{service}/health", **options)
    assert answer["failed"]
    assert Service.asked == []


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key in the same file."""
    path = tmp_path / "tls.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    made += ["-keyout", str(tmp_path / "key.pem"), "-out", str(path)]
    subprocess.run(made, check=True, capture_output=True)
    path.write_text(path.read_text() + (tmp_path / "key.pem").read_text())
    return path


def test_https_works_where_it_is_asked_for_and_the_host_trusts_the_certificate(
    certificate: Path, probe: Probe
) -> None:
    Service.asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that goes
    with serving(server) as port:
        options = {"url": f"https://127.0.0.1:{port}/health", "https": True}
        assert "does not trust its certificate" in probe(**options)["said"]
        assert probe(**options, env={"SSL_CERT_FILE": str(certificate)})["ready"]


@pytest.fixture
def container(docker: RunDocker, base_image: str) -> Iterator[Callable[..., str]]:
    """Make containers that run a shell script; they go with the test."""
    made: list[str] = []

    def container(script: str, *options: str) -> str:
        name = f"speech-probe-{uuid.uuid4().hex[:8]}"
        made.append(name)
        given = ("--name", name, "--network", "none", *options)
        docker("create", *given, base_image, "sh", "-c", script)
        docker("start", name)
        return name

    yield container
    for name in made:
        docker("rm", "--force", name)


def until(
    probed: Callable[[], dict[str, Any]], done: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Ask again until it is so: how a role uses the module."""
    for _ in range(60):
        answer = probed()
        if done(answer):
            return answer
        time.sleep(0.3)
    raise AssertionError(answer)


def test_one_that_runs_and_does_not_answer_is_waited_for_and_its_log_is_told(
    container: Callable[..., str], probe: Probe, key_file: Path
) -> None:
    script = f"echo first; echo 'key {KEY} \033[31mred' >&2; sleep 0.1; echo last; exec sleep 600"
    name = container(script)
    url = f"http://127.0.0.1:{closed_port()}/health"
    answer = until(
        lambda: probe(url=url, container=name, api_key_file=str(key_file)),
        lambda answer: "last" in answer["log"],
    )
    assert (answer["ready"], answer["over"], answer["state"]) == (False, False, "running")
    # Docker keeps the order within stdout and within stderr alone.
    assert sorted(answer["log"].splitlines()) == ["first", "key (hidden) red", "last"]
    assert f"Container {name} is running." in answer["said"]
    assert probe(url=url, container=name, log_lines=1)["log"] == "last"
    assert probe(url=url, container=name, log_lines=0)["log"] == ""


def test_a_key_at_the_end_of_a_long_line_is_not_cut_into_pieces(
    container: Callable[..., str], probe: Probe, key_file: Path
) -> None:
    name = container(f"printf '%01990d' 0; echo '{KEY}'; exec sleep 600")
    url = f"http://127.0.0.1:{closed_port()}/health"
    answer = until(
        lambda: probe(url=url, container=name, api_key_file=str(key_file)),
        lambda answer: bool(answer["log"]),
    )
    assert KEY[:4] not in answer["log"]


def test_one_that_is_ready_is_ready_whatever_its_container_does(
    container: Callable[..., str], probe: Probe, service: str
) -> None:
    answer = probe(url=f"{service}/health", container=container("exec sleep 600"))
    assert (answer["ready"], answer["state"], answer["log"]) == (True, "running", "")


@pytest.mark.parametrize(
    ("script", "options", "said"),
    [
        ("echo broken; exit 3", (), "ended with exit status 3"),
        ("echo broken; kill -9 $$; sleep 600", ("--init",), "was killed"),
        ("echo broken; tail /dev/zero", ("--memory", "8m"), "memory (its limit is 8 MiB)"),
    ],
    ids=["exit", "kill", "oom"],
)
def test_there_is_no_use_in_waiting_for_one_that_has_ended(
    container: Callable[..., str], probe: Probe, script: str, options: tuple[str, ...], said: str
) -> None:
    name = container(script, *options)
    url = f"http://127.0.0.1:{closed_port()}/health"
    answer = until(lambda: probe(url=url, container=name), lambda answer: bool(answer["over"]))
    assert answer["state"] == "exited"
    assert said in answer["said"]
    assert answer["log"].startswith("broken")


def test_one_that_dies_again_and_again_is_over_after_the_third_time(
    container: Callable[..., str], probe: Probe
) -> None:
    name = container("echo broken; exit 3", "--restart", "always")
    url = f"http://127.0.0.1:{closed_port()}/health"
    answer = until(lambda: probe(url=url, container=name), lambda answer: bool(answer["over"]))
    assert answer["state"] in ("restarting", "running")
    assert "more times because it died" in answer["said"]
    assert "broken" in answer["log"]


def test_one_that_is_not_there_is_over_and_a_prefix_of_an_id_is_no_name(
    container: Callable[..., str], probe: Probe, docker: RunDocker
) -> None:
    url = f"http://127.0.0.1:{closed_port()}/health"
    short = docker("inspect", "--format", "{{.Id}}", container("exec sleep 600"))[:12]
    for name in ("speech-probe-none", short):
        answer = probe(url=url, container=name)
        assert (answer["over"], answer["state"]) == (True, "absent")
        assert f"There is no container {name}." in answer["said"]


def test_a_docker_that_does_not_answer_is_told_and_may_come_back(probe: Probe) -> None:
    answer = probe(
        url=f"http://127.0.0.1:{closed_port()}/health",
        container="whisperx-asr",
        env={"DOCKER_HOST": "unix:///nowhere.sock"},
    )
    assert (answer["ready"], answer["over"], answer["state"]) == (False, False, "")
    assert not answer.get("failed")


def inspected(status: str, **state: object) -> dict[str, Any]:
    """What `docker inspect` tells, as far as it is read."""
    restarts = state.pop("restarts", 0)
    told = {"Status": status, "ExitCode": 0, "OOMKilled": False, "Error": "", **state}
    return {"State": told, "RestartCount": restarts, "HostConfig": {"Memory": 0}}


@pytest.mark.parametrize(
    ("found", "over", "said"),
    [
        (inspected("running"), False, "is running."),
        (inspected("running", Health={"Status": "starting"}), False, "is running (starting)."),
        (inspected("running", OOMKilled=True), False, "a process in it was killed by the kernel"),
        (inspected("running", restarts=2), False, "started 2 more times because it died."),
        (inspected("running", restarts=3), True, "started 3 more times"),
        (
            inspected("restarting", restarts=2, ExitCode=1),
            False,
            "last it ended with exit status 1",
        ),
        (inspected("restarting", restarts=3, ExitCode=137), True, "last it was killed"),
        (inspected("exited", OOMKilled=True), True, "out of memory (of the machine)"),
        (inspected("dead", ExitCode=1), True, "ended with exit status 1"),
        (inspected("created", Error="port is taken"), True, "never started: port is taken."),
        (inspected("paused"), True, "docker unpause c"),
        (inspected("removing"), True, "is removing."),
    ],
)
def test_what_docker_knows_of_a_container_is_said_in_a_sentence(
    found: dict[str, Any], over: bool, said: str
) -> None:
    judged = service_probe.judge("c", found)
    assert judged.over is over
    assert said in judged.said
