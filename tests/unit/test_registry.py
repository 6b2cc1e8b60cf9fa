"""Registrations: files, the environment, and what is wrong with them."""

import json
import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from proxy_app.config import load_config
from proxy_app.services import Registered, Registry
from proxy_app.services.registry import parse
from proxy_app.settings import SettingError
from proxy_app.transcribing.attempts import DECODER

GOOD = {"kind": "speakers", "api": "whisperx", "base_url": "http://spark:8002"}


def read(folder: Path, **environ: str) -> Registered:
    return Registry(load_config({"SPEECH_SERVICES_DIR": str(folder), **environ})).read()


def register(folder: Path, name: str, content: object) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text)


def test_a_missing_folder_registers_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == Registered((), ())


def test_the_voice_without_a_server_comes_after_all_others(tmp_path: Path) -> None:
    kokoro = {"kind": "tts", "api": "openai", "base_url": "http://spark:8880"}
    register(tmp_path, "zoe.json", kokoro)
    found = read(tmp_path, SPEECH_VOICE="true", MAGPIE_HOST="spark1")
    assert [service.name for service in found.speaking()] == ["magpie", "zoe", "voice"]
    assert read(tmp_path / "none").speaking() == ()


def test_a_file_registers_the_service_that_it_is_named_after(tmp_path: Path) -> None:
    register(tmp_path, "whisperx.json", GOOD | {"model": "medium"})
    (service,) = read(tmp_path).services
    assert (service.name, service.title, service.host) == ("whisperx", "whisperx", "spark")
    assert (service.source, service.auto_restart) == ("whisperx.json", True)


def test_a_key_lies_beside_the_registration_and_is_never_shown(tmp_path: Path) -> None:
    register(tmp_path, "whisperx.json", GOOD | {"api_key_file": "whisperx.key"})
    register(tmp_path, "whisperx.key", "s3cret\n")
    (service,) = read(tmp_path).services
    assert service.api_key == "s3cret"
    assert "s3cret" not in repr(service)


@pytest.mark.parametrize(
    ("key", "said"),
    [(None, "cannot be read"), ("", "a key on one line"), ("a\nb", "a key on one line")],
)
def test_a_key_that_cannot_be_used_makes_the_registration_malformed(
    tmp_path: Path, key: str | None, said: str
) -> None:
    register(tmp_path, "whisperx.json", GOOD | {"api_key_file": "whisperx.key"})
    if key is not None:
        register(tmp_path, "whisperx.key", key)
    registered = read(tmp_path)
    assert registered.services == ()
    assert said in registered.malformed[0].reason


@pytest.mark.parametrize("file", ["../whisperx.key", "/etc/passwd", "other.key"])
def test_a_registration_cannot_have_another_file_sent_away(tmp_path: Path, file: str) -> None:
    register(tmp_path, "whisperx.json", GOOD | {"api_key_file": file})
    assert "expected whisperx.key" in read(tmp_path).malformed[0].reason


def test_a_new_file_is_seen_without_a_restart(tmp_path: Path) -> None:
    registry = Registry(load_config({"SPEECH_SERVICES_DIR": str(tmp_path)}))
    assert registry.read().services == ()
    register(tmp_path, "late.json", GOOD)
    assert [service.name for service in registry.read().services] == ["late"]


