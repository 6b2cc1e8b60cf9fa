"""The roles as data: what they say they take is what they take, and all are built alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import role_docs

ROLES = {role.name: role for role in role_docs.roles()}
TYPES = {"str": str, "int": int, "bool": bool, "list": list, "dict": dict}
SKELETON = {
    "README.md",
    "defaults/main.yml",
    "meta/argument_specs.yml",
    "meta/main.yml",
    "tasks/main.yml",
}
TASK_NAME = re.compile(r"([A-Z][a-z]+ \| )?Ensure \S.*[^.]")
OF_TASKS = ("ansible.builtin.include_tasks", "ansible.builtin.import_tasks")
# The variables of the whole site, which a role reads in its defaults.
SITE = "speech_"

each_role = pytest.mark.parametrize("name", sorted(ROLES))


def options(name: str) -> dict[str, Any]:
    """What a role takes."""
    found: dict[str, Any] = role_docs.specification(ROLES[name])["options"]
    return found


def defaults(name: str) -> dict[str, Any]:
    """What it is given where nobody says."""
    found: dict[str, Any] = role_docs.load(ROLES[name] / "defaults/main.yml")
    return found


def variables(name: str) -> dict[str, Any]:
    """Its private variables."""
    path = ROLES[name] / "vars/main.yml"
    found: dict[str, Any] = role_docs.load(path) if path.exists() else {}
    return found


def tasks(name: str) -> Iterator[dict[str, Any]]:
    """Every task and block of a role, at whatever depth."""
    for path in sorted((ROLES[name] / "tasks").glob("*.yml")):
        yield from flattened(role_docs.load(path))


def flattened(listed: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in listed:
        yield task
        for part in ("block", "rescue", "always"):
            yield from flattened(task.get(part, []))


def is_template(value: object) -> bool:
    return "{{" in str(value)


def all_options(told: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each option, and those inside of it."""
    for option, spec in told.items():
        yield option, spec
        yield from all_options(spec.get("options", {}))


@each_role
def test_every_option_has_a_default_or_is_required_and_every_default_is_described(
    name: str,
) -> None:
    required = {option for option, spec in options(name).items() if spec.get("required")}
    assert not required & set(defaults(name))
    assert set(defaults(name)) | required == set(options(name))


@each_role
def test_every_option_has_a_known_type_and_a_description(name: str) -> None:
    for option, spec in all_options(options(name)):
        assert spec["type"] in TYPES, option
        assert ("elements" in spec) is (spec["type"] == "list"), option
        for paragraph in spec["description"]:
            assert paragraph.endswith("."), option


@each_role
def test_a_default_that_is_told_is_the_real_one_and_fits(name: str) -> None:
    for option, value in defaults(name).items():
        spec = options(name)[option]
        if is_template(value):
            found = role_docs.FROM_VARIABLE.match(value)
            fallback = found[2] if found else None
            assert spec.get("default", fallback) == fallback, f"{option}: it really is {value}"
            continue
        # An empty text is what a role takes for nothing said; its description tells what then.
        assert spec.get("default", "") == value, option
        assert type(value) is TYPES[spec["type"]], option
        if value != "":
            assert value in spec.get("choices", [value]), option


@each_role
def test_names_tell_what_is_public_what_is_private_and_what_is_registered(name: str) -> None:
    assert all(re.fullmatch(f"{name}_(?!_)\\w+", option) for option in options(name))
    assert all(re.fullmatch(f"_{name}_(?!_)\\w+", variable) for variable in variables(name))
    for task in tasks(name):
        if "register" in task:
            assert re.fullmatch(f"__{name}_(?!_)\\w+", task["register"]), task["name"]
        for fact in task.get("ansible.builtin.set_fact", {}):
            assert re.fullmatch(f"_{name}_(?!_)\\w+", fact), task["name"]
        if "loop_var" in task.get("loop_control", {}):
            assert task["loop_control"]["loop_var"].startswith(f"{name}__"), task["name"]


