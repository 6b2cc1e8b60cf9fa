"""What control is told of a service: a file that the gateway reads, and a key beside it."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from proxy_app.config import load_config
from proxy_app.services import Registry
from tests.collection.conftest import RunModule

SERVICE: dict[str, object] = {
    "title": "WhisperX",
    "kind": "speakers",
    "api": "whisperx",
    "base_url": "http://192.0.2.1:8002",
    "model": "",
    "auto_restart": False,
}


def test_the_gateway_reads_what_is_written(run_module: RunModule, tmp_path: Path) -> None:
    folder = tmp_path / "services.d"
    wanted: dict[str, object] = {"folder": str(folder), "name": "whisperx", "service": SERVICE}
    wanted |= {"has_key": True, "key": "SecretKey"}
    foretold = run_module("registration", **wanted, check=True)
    assert foretold["changed"]
    assert not folder.exists()
    done = run_module("registration", **wanted)
    assert done["changed"]
    assert foretold["diff"] == done["diff"]
    assert "SecretKey" not in json.dumps(done)
    (service,) = Registry(load_config({"SPEECH_SERVICES_DIR": str(folder)})).read().services
    assert (service.name, service.base_url) == ("whisperx", "http://192.0.2.1:8002")
    assert service.api_key == "SecretKey"
    assert "model" not in json.loads((folder / "whisperx.json").read_text())
    assert folder.stat().st_mode & 0o777 == 0o750
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o640}
    assert not run_module("registration", **wanted)["changed"]


def test_a_change_is_shown_without_the_key(run_module: RunModule, tmp_path: Path) -> None:
    wanted = {"folder": str(tmp_path), "name": "whisperx"}
    run_module("registration", **wanted, service=SERVICE, has_key=True, key="OldSecret")
    moved = {**SERVICE, "base_url": "http://192.0.2.2:8002"}
    done = run_module("registration", **wanted, service=moved, has_key=True, key="NewSecret")
    (shown,) = done["diff"]
    assert "192.0.2.1" in shown["before"]
    assert "192.0.2.2" in shown["after"]
    assert "Secret" not in json.dumps(done)
    assert (tmp_path / "whisperx.key").read_text() == "NewSecret"


def test_a_key_stays_while_it_is_only_not_at_hand_and_goes_with_its_service_s_word(
    run_module: RunModule, tmp_path: Path
) -> None:
    wanted = {"folder": str(tmp_path), "name": "whisperx", "service": SERVICE}
    run_module("registration", **wanted, has_key=True, key="SecretKey")
    assert not run_module("registration", **wanted, has_key=True)["changed"]
    assert (tmp_path / "whisperx.key").exists()
    assert run_module("registration", **wanted)["changed"]
    assert not (tmp_path / "whisperx.key").exists()


def test_what_is_gone_is_forgotten_once(run_module: RunModule, tmp_path: Path) -> None:
    wanted = {"folder": str(tmp_path), "name": "whisperx"}
    run_module("registration", **wanted, service=SERVICE, has_key=True, key="SecretKey")
    (tmp_path / "llm.json").touch()
    assert run_module("registration", **wanted, state="absent", check=True)["changed"]
    assert len(list(tmp_path.iterdir())) == 3
    for changes in (True, False):
        assert run_module("registration", **wanted, state="absent")["changed"] is changes
    assert [path.name for path in tmp_path.iterdir()] == ["llm.json"]
    missing = run_module("registration", folder=str(tmp_path / "no"), name="x", state="absent")
    assert not missing["changed"]


def test_a_service_is_forgotten_whatever_its_name_and_none_of_another_host_that_has_it(
    run_module: RunModule, tmp_path: Path
) -> None:
    diarizer = {**SERVICE, "kind": "diarize", "host": "spark2", "container": "parakeet"}
    others = [{"host": "spark1"}, {"container": "mine"}, {"kind": "asr"}]
    for number, other in enumerate([{}, *others]):
        name = f"service{number}"
        given = {"folder": str(tmp_path), "name": name, "has_key": True, "key": "SecretKey"}
        run_module("registration", **given, service={**diarizer, **other})
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    meant = {name: diarizer[name] for name in ("kind", "host", "container")}
    forget = {"folder": str(tmp_path), "name": "service1", "service": meant, "state": "absent"}
    paths = [str(tmp_path / "service0.json")]  # service1 is another host's
    foretold = run_module("registration", **forget, check=True)
    assert foretold["paths"] == paths
    assert len(list(tmp_path.iterdir())) == 10
    done = run_module("registration", **forget)
    assert (done["changed"], done["diff"]) == (True, foretold["diff"])
    left = [f"service{number}.{suffix}" for number in (1, 2, 3) for suffix in ("json", "key")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.json", "list.json", *left]
    again = run_module("registration", **forget)
    assert (again["changed"], again["paths"]) == (False, [])


@pytest.mark.parametrize("given", [{"state": "absent", "service": SERVICE}, {"service": SERVICE}])
def test_a_service_that_nothing_names_is_refused(
    run_module: RunModule, tmp_path: Path, given: dict[str, object]
) -> None:
    (tmp_path / "llm.json").write_text("{}")
    refused = run_module("registration", folder=str(tmp_path), **given)
    assert "missing required arguments: name" in refused["msg"]
    assert [path.name for path in tmp_path.iterdir()] == ["llm.json"]


@pytest.mark.parametrize("name", ["../x", "-x", "A", "a/b", ""])
def test_a_name_that_is_none_is_refused(run_module: RunModule, tmp_path: Path, name: str) -> None:
    refused = run_module("registration", folder=str(tmp_path / "f"), name=name, service=SERVICE)
    assert "is not the name of a service" in refused["msg"]
    assert not (tmp_path / "f").exists()


Register = Callable[..., dict[str, Any]]


@pytest.fixture
def register(run_module: RunModule, tmp_path: Path) -> Register:
    """Register Parakeet of a host, or forget it."""

    def register(name: str, host: str = "spark1", **options: object) -> dict[str, Any]:
        of = {"kind": "asr", "host": host, "container": "parakeet", **options.pop("of", {})}  # type: ignore[dict-item]
        given = {"folder": str(tmp_path), "name": name, "service": of, **options}
        return run_module("registration", **{"has_key": True, "key": "SecretKey", **given})

    return register


def test_what_it_was_called_before_is_forgotten_and_others_stay(
    register: Register, tmp_path: Path
) -> None:
    register("parakeet")
    register("sortformer", of={"kind": "diarize"})
    register("other", "spark2")
    (tmp_path / "broken.json").write_text("{")
    others = {"sortformer.json", "sortformer.key", "other.json", "other.key", "broken.json"}
    assert register("asr")["changed"]
    assert not register("asr")["changed"]
    there = {path.name for path in tmp_path.iterdir()}
    assert there == others | {"asr.json", "asr.key"}
    assert register("parakeet", state="absent")["changed"]
    assert {path.name for path in tmp_path.iterdir()} == others


@pytest.mark.parametrize("container", ["parakeet", ""])
def test_of_two_hosts_each_one_s_service_has_a_name_and_keeps_it(
    register: Register, tmp_path: Path, container: str
) -> None:
    of = {"container": container}
    hosts = ("spark1", "Spark_2", "spark0")
    named = {host: register("llm", host, of=of)["name"] for host in hosts}
    assert named == {"spark1": "llm", "Spark_2": "llm-spark-2", "spark0": "llm-spark0"}
    for host, name in named.items():
        told = json.loads((tmp_path / f"{name}.json").read_text())
        assert (told["name"], told["host"], told["api_key_file"]) == (name, host, f"{name}.key")
        for plain in (True, False):  # whatever its place in the inventory is now
            again = register("llm", host, of=of, plain=plain)
            assert (again["name"], again["changed"]) == (name, False)
    assert register("llm", "spark3", of=of, plain=False)["name"] == "llm-spark3"
    assert register("llm", of=of, state="absent")["paths"] == [str(tmp_path / "llm.json")]
    left = sorted(path.stem for path in tmp_path.glob("*.json"))
    assert left == ["llm-spark-2", "llm-spark0", "llm-spark3"]


def test_hosts_that_register_at_the_same_time_do_not_take_each_other_s_name(
    register: Register, tmp_path: Path
) -> None:
    hosts = [f"spark{number}" for number in range(6)]
    with ThreadPoolExecutor(len(hosts)) as pool:
        named = list(pool.map(lambda host: register("llm", host)["name"], hosts))
    assert len(set(named)) == len(hosts)
    told = [json.loads((tmp_path / f"{name}.json").read_text())["host"] for name in named]
    assert told == hosts