def test_a_file_that_is_changed_in_its_place_a_new_key_and_a_removed_file_are_seen(
    tmp_path: Path,
) -> None:
    registry = Registry(load_config({"SPEECH_SERVICES_DIR": str(tmp_path)}))
    register(tmp_path, "llm.json", GOOD | {"api_key_file": "llm.key"})
    register(tmp_path, "llm.key", "one")
    time.sleep(0.2)  # what is older than a tenth of a second is not read again
    (service,) = registry.read().services
    assert registry.read().services[0] is service
    (tmp_path / "llm.key").write_text("two")
    assert registry.read().services[0].api_key == "two"
    time.sleep(0.2)
    assert registry.read().services[0].api_key == "two"
    with (tmp_path / "llm.json").open("r+") as file:
        file.write(json.dumps(GOOD | {"api_key_file": "llm.key", "title": "Changed"}))
    assert registry.read().services[0].title == "Changed"
    time.sleep(0.2)
    assert registry.read().services[0].title == "Changed"
    (tmp_path / "llm.json").unlink()
    assert registry.read().services == ()


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
        (GOOD | {"title": 7}, "title: expected text"),
        (GOOD | {"auto_restart": "yes"}, "auto_restart: expected true or false"),
        (GOOD | {"container": "a; rm -rf"}, "container="),
        (GOOD | {"token": "x"}, "unknown field 'token'"),
        (GOOD | {"base_url": "spark:8002"}, "expected http://HOST:PORT"),
        (GOOD | {"base_url": "file:///etc/passwd"}, "expected http://HOST:PORT"),
        (GOOD | {"base_url": "http://a:b@spark"}, "without user, password"),
        (GOOD | {"base_url": "http://spark/path"}, "expected http://HOST:PORT"),
        (GOOD | {"base_url": "http://spark:99999"}, "expected http://HOST:PORT"),
        (GOOD | {"base_url": "http://[::1"}, "expected http://HOST:PORT"),
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


def test_what_is_no_file_at_all_is_skipped_and_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    register(tmp_path, "good.json", GOOD)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.json"))
        registered = read(tmp_path)
    assert [service.name for service in registered.services] == ["good"]
    reasons = {malformed.file: malformed.reason for malformed in registered.malformed}
    assert list(reasons) == ["pipe.json", "socket.json", "zero.json"]
    assert reasons["pipe.json"] == reasons["zero.json"] == "no regular file"


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@h:1",
        "http://user:hunter2@[::1",
        "http://user:hunter2@h:99999",
        "http://user:hunter2#x@h",
        "http://h:1/?token=hunter2",
        "user:hunter2@h",
        ["http://user:hunter2@h:1"],
    ],
)
def test_a_password_in_an_address_is_not_repeated(tmp_path: Path, url: object) -> None:
    register(tmp_path, "bad.json", GOOD | {"base_url": url})
    (malformed,) = read(tmp_path).malformed
    assert malformed.reason.startswith("base_url: expected")
    assert "hunter2" not in malformed.reason


def test_the_environment_takes_the_place_of_a_file_and_says_so(tmp_path: Path) -> None:
    register(tmp_path, "whisperx.json", GOOD)
    (service,) = read(tmp_path, WHISPERX_HOST="10.0.0.7", WHISPERX_PORT="9").services
    assert service.base_url == "http://10.0.0.7:9"
    assert (service.source, service.overrides) == ("environment", "whisperx.json")


def test_every_service_of_the_environment_is_registered(tmp_path: Path) -> None:
    names = ["llm", "magpie", "parakeet", "sortformer", "whisperx"]
    services = read(tmp_path, **{f"{name.upper()}_HOST": "::1" for name in names}).services
    assert [service.name for service in services] == names
    assert services[4].base_url == "http://[::1]:8002"
    assert (services[3].kind, services[3].api) == ("diarize", "sortformer")
    assert services[3].base_url == services[2].base_url, "it is in Parakeet's container"


def test_keys_of_the_environment_go_to_their_own_services(tmp_path: Path) -> None:
    hosts = {f"{name}_HOST": "::1" for name in ("WHISPERX", "PARAKEET", "SORTFORMER", "LLM")}
    keys = {f"{name}_API_KEY": name for name in ("WHISPERX", "PARAKEET", "SORTFORMER")}
    services = read(tmp_path, **hosts, **keys).services
    assert [service.api_key for service in services] == [None, "PARAKEET", "SORTFORMER", "WHISPERX"]


def test_a_registration_may_say_how_long_a_recording_the_service_takes(tmp_path: Path) -> None:
    register(tmp_path, "whisperx.json", GOOD | {"max_audio_s": 480})
    assert read(tmp_path).services[0].max_audio_s == 480.0
    register(tmp_path, "whisperx.json", GOOD)
    assert read(tmp_path).services[0].max_audio_s is None


