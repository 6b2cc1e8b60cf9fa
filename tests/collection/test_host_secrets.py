"""A service's folder of secrets: a key that is made once, and nothing that is given no more."""

from pathlib import Path

import pytest

from tests.collection.conftest import RunModule


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_key_is_made_once_and_for_its_user_alone(run_module: RunModule, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "secrets"
    made = run_module("host_secrets", path=str(folder), key=True)
    assert made["changed"]
    assert len(made["key"]) == 43
    assert made["key"].isalnum()
    assert (folder / "key").read_text() == made["key"]
    assert (mode(folder), mode(folder / "key")) == (0o700, 0o600)
    again = run_module("host_secrets", path=str(folder), key=True)
    assert (again["changed"], again["key"]) == (False, made["key"])
    other = run_module("host_secrets", path=str(tmp_path / "other"), key=True)
    assert other["key"] != made["key"]


def test_check_mode_makes_neither_folder_nor_key(run_module: RunModule, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    foretold = run_module("host_secrets", path=str(folder), key=True, check=True)
    assert (foretold["changed"], foretold["key"]) == (True, "")
    assert not folder.exists()


def test_what_is_given_no_more_goes_and_what_is_given_stays(
    run_module: RunModule, tmp_path: Path
) -> None:
    key = run_module("host_secrets", path=str(tmp_path), key=True)["key"]
    for name in ("hf_token", "old_token"):
        (tmp_path / name).write_text(name)
    wanted = {"path": str(tmp_path), "key": True, "keep": ["hf_token", "not_there_yet"]}
    foretold = run_module("host_secrets", **wanted, check=True)
    assert foretold["diff"] == {"before": "hf_token\nkey\nold_token\n", "after": "hf_token\nkey\n"}
    assert (tmp_path / "old_token").exists()
    done = run_module("host_secrets", **wanted)
    assert done["changed"]
    assert done["key"] == key
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf_token", "key"]
    assert not run_module("host_secrets", **wanted)["changed"]


def test_a_key_that_is_wanted_no_more_goes(run_module: RunModule, tmp_path: Path) -> None:
    run_module("host_secrets", path=str(tmp_path), key=True)
    assert run_module("host_secrets", path=str(tmp_path))["key"] == ""
    assert not list(tmp_path.iterdir())


def test_rights_that_others_got_are_taken_away(run_module: RunModule, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    run_module("host_secrets", path=str(folder), key=True)
    folder.chmod(0o755)
    (folder / "key").chmod(0o644)
    assert run_module("host_secrets", path=str(folder), key=True)["changed"]
    assert (mode(folder), mode(folder / "key")) == (0o700, 0o600)


@pytest.mark.parametrize("name", ["../x", "-x", "a/b", "", "key", "a b"])
def test_a_name_that_is_none_is_refused(run_module: RunModule, tmp_path: Path, name: str) -> None:
    refused = run_module("host_secrets", path=str(tmp_path / "x"), keep=[name])
    assert "is no name of a secret" in refused["msg"]
    assert not (tmp_path / "x").exists()


def test_a_folder_that_cannot_be_made_is_a_message(run_module: RunModule, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = run_module("host_secrets", path=str(tmp_path / "file" / "secrets"))
    assert str(tmp_path / "file") in refused["msg"]
    assert "Traceback" not in refused["msg"]
