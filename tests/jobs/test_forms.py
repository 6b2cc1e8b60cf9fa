"""Forms come from the roles' descriptions, and let through what is allowed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy_app.jobs.forms import FormError, check, fields
from proxy_app.jobs.kinds import KINDS, Kind
from tests.jobs.house import ROOT

ROLES = ROOT / "collections/ansible_collections/spark/speech/roles"
INSTALL = KINDS["whisperx.install"]


def refusal(given: dict[str, Any], kind: str = "whisperx.install") -> FormError:
    with pytest.raises(FormError) as caught:
        check(KINDS[kind], given, ROOT)
    return caught.value


def test_a_form_has_what_its_role_describes() -> None:
    form = {field.name: field for field in fields(INSTALL, ROOT)}
    model = form["whisperx_model"]
    assert (model.type, model.default, model.basic) == ("str", "medium", True)
    assert "large-v3" in model.choices
    assert form["whisperx_port"].default == 8002
    assert form["whisperx_settings"].type == "dict"
    assert "C(" not in "".join(field.help for field in form.values())


def test_a_new_variable_of_a_role_needs_no_code_here(tmp_path: Path) -> None:
    meta = tmp_path / "collections/ansible_collections/spark/speech/roles/whisperx/meta"
    meta.mkdir(parents=True)
    options = {"whisperx_new": {"type": "int", "default": 3, "description": ["New."]}}
    spec = {"argument_specs": {"main": {"options": options}}}
    (meta / "argument_specs.yml").write_text(yaml.safe_dump(spec))
    assert [field.name for field in fields(INSTALL, tmp_path)] == ["whisperx_new"]
    assert check(INSTALL, {"whisperx_new": 4}, tmp_path) == {"whisperx_new": 4}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_has_a_playbook_and_a_form_of_variables_that_its_role_has(kind: Kind) -> None:
    assert (ROOT / "playbooks" / kind.playbook).is_file()
    spec = yaml.safe_load((ROLES / kind.role / "meta/argument_specs.yml").read_text())
    options = spec["argument_specs"]["main"]["options"]
    form = {field.name for field in fields(kind, ROOT)}
    assert form | set(kind.fixed) | set(kind.secrets) | set(kind.basic) <= set(options)
    assert set(kind.basic) <= form
    assert not form & (set(kind.fixed) | set(kind.secrets))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_no_form_asks_for_a_file_of_the_machine_that_the_page_runs_on(kind: Kind) -> None:
    spec = yaml.safe_load((ROLES / kind.role / "meta/argument_specs.yml").read_text())
    options = spec["argument_specs"]["main"]["options"]
    here = {
        name for name, option in options.items() if "on this machine" in str(option["description"])
    }
    assert not here & {field.name for field in fields(kind, ROOT)}


@pytest.mark.parametrize(
    "name",
    [
        "ansible_connection",
        "ansible_ssh_common_args",
        "ansible_python_interpreter",
        "ansible_become_password",
        "whisperx_state",
        "whisperx_hf_token_file",
        "whisperx_state_dir",
        "_whisperx_env",
        "",
        "whisperx_model ",
        "whisperx_mоdel",  # noqa: RUF001 - the o is Cyrillic
    ],
)
def test_a_variable_that_the_form_has_not_is_refused(name: str) -> None:
    assert refusal({name: "x"}).param == name


@pytest.mark.parametrize(
    "value",
    [
        "{{ lookup('pipe', 'id') }}",
        "{% for x in y %}",
        "{# x #}",
        "-e",
        "@/etc/passwd",
        "a\nb",
        "a\x00b",
        "x" * 10_000,
        "spаrk",  # noqa: RUF001 - the a is Cyrillic
        7,
        ["a"],
        {"a": "b"},
        True,
    ],
)
def test_a_text_that_could_be_more_than_a_text_is_refused(value: object) -> None:
    assert refusal({"whisperx_container": value}).param == "whisperx_container"
    if not isinstance(value, bool | int):
        assert refusal({"whisperx_settings": {"ENGINE_X": value}}).param == "whisperx_settings"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("whisperx_port", "8002"),
        ("whisperx_port", True),
        ("whisperx_port", 1.5),
        ("whisperx_port", 2**60),
        ("whisperx_port", 0),
        ("whisperx_port", -8002),
        ("whisperx_port", 65_536),
        ("whisperx_start_timeout_s", 2**60),
        ("whisperx_auto_restart", "yes"),
        ("whisperx_auto_restart", 1),
        ("whisperx_model", "enormous"),
        ("whisperx_settings", "ENGINE_X=1"),
        ("whisperx_settings", {"engine x": "1"}),
        ("whisperx_settings", {"HF_TOKEN": "hf_x"}),
        *(
            ("whisperx_settings", {name: "x"})
            for name in (
                "ENGINE_API_KEY",
                "APIKEY",
                "API_KEY_2",
                "KEY2",
                "AWS_ACCESS_KEY_ID",
                "TOKENS",
                "DB_PASSWD",
                "DB_PASS",
                "PASSWORD_1",
                "MY_CREDENTIALS",
                "TOKEN_OF_MINE",
            )
        ),
        ("whisperx_settings", {f"A{number}": "x" for number in range(51)}),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(name: str, value: object) -> None:
    error = refusal({name: value})
    assert error.param == name
    assert str(error).startswith(name)
    assert "hf_x" not in str(error)


def test_a_setting_that_only_looks_like_a_secret_is_taken() -> None:
    names = ("TOKENIZERS_PARALLELISM", "KEYWORDS", "API_KEY_FILE", "PASSES", "COMPASS")
    given = {"whisperx_settings": dict.fromkeys(names, "x")}
    assert check(INSTALL, given, ROOT) == given


def test_a_field_that_was_left_empty_is_the_roles_own_business() -> None:
    for port in (1, 65_535):
        assert check(INSTALL, {"whisperx_port": port}, ROOT) == {"whisperx_port": port}
    given = {"whisperx_model": "", "whisperx_memory": None, "whisperx_port": 9}
    assert check(INSTALL, given, ROOT) == {"whisperx_port": 9}


def test_a_change_of_model_needs_a_model() -> None:
    assert refusal({}, "whisperx.model").param == "whisperx_model"


def test_a_kind_with_a_small_form_takes_nothing_else() -> None:
    assert check(KINDS["whisperx.model"], {"whisperx_model": "small"}, ROOT)
    assert refusal({"whisperx_port": 9}, "whisperx.model").param == "whisperx_port"
    assert refusal({"whisperx_model": "small"}, "whisperx.rollback").param == "whisperx_model"
    assert check(KINDS["whisperx.remove"], {"whisperx_purge": True}, ROOT)