@pytest.mark.parametrize("value", [0, 9.9, -1, 1e7, True, "480", [], float("nan")])
def test_a_length_that_is_none_makes_the_registration_malformed(
    tmp_path: Path, value: object
) -> None:
    register(tmp_path, "whisperx.json", GOOD | {"max_audio_s": value})
    assert "max_audio_s: expected seconds" in read(tmp_path).malformed[0].reason


def test_a_registration_may_say_how_many_requests_the_service_takes(tmp_path: Path) -> None:
    register(tmp_path, "whisperx.json", GOOD | {"places": 4})
    assert read(tmp_path).services[0].places == 4
    register(tmp_path, "whisperx.json", GOOD)
    assert read(tmp_path).services[0].places is None


@pytest.mark.parametrize("value", [0, -1, 257, 1.5, True, "4", []])
def test_a_number_of_places_that_is_none_makes_the_registration_malformed(
    tmp_path: Path, value: object
) -> None:
    register(tmp_path, "whisperx.json", GOOD | {"places": value})
    assert "places: expected a whole number from 1" in read(tmp_path).malformed[0].reason


def test_services_of_a_kind_are_ranked_the_environments_before_the_files(tmp_path: Path) -> None:
    register(tmp_path, "a-whisperx.json", GOOD)
    register(tmp_path, "z-whisperx.json", GOOD)
    registered = read(tmp_path, WHISPERX_HOST="::1")
    ranked = registered.ranked("speakers", "whisperx")
    assert [it.name for it in ranked] == ["whisperx", "a-whisperx", "z-whisperx"]
    assert registered.first("speakers", "whisperx") == ranked[0]
    embedded = replace(ranked[0], is_embedded=True)
    ranked = replace(registered, services=(*ranked[1:], embedded)).ranked("speakers", "whisperx")
    assert ranked[-1] == embedded


def test_a_host_of_the_environment_that_is_none_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="WHISPERX_HOST='a b'"):
        read(tmp_path, WHISPERX_HOST="a b", SPARK2_HOST="spark")


def test_a_default_that_is_no_host_is_blamed_on_the_variable_that_was_set(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="SPARK2_HOST='a b'"):
        read(tmp_path, SPARK2_HOST="a b")


def test_what_an_install_would_make_is_not_told_of_a_service_that_was_only_named(
    tmp_path: Path,
) -> None:
    (named,) = read(tmp_path, WHISPERX_HOST="spark").services
    assert (named.model, named.container) == (None, None)
    told = {"WHISPERX_MODEL": "medium", "WHISPERX_CONTAINER": "asr"}
    (described,) = read(tmp_path, WHISPERX_HOST="spark", **told).services
    assert (described.model, described.container) == ("medium", "asr")


def test_the_environments_service_is_asked_before_the_files(tmp_path: Path) -> None:
    register(tmp_path, "another.json", GOOD)
    first = read(tmp_path, WHISPERX_HOST="spark").first("speakers", "whisperx")
    assert first is not None
    assert first.name == "whisperx"


def test_the_embedded_engine_steps_back_for_whatever_is_installed(tmp_path: Path) -> None:
    up = {"SPEECH_ENGINE_SUPERVISOR": "/s", "WHISPERX_HOST": "127.0.0.1"}
    alone = read(tmp_path, **up)
    assert [it.is_embedded for it in alone.services] == [True]
    register(tmp_path, "whisperx-spark2.json", GOOD)
    both = read(tmp_path, **up)
    first = both.first("speakers", "whisperx")
    assert first is not None
    assert first.name == "whisperx-spark2"
    register(tmp_path, "whisperx.json", GOOD)
    named = {it.name: it for it in read(tmp_path, **up).services}
    assert named["whisperx"].source == "whisperx.json"


def test_a_service_of_an_api_that_is_not_wanted_is_not_the_first(tmp_path: Path) -> None:
    register(tmp_path, "another.json", GOOD | {"api": "riva"})
    register(tmp_path, "whisperx.json", GOOD)
    first = read(tmp_path).first("speakers", "whisperx")
    assert first is not None
    assert first.name == "whisperx"


def test_no_service_can_have_the_name_of_the_decoders_places() -> None:
    with pytest.raises(ValueError, match="file name"):
        parse(DECODER, GOOD, source="x.json")
