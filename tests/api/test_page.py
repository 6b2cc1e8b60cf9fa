"""The pages as the server sends them: complete without a script, harmless whatever is in them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from proxy_app.app import create_app
from tests.jobs.house import PROJECT

PAGES = ("/", "/jobs", "/hosts/add", "/settings", "/install/whisperx.install")


def client(folder: Path, **environ: str) -> FlaskClient:
    settings = {
        "SPEECH_STATE_DIR": str(folder),
        "SPEECH_SERVICES_DIR": str(folder / "services.d"),
        "SPEECH_PROJECT_DIR": str(PROJECT),
        "SPEECH_INVENTORY": str(folder / "none"),  # Ansible takes seconds to read one
    }
    return create_app(settings | environ).test_client()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A gateway with hosts, and nothing registered."""
    inventory = str(PROJECT / "inventory")
    with client(tmp_path_factory.mktemp("empty"), SPEECH_INVENTORY=inventory) as made:
        yield made


def register(folder: Path, name: str, text: str) -> None:
    (folder / "services.d").mkdir(exist_ok=True)
    (folder / "services.d" / name).write_text(text)


def test_an_empty_house_says_how_to_register_a_service(app: FlaskClient) -> None:
    page = app.get("/").text
    assert 'id="empty"' in page
    assert 'id="malformed"' not in page
    assert "WHISPERX_HOST=127.0.0.1" in page
    assert "Add WhisperX" in page


def test_a_service_and_its_state_are_in_the_page_itself(tmp_path: Path) -> None:
    page = client(tmp_path, WHISPERX_HOST="127.0.0.1", WHISPERX_PORT="1").get("/").text
    assert 'data-state="unreachable"' in page
    assert "127.0.0.1:1" in page
    assert 'id="empty"' not in page
    assert "0 of 1 ready" in page
    assert "Add WhisperX" not in page, "it is there, and its card says what it lacks"


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
    app = client(tmp_path, SPEECH_INVENTORY=str(PROJECT / "inventory"))
    page = app.get("/").text + app.get("/install/sortformer.patch", query_string={
        "host": bad, "sortformer_container": bad, "sortformer_port": bad,
    }).text  # fmt: skip
    assert "<img" not in page
    assert "<b>" not in page


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_inline_and_nothing_from_elsewhere(app: FlaskClient, path: str) -> None:
    page = app.get(path).text
    assert not re.search(r"<style|style=|\son\w+=|javascript:", page)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))
    for link in re.findall(r'(?:src|href)="([^"#][^"]*)"', page):
        assert link.startswith("/")
        with app.get(link.replace("&amp;", "&")) as response:
            assert response.status_code in (200, 503), link


def test_scripts_import_files_that_are_there_and_nothing_from_elsewhere() -> None:
    folder = Path(__file__).resolve().parents[2] / "proxy_app/web/static"
    for script in folder.glob("*.js"):
        text = script.read_text()
        for name in re.findall(r'(?:from|import) "([^"]+)"', text):
            assert (folder / name).is_file(), f"{script.name} imports {name}"
        assert "://" not in text
        assert "innerHTML" not in text


def test_the_command_names_the_address_that_was_asked(app: FlaskClient) -> None:
    page = app.get("/", base_url="http://localhost:1234").text
    assert "curl http://localhost:1234/api/audio/transcribe-with-speakers" in page


def test_a_link_fills_in_nothing_but_what_our_own_offers_do(app: FlaskClient) -> None:
    """What lies folded would be posted unseen by a click on Install."""
    link = "/install/whisperx.install?whisperx_base_image=evil.example/miner&whisperx_model=tiny"
    assert app.get(link).text == app.get("/install/whisperx.install").text
    page = app.get(
        "/install/sortformer.patch?sortformer_container=mine&sortformer_port=81&sortformer_device=x"
    ).text
    assert 'name="sortformer_container" value="mine"' in page
    assert 'name="sortformer_port" value="81"' in page
    assert '<details class="fold" id="advanced" open>' in page, "what a link gave is seen"
    assert 'value="x"' not in page


def test_a_host_is_preselected_by_name_or_address_and_else_to_be_chosen(app: FlaskClient) -> None:
    """A removal on the group's first host would be another one's than the card's."""

    def selected(path: str) -> list[str]:
        hosts = re.search(r'<select id="f-host".*?</select>', app.get(path).text, re.DOTALL)
        assert hosts
        return re.findall(r"<option [^>]*selected>([^<]*)<", hosts[0])

    remove = "/install/whisperx.remove"
    assert selected(f"{remove}?host=slow") == ["slow"]
    assert selected(f"{remove}?host=127.0.0.1") == ["unreachable"]
    for unknown in (remove, f"{remove}?host=", f"{remove}?host=192.0.2.9"):
        assert selected(unknown) == ["Choose a host"], unknown
    assert selected("/install/whisperx.install") == []


def test_what_is_not_there_is_404(app: FlaskClient) -> None:
    for path in ("/jobs/0123456789abcdef", "/install/tea.install", "/install/service.restart"):
        assert app.get(path).status_code == 404, path


BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_a_browser_gets_a_page_also_of_what_nobody_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_given: object) -> None:
        raise RuntimeError("hunter2")

    app = client(tmp_path)
    monkeypatch.setattr("proxy_app.web.pages.collected", fail)
    page = app.get("/", headers=BROWSER)
    assert (page.status_code, page.mimetype) == (500, "text/html")
    assert "<h1>500: Internal Server Error</h1>" in page.text
    assert "its log has the details" in page.text
    assert "hunter2" not in page.text
    assert app.get("/").get_json()["error"]["code"] == "internal_error", "programs get JSON"


def test_a_broken_password_closes_everything_and_says_what_to_do(tmp_path: Path) -> None:
    app = client(tmp_path)
    (tmp_path / "access/password").write_bytes(b"\xff")
    for path in ("/", "/login", "/jobs"):
        page = app.get(path, headers=BROWSER)
        assert (page.status_code, page.mimetype) == (503, "text/html")
        assert "restore access/password of SPEECH_STATE_DIR from a backup" in page.text
    error = app.get("/api/services").get_json()["error"]
    assert (error["code"], str(tmp_path) in str(error)) == ("password_broken", False)
    assert app.get("/livez").status_code == 200


def test_a_page_of_jobs_that_is_no_number_is_refused(app: FlaskClient) -> None:
    assert app.get("/jobs?before=x").status_code == 400