@each_role
def test_a_role_reads_no_variable_of_its_own_that_nobody_sets(name: str) -> None:
    text = "\n".join(path.read_text() for path in ROLES[name].glob("[dtv]*/*.yml"))
    text = re.sub(r"^\s*#.*$|'[^'{}]*/[^'{}]*'", "", text, flags=re.MULTILINE)
    read = set(re.findall(rf"(?<![\w./-])_{{0,2}}{name}_\w+", text))
    known = set(options(name)) | set(variables(name))
    for task in tasks(name):
        known.add(task.get("register", ""))
        known.update(task.get("ansible.builtin.set_fact", {}))
        known.update(task.get("vars", {}))
        known.add(task.get("loop_control", {}).get("loop_var", ""))
    assert read - known == set()
    assert set(options(name)) - read == set(), "an option that nothing reads"


@each_role
def test_what_a_role_gives_to_another_is_an_option_there(name: str) -> None:
    given = [task for task in tasks(name) if "ansible.builtin.include_role" in task]
    for task in given:
        other = task["ansible.builtin.include_role"]["name"].removeprefix("spark.speech.")
        assert set(task.get("vars", {})) <= set(options(other)), task["name"]
        for option in {"managed_service_build", "managed_service_run"} & set(task["vars"]):
            assert set(task["vars"][option]) <= set(options(other)[option]["options"])


@each_role
def test_all_roles_have_the_same_skeleton(name: str) -> None:
    role = ROLES[name]
    files = {str(path.relative_to(role)) for path in role.rglob("*") if path.is_file()}
    assert files >= SKELETON
    others = files - SKELETON - {"vars/main.yml"}
    assert all(re.fullmatch(r"tasks/[a-z_]+\.yml", other) for other in others), others


@each_role
def test_main_only_includes_and_every_file_of_tasks_begins_with_a_name(name: str) -> None:
    for task in flattened(role_docs.load(ROLES[name] / "tasks/main.yml")):
        modules = {*OF_TASKS, "ansible.builtin.include_role"} & set(task)
        parts = {"block", "rescue", "always"} & set(task)
        assert modules or parts, f"{task['name']}: a file of its own, please"
        assert set(task) <= {"name", "when", "vars", *modules, *parts}, task["name"]
    for task in tasks(name):
        assert TASK_NAME.fullmatch(task["name"]), task["name"]


@each_role
def test_every_file_that_is_included_is_there_and_every_file_is_included(name: str) -> None:
    files = {path.stem for path in (ROLES[name] / "tasks").glob("*.yml")}
    paths = {task[module] for task in tasks(name) for module in OF_TASKS if module in task}
    included = {"main", *(Path(path).stem for path in paths if not is_template(path))}
    assert included <= files
    # The rest is chosen by a state, or by a verb of this role or of one that uses it.
    told = [str(options(name).get(f"{name}_state")), str(variables(name).get(f"_{name}_verb"))]
    for role in ROLES:
        given = [task.get("vars", {}) for task in tasks(role)]
        told += [str(part.get(f"{role}__verb")) for part in given]
        for task in tasks(role):
            use = task.get("ansible.builtin.include_role", {})
            if use.get("name") == f"spark.speech.{name}" and "tasks_from" in use:
                told.append(use["tasks_from"])
    assert files <= included | set(re.findall(r"\w+", " ".join(told)))


@each_role
def test_a_role_promises_check_mode_diff_and_idempotence_in_words(name: str) -> None:
    text = " ".join(role_docs.specification(ROLES[name])["description"])
    assert "Promises - check mode foretells" in text
    assert "diff shows what" in text
    assert "a second run changes nothing" in text


def test_defaults_of_the_whole_site_are_used_under_the_same_name() -> None:
    for name in ROLES:
        for option, value in defaults(name).items():
            found = re.search(rf"\b{SITE}(\w+)", str(value))
            if found:
                assert option == f"{name}_{found[1]}"


def test_pages_are_as_the_roles_and_modules_say() -> None:
    stale = [
        str(path.relative_to(role_docs.ROOT))
        for path, text in role_docs.pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert stale == [], "tools/role_docs.py writes them anew"


def test_the_example_of_each_page_is_a_play_with_options_that_the_role_has() -> None:
    for name, role in ROLES.items():
        (text,) = re.findall(r"```yaml\n(.*?)```", (role / "README.md").read_text(), re.DOTALL)
        (play,) = yaml.safe_load(text)
        (use,) = play["roles"]
        assert use.pop("role") == f"spark.speech.{name}"
        assert set(use) <= set(options(name))
