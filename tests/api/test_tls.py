"""The gateway with a certificate: HTTPS and nothing else, and no connection for ever."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.api.conftest import COMMAND, REPOSITORY, Gateway, environment, eventually, free_port
from tests.api.recordings import canonical_wav
from tests.certificates import Certificate, make_certificate
from tests.standins.upstream_whisperx import StandIn


@dataclass
class Secure:
    """A running gateway that speaks TLS."""

    process: subprocess.Popen[bytes]
    port: int
    certificate: Certificate
    log: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def get(self, path: str) -> requests.Response:
        """As a client that trusts this certificate and no other."""
        return requests.get(self.url + path, verify=str(self.certificate.cert), timeout=20)

    def is_alive(self) -> bool:
        try:
            return self.get("/livez").ok
        except requests.RequestException:
            return False


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"), "localhost")


@pytest.fixture(scope="module")
def secure(
    engine: StandIn, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secure]:
    state = tmp_path_factory.mktemp("secure")
    port = free_port()
    environ = environment(
        state,
        port,
        WHISPERX_HOST="127.0.0.1",
        WHISPERX_PORT=str(engine.port),
        SPEECH_TLS_CERT_PATH=str(certificate.cert),
        SPEECH_TLS_KEY_PATH=str(certificate.key),
        SPEECH_LOG_LEVEL="debug",
        SPEECH_LINGER_S="0",
        SPEECH_MAX_UPLOAD_BYTES="1000000",
    )
    log = state / "gateway.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            COMMAND, cwd=REPOSITORY, env=environ, stdout=output, stderr=subprocess.STDOUT
        )
    gateway = Secure(process, port, certificate, log)
    try:
        assert eventually(gateway.is_alive, within_s=30), log.read_text()
        yield gateway
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(10)


def test_it_answers_who_trusts_its_certificate(secure: Secure, standin: StandIn) -> None:
    answer = requests.post(
        f"{secure.url}/v1/audio/transcriptions",
        files={"file": ("upload.wav", canonical_wav(5), "audio/wav")},
        verify=str(secure.certificate.cert),
        timeout=20,
    )
    assert answer.status_code == 200, answer.text
    assert secure.get("/").headers["Content-Type"].startswith("text/html")


def test_the_work_ends_when_its_client_hangs_up(secure: Secure, standin: StandIn) -> None:
    standin.behave("hang")
    with pytest.raises(requests.ReadTimeout):
        requests.post(
            f"{secure.url}/v1/audio/transcriptions",
            files={"file": ("upload.wav", canonical_wav(5), "audio/wav")},
            verify=str(secure.certificate.cert),
            timeout=2,
        )
    assert standin.hung_up.wait(10)


def test_an_upload_that_is_refused_early_learns_why(secure: Secure, standin: StandIn) -> None:
    answer = requests.post(
        f"{secure.url}/v1/audio/transcriptions",
        files={"file": ("upload.wav", bytes(8_000_000), "audio/wav")},
        verify=str(secure.certificate.cert),
        timeout=20,
    )
    assert answer.status_code == 413


def test_the_demo_finds_a_gateway_with_a_certificate(
    secure: Secure, standin: StandIn, tmp_path: Path
) -> None:
    recording = tmp_path / "tone.wav"
    recording.write_bytes(canonical_wav(5))
    certificate = secure.certificate
    environ = environment(
        tmp_path,
        secure.port,
        SPEECH_TLS_CERT_PATH=str(certificate.cert),
        SPEECH_TLS_KEY_PATH=str(certificate.key),
    )
    done = subprocess.run(
        [sys.executable, "-m", "proxy_app", "demo", str(recording)],
        cwd=REPOSITORY,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert f"The page: https://127.0.0.1:{secure.port}" in done.stdout


def test_plain_http_gets_no_answer_and_leaves_no_traceback(secure: Secure) -> None:
    with socket.create_connection(("127.0.0.1", secure.port), timeout=10) as plain:
        plain.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            received = plain.recv(4096)
        except ConnectionResetError:
            received = b""
    assert b"HTTP/1" not in received
    assert eventually(lambda: "No TLS handshake" in secure.log.read_text())
    assert "Traceback" not in secure.log.read_text()


def test_who_never_shakes_hands_is_dropped(secure: Secure) -> None:
    with socket.create_connection(("127.0.0.1", secure.port), timeout=30) as silent:
        assert silent.recv(1) == b""


def test_bad_http_inside_tls_is_answered_as_elsewhere(secure: Secure) -> None:
    context = ssl.create_default_context(cafile=str(secure.certificate.cert))
    with (
        socket.create_connection(("127.0.0.1", secure.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall(b"NONSENSE\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["code"] == "invalid_http"


def test_the_containers_health_check_asks_over_tls(secure: Secure) -> None:
    environ = {"PATH": os.environ["PATH"], "SPEECH_PORT": str(secure.port)}
    command = [sys.executable, "-IS", "images/control/healthcheck.py"]
    for more, status in (({"SPEECH_TLS_CERT_PATH": "x"}, 0), ({}, 1)):
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environ | more, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (status, ""), done.stdout


def test_the_health_check_asks_a_gateway_without_a_certificate(gateway: Gateway) -> None:
    environ = {"PATH": os.environ["PATH"], "SPEECH_PORT": str(gateway.port)}
    command = [sys.executable, "-IS", "images/control/healthcheck.py"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "ok\n")


@pytest.mark.parametrize(
    ("cert", "key", "said"),
    [
        ("{cert}", None, "set both, or neither"),
        (None, "{key}", "set both, or neither"),
        ("/no/such.pem", "{key}", "SPEECH_TLS_CERT_PATH='/no/such.pem' and"),
        ("{cert}", "{cert}", "cannot be used as a certificate and its key"),
        ("{cert}", "{other}", "cannot be used as a certificate and its key: KEY_VALUES_MISMATCH"),
        ("{cert}", "{locked}", "cannot be used as a certificate and its key"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_one_line(
    tmp_path: Path, certificate: Certificate, cert: str | None, key: str | None, said: str
) -> None:
    other = make_certificate(tmp_path, "localhost")
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "ec", "-aes256", "-passout", "pass:word", "-in", other.key, "-out", locked],
        check=True,
        capture_output=True,
    )
    files = {"cert": certificate.cert, "key": certificate.key, "other": other.key, "locked": locked}
    given = {"SPEECH_TLS_CERT_PATH": cert, "SPEECH_TLS_KEY_PATH": key}
    settings = {name: value.format(**files) for name, value in given.items() if value}
    done = subprocess.run(
        COMMAND,
        cwd=REPOSITORY,
        env=environment(tmp_path, 1) | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("The gateway cannot start: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
