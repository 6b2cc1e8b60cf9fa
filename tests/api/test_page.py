"""The page: complete without its script, and harmless whatever services are called."""

import json
import re
from pathlib import Path

from flask.testing import FlaskClient

from proxy_app.app import create_app


def client(folder: Path, **environ: str) -> FlaskClient:
    settings = {"SPEECH_STATE_DIR": str(folder), "SPEECH_SERVICES_DIR": str(folder / "services.d")}
    return create_app(settings | environ).test_client()


def register(folder: Path, name: str, text: str) -> None:
    (folder / "services.d").mkdir(exist_ok=True)
    (folder / "services.d" / name).write_text(text)


def test_an_empty_house_says_how_to_register_a_service(tmp_path: Path) -> None:
    page = client(tmp_path).get("/").text
    assert re.search(r'id="empty" *>', page)
    assert re.search(r'id="malformed" hidden', page)
    assert "WHISPERX_HOST=127.0.0.1" in page


def test_a_service_and_its_state_are_in_the_page_itself(tmp_path: Path) -> None:
    page = client(tmp_path, WHISPERX_HOST="127.0.0.1", WHISPERX_PORT="1").get("/").text
    assert 'data-state="unreachable"' in page
    assert "127.0.0.1:1" in page
    assert re.search(r'id="empty" hidden', page)
    assert "0 of 1 ready" in page


def test_defaults_are_not_shown_as_facts(tmp_path: Path) -> None:
    app = client(tmp_path, WHISPERX_HOST="127.0.0.1", WHISPERX_PORT="1")
    for path in ("/", "/api/services"):
        assert "medium" not in app.get(path).text
        assert "whisperx-asr" not in app.get(path).text


def test_a_password_in_a_registration_is_shown_nowhere(tmp_path: Path) -> None:
    service = {"kind": "llm", "api": "openai", "base_url": "http://user:hunter2@127.0.0.1:1"}
    register(tmp_path, "bad.json", json.dumps(service))
    app = client(tmp_path)
    for path in ("/", "/readyz?verbose", "/api/services"):
        answer = app.get(path).text
        assert "bad.json" in answer
        assert "hunter2" not in answer


def test_a_malformed_file_is_shown_with_the_reason(tmp_path: Path) -> None:
    register(tmp_path, "odd.json", '{"kind": "tea", "api": "openai", "base_url": "http://x"}')
    page = client(tmp_path).get("/").text
    assert "odd.json" in page
    assert "kind=&#39;tea&#39;" in page


def test_what_comes_from_outside_is_never_html(tmp_path: Path) -> None:
    bad = '<img src=x onerror="alert(1)">'
    service = {"kind": "llm", "api": "openai", "base_url": "http://127.0.0.1:1", "title": bad}
    register(tmp_path, "bad.json", json.dumps(service))
    register(tmp_path, "<b>.json", "{}")
    page = client(tmp_path).get("/").text
    assert "<img" not in page
    assert "<b>" not in page


def test_nothing_is_inline_and_nothing_from_elsewhere(tmp_path: Path) -> None:
    app = client(tmp_path)
    page = app.get("/").text
    assert not re.search(r"<style|style=|\son\w+=|javascript:", page)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))
    for link in re.findall(r'(?:src|href)="([^"#][^"]*)"', page):
        assert link.startswith("/")
        with app.get(link) as response:
            assert response.status_code in (200, 503)


def test_the_command_names_the_address_that_was_asked(tmp_path: Path) -> None:
    page = client(tmp_path).get("/", base_url="http://localhost:1234").text
    assert "curl http://localhost:1234/api/audio/transcribe-with-speakers" in page
