"""Registrations: files, the environment, and what is wrong with them."""

import json
from pathlib import Path

import pytest

from proxy_app.config import load_config
from proxy_app.services import Registered, Registry
from proxy_app.settings import SettingError

GOOD = {"kind": "speakers", "api": "whisperx", "base_url": "http://spark:8002"}


def read(folder: Path, **environ: str) -> Registered:
    return Registry(load_config({"SPEECH_SERVICES_DIR": str(folder), **environ})).read()


def register(folder: Path, name: str, content: object) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text)


def test_a_missing_folder_registers_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == Registered((), ())


def test_a_file_registers_the_service_that_it_is_named_after(tmp_path: Path) -> None:
    register(tmp_path, "whisperx.json", GOOD | {"model": "medium"})
    (service,) = read(tmp_path).services
    assert (service.name, service.title, service.host) == ("whisperx", "whisperx", "spark")
    assert (service.source, service.auto_restart) == ("whisperx.json", True)


def test_a_new_file_is_seen_without_a_restart(tmp_path: Path) -> None:
    registry = Registry(load_config({"SPEECH_SERVICES_DIR": str(tmp_path)}))
    assert registry.read().services == ()
    register(tmp_path, "late.json", GOOD)
    assert [service.name for service in registry.read().services] == ["late"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not JSON"),
        ("[" * 50_000, "not JSON"),
        ("[]", "expected a JSON object"),
        (" " * 70_000, "larger than"),
        ({}, "base_url is missing"),
        (GOOD | {"kind": "tea"}, "kind='tea'"),
        (GOOD | {"api": "soap"}, "api='soap'"),
        (GOOD | {"name": "other"}, "name='other'"),
        (GOOD | {"title": ""}, "title"),
        (GOOD | {"title": "a\nb"}, "title"),
        (GOOD | {"title": 7}, "title=7"),
        (GOOD | {"auto_restart": "yes"}, "auto_restart='yes'"),
        (GOOD | {"container": "a; rm -rf"}, "container="),
        (GOOD | {"token": "x"}, "unknown field 'token'"),
        (GOOD | {"base_url": "spark:8002"}, "base_url="),
        (GOOD | {"base_url": "file:///etc/passwd"}, "base_url="),
        (GOOD | {"base_url": "http://a:b@spark"}, "base_url="),
        (GOOD | {"base_url": "http://spark/path"}, "base_url="),
        (GOOD | {"base_url": "http://spark:99999"}, "base_url="),
        (GOOD | {"base_url": "http://[::1"}, "base_url="),
        (GOOD | {"base_url": "http://169.254.169.254"}, "no address of a service"),
        (GOOD | {"base_url": "http://0.0.0.0:80"}, "no address of a service"),
        (GOOD | {"base_url": "http://0"}, "no host name"),
        (GOOD | {"base_url": "http://2130706433"}, "no host name"),
        (GOOD | {"base_url": "http://0x7f000001"}, "no host name"),
        (GOOD | {"base_url": "http://-oProxyCommand=x"}, "no host name"),
    ],
)
def test_a_malformed_file_is_shown_and_skipped(
    tmp_path: Path, content: object, reason: str
) -> None:
    register(tmp_path, "bad.json", content)
    register(tmp_path, "good.json", GOOD)
    registered = read(tmp_path)
    assert [service.name for service in registered.services] == ["good"]
    (malformed,) = registered.malformed
    assert malformed.file == "bad.json"
    assert reason in malformed.reason


def test_a_file_whose_name_is_no_service_name_is_skipped(tmp_path: Path) -> None:
    register(tmp_path, "Not OK.json", GOOD)
    assert "file name 'Not OK'" in read(tmp_path).malformed[0].reason


def test_a_folder_in_place_of_a_file_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    assert "cannot be read" in read(tmp_path).malformed[0].reason


def test_the_environment_takes_the_place_of_a_file_and_says_so(tmp_path: Path) -> None:
    register(tmp_path, "whisperx.json", GOOD)
    (service,) = read(tmp_path, WHISPERX_HOST="10.0.0.7", WHISPERX_PORT="9").services
    assert service.base_url == "http://10.0.0.7:9"
    assert (service.source, service.overrides) == ("environment", "whisperx.json")


def test_every_service_of_the_environment_is_registered(tmp_path: Path) -> None:
    hosts = {f"{name}_HOST": "::1" for name in ("WHISPERX", "PARAKEET", "MAGPIE", "LLM")}
    services = read(tmp_path, **hosts).services
    assert [service.name for service in services] == ["llm", "magpie", "parakeet", "whisperx"]
    assert services[3].base_url == "http://[::1]:8002"


def test_a_host_of_the_environment_that_is_none_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="WHISPERX_HOST='a b'"):
        read(tmp_path, WHISPERX_HOST="a b")


def test_the_environments_service_is_asked_before_the_files(tmp_path: Path) -> None:
    register(tmp_path, "another.json", GOOD)
    first = read(tmp_path, WHISPERX_HOST="spark").first("speakers")
    assert first is not None
    assert first.name == "whisperx"
