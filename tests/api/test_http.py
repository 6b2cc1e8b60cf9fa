"""What every answer has, whatever was asked: shapes, headers, names."""

import contextlib
import http.client
import json
import re

import pytest
import requests

from tests.api.conftest import Gateway, eventually
from tests.api.recordings import canonical_wav
from tests.standins.upstream_whisperx import StandIn


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1", 404),
        ("GET", "/v1", 404),
        ("GET", "/api", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/audio/transcriptions", 405),
        ("POST", "/v1/audio/transcriptions/", 404),
        ("POST", "/v1//audio/transcriptions", 404),
        ("POST", "/V1/audio/transcriptions", 404),
        ("POST", "/v1/audio/%2e%2e/transcriptions", 404),
        ("DELETE", "/api/services", 405),
        ("GET", "/api/audio/transcribe-with-speakers", 405),
        ("POST", "/nothing", 404),
        ("POST", "/", 405),
    ],
)
def test_unknown_paths_and_methods_are_json_with_four_keys(
    gateway: Gateway, method: str, path: str, status: int
) -> None:
    # http.client sends a path as it is; requests would tidy it up.
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.port)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
    assert response.status == status
    assert sorted(json.loads(body)["error"]) == ["code", "message", "param", "type"]
    assert (response.getheader("Allow") is not None) == (status == 405)


def test_an_unknown_page_is_html(gateway: Gateway) -> None:
    response = gateway.get("/nothing")
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/jobs?before=x", "/jobs?before=0"])
def test_what_is_wrong_with_a_page_is_a_page_for_a_browser_and_json_for_a_program(
    gateway: Gateway, path: str
) -> None:
    browser = gateway.get(path, Accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert (browser.status_code, browser.headers["Content-Type"].split(";")[0]) == (
        400, "text/html",
    )  # fmt: skip
    assert "`before`: expected 1 to" in browser.text
    assert gateway.get(path).json()["error"]["param"] == "before"
    api = gateway.get("/api/jobs?before=x", Accept="text/html")
    assert api.json()["error"]["param"] == "before"


def test_a_requests_id_comes_back(gateway: Gateway) -> None:
    assert gateway.get("/livez", **{"x-request-id": "a.b-c_9"}).headers["x-request-id"] == "a.b-c_9"


@pytest.mark.parametrize("name", ["x-request-id", "x-client-request-id"])
@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "<script>", "a\tb", "Ã©"])
def test_a_harmful_or_missing_id_is_replaced(gateway: Gateway, sent: str, name: str) -> None:
    got = gateway.get("/livez", **{name: sent}).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{16}", got)


def test_the_id_is_in_the_access_log(gateway: Gateway) -> None:
    gateway.get("/livez", **{"x-request-id": "find-me-again"})
    assert eventually(lambda: '"request_id": "find-me-again"' in gateway.log.read_text())


def test_a_path_cannot_forge_a_line_of_the_log(gateway: Gateway) -> None:
    gateway.get("/v1/x%0aFORGED%0d%1b[31m?key=hunter2")
    assert eventually(lambda: "/v1/x%0AFORGED%0D%1B" in gateway.log.read_text())
    assert "hunter2" not in gateway.log.read_text()


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:8080", "[::1]", "[::1]:8080"]
)
def test_names_of_this_machine_are_answered(gateway: Gateway, host: str) -> None:
    assert gateway.get("/api/services", Host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "evil/?", "localhost@evil", "127.0.0.1.nip.io"),
        *("192.168.1.5", "[::2]", "localhost:80:80", "xn--localhost"),
    ],
)
def test_other_names_are_refused(gateway: Gateway, host: str) -> None:
    for path in ("/", "/api/services", "/v1/audio/transcriptions"):
        response = gateway.get(path, Host=host)
        assert response.status_code in (400, 421)
        assert "WhisperX" not in response.text


@pytest.mark.parametrize(
    ("path", "status"), [("/livez", 200), ("/readyz", 200), ("/", 421), ("/api/services", 421)]
)
def test_only_the_probes_answer_without_a_host(
    gateway: Gateway, standin: StandIn, path: str, status: int
) -> None:
    with gateway.connect() as client:
        client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        assert int(client.recv(4096).split()[1]) == status


@pytest.mark.parametrize(("version", "status"), [("1.0", 403), ("1.1", 200)])
def test_a_proxy_that_speaks_http_1_0_gets_nothing_without_a_password(
    gateway: Gateway, standin: StandIn, version: str, status: int
) -> None:
    head = f"GET /api/services HTTP/{version}\r\nHost: 127.0.0.1:{gateway.port}\r\n"
    with gateway.connect() as client:
        client.sendall(f"{head}Connection: close\r\n\r\n".encode())
        assert int(client.recv(4096).split()[1]) == status


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil", "x"])
def test_a_page_of_another_site_cannot_make_a_browser_send_work(
    gateway: Gateway, standin: StandIn, origin: str
) -> None:
    files = {"file": ("a.wav", canonical_wav(1))}
    url = f"{gateway.url}/v1/audio/transcriptions"
    response = requests.post(url, files=files, headers={"Origin": origin}, timeout=20)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "foreign_origin")
    assert standin.received == []


def test_our_own_page_may_send_work(gateway: Gateway) -> None:
    assert gateway.get("/api/services", Origin=gateway.url).status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/services", "/static/app.js", "/nothing", "/v1/x"])
def test_every_answer_is_guarded(gateway: Gateway, path: str) -> None:
    headers = gateway.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "Set-Cookie" not in headers


def test_text_stays_readable_in_json(gateway: Gateway, standin: StandIn) -> None:
    conversation = {
        "duration": 5.0,
        "language": "zh",
        "speakers_detected": 1,
        "segments": [{"start_ms": 0, "end_ms": 900, "speaker": "Speaker_0", "text": "早上好。"}],
        "models": {},
    }
    standin.behave("ok", json.loads(json.dumps(conversation)))
    response = gateway.transcribe(None, "/api/audio/transcribe-with-speakers")
    assert "早上好。" in response.content.decode()
