"""/api/hosts: which hosts there are and how they are, and the way to add one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, jsonify
from gevent.lock import BoundedSemaphore
from sqlalchemy import select

from proxy_app.api import jobs as jobs_api
from proxy_app.errors import RETRY_SOON, ApiError, BadRequestError
from proxy_app.gateway import Gateway, current
from proxy_app.hosts import checks, ssh
from proxy_app.hosts.metrics import ANSWERS_WITHIN_S
from proxy_app.hosts.own import Host, OwnHostsError, fingerprint
from proxy_app.hosts.trying import confirmed_keys, try_host
from proxy_app.jobs import ActiveJobError
from proxy_app.jobs.desk import Room
from proxy_app.jobs.project import Hosts, Login, ProjectError
from proxy_app.jobs.states import ACTIVE
from proxy_app.store import HostState, Job

bp = Blueprint("hosts", __name__, url_prefix="/api/hosts")

WHERE: dict[str, type] = {"address": str, "port": int}
_WHO = {**WHERE, "user": str, "fingerprint": str}
TRY = {**_WHO, "password": str}
ADD = {**_WHO, "name": str, "groups": list}
CHANGE = {**_WHO, "groups": list}
OPTIONAL = ("port", "password")
_DEFAULTS = {"port": 22}
_MISSED_LOOKS = 3
_NUMBERS = (
    "cpu", "cores", "load", "memory_total_bytes", "memory_available_bytes", "disk_total_bytes",
    "disk_free_bytes", "uptime_s",
)  # fmt: skip
# Each takes a connection to somewhere and a process.
_reaching_out = BoundedSemaphore(4)


@bp.get("")
def hosts() -> Response:
    """`{"hosts": [...], "error", "key": {"public", "fingerprint"}}`."""
    return jsonify(snapshot(current()))


@bp.post("/look")
def look() -> Response:
    """The keys that a host shows, for people to confirm: `{"keys": [...], "known"}`."""
    given = _given(WHERE)
    address, port = checks.address(given["address"]), checks.port(given["port"])
    room = current().room
    with _reaching():
        keys = ssh.scan(address, port, room.project.environment(os.environ))
    fingerprints = {key.fingerprint for key in keys}
    return jsonify(
        keys=[{"type": key.type, "fingerprint": key.fingerprint} for key in keys],
        known=bool(fingerprints & room.own_hosts.known(address, port)),
    )


@bp.post("/try")
def attempt() -> Response:
    """Log in; a password, if one is given, puts our key there: `{"ok", "detail", "found"}`."""
    given = _given(TRY)
    password = checks.password(given["password"]) if "password" in given else None
    room = current().room
    with _reaching():
        trial = try_host(
            room.own_hosts, _login(given), checks.fingerprint(given["fingerprint"]), password,
            room.project.environment(os.environ),
        )  # fmt: skip
    return jsonify(ok=trial.ok, detail=trial.detail, found=trial.found)


@bp.post("")
def add() -> tuple[Response, int]:
    """Add a host whose key was confirmed by its fingerprint."""
    given = _given(ADD)
    name, groups = checks.name(given["name"]), checks.groups(given["groups"])
    login, confirmed = _login(given), checks.fingerprint(given["fingerprint"])
    gateway = current()
    _refuse_taken(gateway.room.project.hosts(), name, login)
    with _reaching():
        keys = confirmed_keys(login, confirmed, gateway.room.project.environment(os.environ))
    _refuse_machine(gateway.room, name, keys)
    host = Host(
        name=name, address=login.address, port=login.port or 0, user=login.user or "",
        groups=groups, key=keys[0].line,
    )  # fmt: skip
    _forget(gateway, name)
    with gateway.room.desk.no_orders():
        # Once more: the keys may have taken half a minute to come, and somebody else adds it, too.
        _refuse_taken(gateway.room.project.hosts(), name, login)
        _refuse_machine(gateway.room, name, keys)
        if not gateway.room.own_hosts.add(host):
            raise _taken(f"There is a host of the name {name} already.")
    return jsonify(_one(gateway, name)), 201


@bp.patch("/<name>")
def change(name: str) -> Response:
    """Change how a host that was added here is reached, or what may be installed there.

    At another address it has to show the key that was confirmed; another key needs its fingerprint.
    """
    given = jobs_api.body(CHANGE)
    values = {field: getattr(checks, field)(value) for field, value in given.items()}
    gateway = current()
    room = gateway.room
    before = _idle(room, name, "change it there")
    confirmed = values.pop("fingerprint", None)
    after = replace(before, **values)
    if confirmed or (after.address, after.port) != (before.address, before.port):
        login = Login(address=after.address, port=after.port)
        others = {it: its for it, its in room.project.hosts().logins.items() if it != name}
        _refuse_address(others, login)
        wanted = confirmed or fingerprint(before.key.split()[1])
        with _reaching():
            keys = confirmed_keys(login, wanted, room.project.environment(os.environ))
        _refuse_machine(room, name, keys)
        values |= {"address": after.address, "port": after.port, "key": keys[0].line}
    with room.desk.no_orders():
        # Once more: a key may take half a minute to come, and jobs are asked for meanwhile.
        _idle(room, name, "change it there")
        room.own_hosts.change(name, **values)
    if values.keys() - {"groups"}:
        _forget(gateway, name)
    return jsonify(_one(gateway, name))


@bp.delete("/<name>")
def remove(name: str) -> tuple[str, int]:
    """Forget a host that was added here. What runs on it goes on, and stays registered."""
    room = current().room
    with room.desk.no_orders():
        _idle(room, name, "take it out there")
        room.own_hosts.remove(name)
    _forget(current(), name)
    return "", 204


def snapshot(gateway: Gateway) -> dict[str, Any]:
    """The hosts and how they are, as the page shows them."""
    room = gateway.room
    try:
        inventory, error = room.project.hosts(), None
        ours = {host.name for host in room.own_hosts.hosts()}
    except (ProjectError, OwnHostsError) as problem:
        inventory, error, ours = Hosts({}, {}), str(problem), set()
    with room.store.session() as session:
        states = {row.name: row for row in session.scalars(select(HostState))}
    oldest = time.time() - _MISSED_LOOKS * room.config.hosts_every_s - ANSWERS_WITHIN_S
    return {
        "hosts": [
            {
                "name": name,
                "address": login.address,
                "user": login.user,
                "port": login.port,
                "groups": [it for it in checks.GROUPS if name in inventory.groups.get(it, ())],
                "local": login.connection == "local",
                "own": name in ours,
                **_state(states.get(name), oldest),
            }
            for name, login in inventory.logins.items()
        ],
        "error": error,
        "key": _key(gateway),
    }


def _state(row: HostState | None, oldest: float) -> dict[str, Any]:
    """What is known of a host; nothing of it is told as if it were true of now when it is old."""
    state, detail, look = ("unknown", "", {}) if row is None else (row.state, row.detail, row.look)
    if row is not None and row.at < oldest:
        state, detail, look = "unknown", "Nobody has looked at it lately.", {}
    look = look or {}
    return {
        "state": state,
        "detail": detail,
        "at": row and jobs_api.time_text(row.at),
        "since": row and jobs_api.time_text(row.since),
        "gpus": look.get("gpus", []),
        "gpu_error": look.get("gpu_error"),
        **{number: look.get(number) for number in _NUMBERS},
        "containers": look.get("containers", []),
        "docker_error": look.get("docker_error"),
        "history": [
            {**point, "at": jobs_api.time_text(point["at"])}
            for point in (row.history if row else ())
        ],
    }


def _key(gateway: Gateway) -> dict[str, str] | None:
    """Our public key; None where there is no ssh to make it."""
    try:
        key = gateway.room.own_hosts.public_key()
    except OwnHostsError:
        return None
    return {"public": key.text, "fingerprint": key.fingerprint}


def _given(known: dict[str, type]) -> dict[str, Any]:
    given = {**_DEFAULTS, **jobs_api.body(known)}
    for name in known:
        if name not in given and name not in OPTIONAL:
            raise BadRequestError(f"`{name}` is missing.", param=name)
    return given


def _login(given: dict[str, Any]) -> Login:
    return Login(
        address=checks.address(given["address"]),
        port=checks.port(given["port"]),
        user=checks.user(given["user"]),
    )


def _idle(room: Room, name: str, do_it: str) -> Host:
    """A host that was added here and that no job works on."""
    host = room.own_hosts.one(name)
    if host is None:
        if name in room.project.hosts().logins:
            raise _taken(f"{name} is in the inventory of SPEECH_INVENTORY: {do_it}.")
        raise _unknown()
    job = room.jobs.last(Job.host == name, Job.state.in_(ACTIVE))
    if job is not None:
        raise ActiveJobError(job)
    return host


def _one(gateway: Gateway, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(it for it in snapshot(gateway)["hosts"] if it["name"] == name)
    return found


def _refuse_taken(hosts: Hosts, name: str, login: Login) -> None:
    if name in hosts.logins or name in hosts.groups:
        raise _taken(f"The inventory has {name} already: choose another name.")
    _refuse_address(hosts.logins, login)


def _refuse_address(logins: Mapping[str, Login], login: Login) -> None:
    for other, it in logins.items():
        if (checks.canonical(it.address), it.port or 22) == (login.address, login.port):
            raise _taken(f"{other} has this address already.")


def _refuse_machine(room: Room, name: str, keys: Sequence[ssh.HostKey]) -> None:
    """Two names of one machine would let two builds run on it at the same time."""
    shown = {key.line for key in keys}
    for other in room.own_hosts.hosts():
        if other.name != name and other.key in shown:
            raise _taken(
                f"{other.name} is this machine: it has the same host key. If it is another machine,"
                " a copy of that one, make host keys of its own there (ssh-keygen -A, once"
                " /etc/ssh/ssh_host_* are removed)."
            )


def _unknown() -> ApiError:
    return ApiError("There is no such host.", status=404, code="not_found")


def _taken(message: str) -> ApiError:
    return ApiError(message, status=409, code="host_exists")


def _forget(gateway: Gateway, name: str) -> None:
    """What was seen under this name was perhaps another machine."""
    with gateway.room.store.session() as session:
        row = session.get(HostState, name)
        if row is not None:
            session.delete(row)


@contextmanager
def _reaching() -> Iterator[None]:
    """A place among those that connect to somewhere; what goes wrong there is told."""
    if not _reaching_out.acquire(blocking=False):
        raise ApiError(
            "Other hosts are being tried. Try again in a moment.",
            status=503, code="busy", headers=RETRY_SOON,
        )  # fmt: skip
    try:
        yield
    except ssh.SshError as error:
        raise ApiError(str(error), status=422, code="host_unreachable") from None
    finally:
        _reaching_out.release()
