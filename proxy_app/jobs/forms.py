"""Forms, from the roles' argument_specs: which variables a job takes, and which values.

What is let through is a list of what is allowed, never of what is not: a variable's value reaches
Ansible, and through it shells and Docker on another machine.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from proxy_app.jobs.kinds import Kind

_LONGEST = 300
_MOST = 50
_LAST_PORT = 65_535
_TEMPLATE = re.compile(r"\{[{%#]")
_SETTING = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
# Not TOKENIZERS_PARALLELISM, and not a file's name.
_SECRET = re.compile(
    r"(?!.*_(FILE|PATH)$).*"
    r"((KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL)S?|_PASS|_PWD)([0-9_]|$)"
)
_MARKUP = re.compile(r"\b[A-Z]\(([^)]*)\)")
# What makes a job the kind that it is, and whose it is; and files of the machine that the page runs
# on, which are for who writes its inventory and not for who may use the page.
_NOT_ASKED = re.compile(
    r"_(state|rollback|purge|state_dir|by|break_lock|sources"
    r"|file|wheelhouse|pip_conf|apt_sources|ca_bundle)$"
)


class FormError(ValueError):
    """A variable that a job does not take; `param` names it."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Field:
    """One variable as a form shows it."""

    name: str
    type: str
    """str, int, bool, dict or list."""
    help: str
    default: Any
    """None where the role finds it out by itself."""
    choices: tuple[str, ...]
    required: bool
    basic: bool


def fields(kind: Kind, project: Path) -> list[Field]:
    """The form of a kind.

    Raises:
        OSError: the role's description cannot be read.
    """
    found = []
    for name, spec in _options(project, kind.role).items():
        asked = not _NOT_ASKED.search(name) if kind.only is None else name in kind.only
        if not asked or name in kind.fixed:
            continue
        help_ = _MARKUP.sub(r"\1", " ".join(spec.get("description", [])))
        found.append(
            Field(
                name=name,
                type=spec.get("type", "str"),
                help=help_,
                default=spec.get("default"),
                choices=tuple(spec.get("choices", ())),
                required=name in kind.needs,
                basic=name in kind.basic,
            )
        )
    return found


def check(kind: Kind, given: Mapping[str, Any], project: Path) -> dict[str, Any]:
    """The variables of a job, each of which its form has, with a value that it takes.

    Raises:
        FormError: naming the variable and what is expected.
    """
    known = {field.name: field for field in fields(kind, project)}
    for name in given:
        if name not in known:
            raise FormError(name[:100], f"{kind.title}: there is no such variable.")
    # An empty field of a form is one that was left alone.
    values = {name: value for name, value in given.items() if value not in ("", None)}
    for name, value in values.items():
        _check(known[name], value)
    for name in kind.needs:
        if name not in values:
            raise FormError(name, f"{name} is missing.")
    return values


@functools.lru_cache(maxsize=32)
def _options(project: Path, role: str) -> dict[str, Any]:
    path = project / "collections/ansible_collections/spark/speech/roles" / role
    text = (path / "meta/argument_specs.yml").read_text(encoding="utf-8")
    options: dict[str, Any] = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    return options


def _check(field: Field, value: object) -> None:
    checks: dict[str, Callable[[str, Any], None]] = {
        "str": _text,
        "int": _number,
        "bool": lambda name, it: _expect(isinstance(it, bool), name, "true or false"),
        "dict": _settings,
        "list": _texts,
    }
    checks[field.type](field.name, value)
    if field.choices and value not in field.choices:
        raise FormError(field.name, f"{field.name}: expected one of {', '.join(field.choices)}.")


def _expect(condition: bool, name: str, expected: str) -> None:
    if not condition:
        raise FormError(name, f"{name}: expected {expected}.")


def _number(name: str, value: object) -> None:
    # The roles' descriptions have no bounds, and Docker would tell after half an hour's build.
    if name.endswith("_port"):
        _expect(type(value) is int and 1 <= value <= _LAST_PORT, name, f"1 to {_LAST_PORT}")
    _expect(type(value) is int and abs(value) < 2**53, name, "a whole number")


def _text(name: str, value: object) -> None:
    plain = isinstance(value, str) and value.isascii() and value.isprintable()
    if not isinstance(value, str) or not plain or len(value) > _LONGEST:
        raise FormError(name, f"{name}: expected up to {_LONGEST} plain characters (ASCII).")
    if value.startswith(("-", "@")) or _TEMPLATE.search(value):
        raise FormError(name, f"{name}: a value does not begin with - or @ and is no template.")


def _texts(name: str, value: object) -> None:
    if not isinstance(value, list) or len(value) > _MOST:
        raise FormError(name, f"{name}: expected a list of up to {_MOST} texts.")
    for item in value:
        _text(name, item)


def _settings(name: str, value: object) -> None:
    if not isinstance(value, dict) or len(value) > _MOST:
        raise FormError(name, f"{name}: expected up to {_MOST} settings by name.")
    for key, item in value.items():
        if not isinstance(key, str) or not _SETTING.fullmatch(key):
            raise FormError(name, f"{name}: names are capitals, digits and underscores.")
        if _SECRET.match(key):
            raise FormError(name, f"{name}: {key} would be a secret, which everybody could read.")
        if not isinstance(item, bool | int | float):
            _text(name, item)
