"""A service's folder of secrets: a key that is made once, and a set for each content."""

from pathlib import Path
from typing import Any

import pytest

from tests.collection.conftest import RunModule


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def given(folder: Path, **options: object) -> dict[str, Any]:
    return {"path": str(folder), "set": "one", "key": True, **options}


def test_a_key_is_made_once_and_for_its_user_alone(run_module: RunModule, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "secrets"
    made = run_module("host_secrets", **given(folder))
    assert (made["changed"], made["made"]) == (True, True)
    assert len(made["key"]) == 43
    assert made["key"].isalnum()
    assert (folder / "key").read_text() == (folder / "one/key").read_text() == made["key"]
    assert (mode(folder), mode(folder / "one"), mode(folder / "one/key")) == (0o700, 0o700, 0o600)
    again = run_module("host_secrets", **given(folder))
    assert (again["changed"], again["made"], again["key"]) == (False, False, made["key"])
    other = run_module("host_secrets", **given(tmp_path / "other"))
    assert other["key"] != made["key"]


def test_check_mode_makes_neither_folder_nor_key(run_module: RunModule, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    foretold = run_module("host_secrets", **given(folder), check=True)
    assert (foretold["changed"], foretold["key"]) == (True, "")
    assert not folder.exists()


def test_another_set_has_the_same_key_and_the_first_stays_until_it_is_the_only_one(
    run_module: RunModule, tmp_path: Path
) -> None:
    key = run_module("host_secrets", **given(tmp_path))["key"]
    second = run_module("host_secrets", **given(tmp_path, set="two", keep=["hf_token"]))
    assert (second["made"], second["key"]) == (True, key)
    assert (tmp_path / "two/key").read_text() == key
    assert (tmp_path / "one").is_dir()
    (tmp_path / "two/hf_token").write_text("hf_x")
    only = given(tmp_path, set="two", keep=["hf_token"], only=True)
    assert run_module("host_secrets", **only)["changed"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "two"]
    assert (tmp_path / "two/hf_token").read_text() == "hf_x"


def test_what_is_given_no_more_goes_and_what_is_given_stays(
    run_module: RunModule, tmp_path: Path
) -> None:
    key = run_module("host_secrets", **given(tmp_path))["key"]
    for name in ("one/hf_token", "one/old_token", "token_of_an_older_version"):
        (tmp_path / name).write_text(name)
    wanted = given(tmp_path, keep=["hf_token", "not_there_yet"])
    foretold = run_module("host_secrets", **wanted, check=True)
    assert foretold["changed"]
    assert (tmp_path / "one/old_token").exists()
    done = run_module("host_secrets", **wanted)
    assert (done["changed"], done["key"]) == (True, key)
    assert done["diff"]["after"] == "key\none/hf_token\none/key\n"
    assert not run_module("host_secrets", **wanted)["changed"]


def test_a_key_that_is_wanted_no_more_goes(run_module: RunModule, tmp_path: Path) -> None:
    run_module("host_secrets", **given(tmp_path))
    assert run_module("host_secrets", **given(tmp_path, key=False))["key"] == ""
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_rights_that_others_got_are_taken_away(run_module: RunModule, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    run_module("host_secrets", **given(folder))
    folder.chmod(0o755)
    (folder / "one/key").chmod(0o644)
    assert run_module("host_secrets", **given(folder))["changed"]
    assert (mode(folder), mode(folder / "one/key")) == (0o700, 0o600)


@pytest.mark.parametrize("name", ["../x", "-x", "a/b", "", "key", "a b"])
@pytest.mark.parametrize("option", ["set", "keep"])
def test_a_name_that_is_none_is_refused(
    run_module: RunModule, tmp_path: Path, option: str, name: str
) -> None:
    wrong = {option: name if option == "set" else [name]}
    refused = run_module("host_secrets", **given(tmp_path / "x", **wrong))
    assert "is no name of a secret" in refused["msg"]
    assert not (tmp_path / "x").exists()


def test_a_folder_that_cannot_be_made_is_a_message(run_module: RunModule, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = run_module("host_secrets", **given(tmp_path / "file" / "secrets"))
    assert str(tmp_path / "file") in refused["msg"]
    assert "Traceback" not in refused["msg"]
