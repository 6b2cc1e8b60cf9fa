#!/usr/bin/python
# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0), which may be
# combined with the GNU General Public License v3.0 that Ansible itself is under
# SPDX-License-Identifier: Apache-2.0
"""Ask a service whether it is ready, and whether there is any use in waiting for it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_probe
short_description: Ask a service whether it is ready
description:
  - Sends one GET request and looks at the container behind it. Says whether the service is ready,
    and if it is not, whether waiting can help and what the end of its log says.
  - It asks once, so that C(until) and C(retries) decide how long to wait.
  - A redirect is not followed. It counts as an answer that is not ready.
version_added: 0.1.0
author: Spark Speech (@spark-speech)
options:
  url:
    description: What to GET, http:// and with O(https) also https://.
    type: str
    required: true
  https:
    description: Accept an https:// address. Its certificate has to be one that this host trusts.
    type: bool
    default: false
  validate_certs:
    description:
      - Whether the certificate of an https:// address has to be trusted and made out for it. Leave
        that out only where the service is on this very host.
    type: bool
    default: true
  expect:
    description:
      - What the JSON object of the answer has to hold, all of it. A key is the name of a value, or
        the names that lead to it with V(/) between them.
      - Without it any answer from 200 to 299 is ready.
    type: dict
    default: {}
  gives_up:
    description:
      - What the JSON of its answer holds where there is no use in waiting, written as O(expect) is.
        Where it is empty, no answer means that.
    type: dict
    default: {}
  container:
    description: The container that serves it, for its state and its log.
    type: str
  timeout_s:
    description: Seconds for the whole of the request.
    type: int
    default: 10
  api_key_file:
    description: A file on the host whose only line is sent as bearer token. It is never shown.
    type: path
  wait_s:
    description: How many seconds to ask again for while it is neither ready nor over.
    type: int
    default: 0
  log_lines:
    description: How many lines of the container's log are returned when it is not ready.
    type: int
    default: 40
attributes:
  check_mode:
    description: It only asks, in check mode too.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
  idempotent:
    description: It changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Verify | Ensure both models are loaded
  spark.speech.service_probe:
    url: http://127.0.0.1:8002/health
    expect:
      whisper_loaded: true
      diarizer_loaded: true
    container: whisperx-asr
    api_key_file: ~/.spark-speech/whisperx/key
    wait_s: 3
  register: probe
  until: probe.ready or probe.over
  retries: 300
  delay: 0
  failed_when: not probe.ready
"""

RETURN = r"""
ready:
  description: Whether it answered as expected.
  returned: success
  type: bool
over:
  description:
    - Whether there is no use in waiting - the container is absent, has ended, is paused or dies
      again and again, or the service says that it has given up.
  returned: success
  type: bool
state:
  description: The container's state in Docker's words, or V(absent). Empty if none was named.
  returned: success
  type: str
  sample: running
status:
  description: The HTTP status, 0 without an answer.
  returned: success
  type: int
  sample: 200
said:
  description: How it is, in a sentence.
  returned: success
  type: str
  sample: "http://127.0.0.1:8002/health: connection refused. Container whisperx-asr is running."
body:
  description: The JSON of the answer, null if it was none.
  returned: success
  type: raw
  sample: {"whisper_loaded": true, "diarizer_loaded": false}
log:
  description: The end of the container's log. Empty when it is ready.
  returned: success
  type: str
"""

import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.spark.speech.plugins.module_utils.docker_cli import (
    Docker,
    name_problem,
    trouble,
)

_MAX_BODY_BYTES = 64 * 1024
_MAX_LINE_CHARS = 2000
_MAX_KEY_BYTES = 4096
_MAX_TIMEOUT_S = 600
_ASKS_EVERY_S = 1
_MAX_LOG_LINES = 1000
_HIDDEN = "(hidden)"
# Colours and other control characters.
_NO_TEXT = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
# Three deaths since somebody started it: Docker would go on for ever.
_HOPELESS_RESTARTS = 3
_SIGKILLED = 137


class ParameterError(Exception):
    """A parameter that cannot be used; the message says what is expected."""


class Answer(NamedTuple):
    """What came back: the HTTP status (0: nothing), the JSON if it was any, and what is wrong."""

    status: int
    body: Any
    problem: str


class Behind(NamedTuple):
    """The container behind a service: Docker's word for its state, and a sentence about it."""

    state: str
    over: bool
    said: str


def target(url: str, *, https: bool) -> SplitResult:
    """Take an address apart.

    Raises:
        ParameterError: it is none that may be asked.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ParameterError(f"url {url!r} is no address: {error}.") from None
    if not url.isprintable() or " " in url or not url.isascii():
        raise ParameterError(f"url {url!r} may hold neither spaces nor special characters.")
    if parts.scheme == "https" and not https:
        raise ParameterError(f"url {url!r} is https: set `https: true` if that is meant.")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ParameterError(f"url {url!r} is no address like http://127.0.0.1:8002/health.")
    if parts.username is not None:
        raise ParameterError("url may hold no user and password: give a key as api_key_file.")
    return parts


def read_key(path: str) -> str:
    """Read the key of a file.

    Raises:
        ParameterError: there is none that fits into a header.
    """
    try:
        with Path(path).open("rb") as file:
            key = file.read(_MAX_KEY_BYTES + 1).decode("ascii").strip()
    except OSError as error:
        raise ParameterError(f"api_key_file {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        key = ""
    if not key or len(key) > _MAX_KEY_BYTES or not key.isprintable() or " " in key:
        raise ParameterError(f"api_key_file {path} must hold one line of ASCII without spaces.")
    return key


def connection_to(
    parts: SplitResult, timeout_s: float, *, validate: bool
) -> http.client.HTTPConnection:
    """Make the connection, which is not opened yet."""
    host = str(parts.hostname)
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    context = ssl.create_default_context()
    if not validate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=context)


def ask(parts: SplitResult, timeout_s: float, key: str, *, validate: bool = True) -> Answer:
    """Send the request, and read at most 64 kB of the answer within `timeout_s` altogether."""
    connection = connection_to(parts, timeout_s, validate=validate)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Accept": "application/json", "User-Agent": "spark-speech", "Connection": "close"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    with _deadline(connection, timeout_s) as passed:
        try:
            connection.connect()
            if not passed.is_set():
                connection.request("GET", path, headers=headers)
                response = connection.getresponse()
                raw = response.read(_MAX_BODY_BYTES + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if not passed.is_set() and not isinstance(error, socket.timeout):
                return Answer(0, None, _words(error))
            passed.set()
        finally:
            connection.close()
        if passed.is_set():
            return Answer(0, None, f"no whole answer within {timeout_s:g} s")
    return _judged(response.status, raw, key)


@contextlib.contextmanager
def _deadline(
    connection: http.client.HTTPConnection, timeout_s: float
) -> Iterator[threading.Event]:
    """End the connection when the time is over: its own timeout starts again with every byte."""
    passed = threading.Event()

    def end() -> None:
        passed.set()
        with contextlib.suppress(OSError, AttributeError):  # not yet connected, or not any more
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield passed
    finally:
        timer.cancel()


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"this host does not trust its certificate ({error.verify_message})"
    if isinstance(error, socket.gaierror):
        return f"its name is not known on this host ({error.strerror})"
    if isinstance(error, (http.client.RemoteDisconnected, ConnectionResetError)):
        return "it closed the connection without an answer"
    if isinstance(error, http.client.HTTPException):
        return f"it does not speak HTTP ({type(error).__name__})"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def _judged(status: int, raw: bytes, key: str) -> Answer:
    body = None
    with contextlib.suppress(ValueError, RecursionError):
        body = masked(json.loads(raw), key)
    problem = ""
    if 300 <= status < 400:  # noqa: PLR2004 - redirects
        problem = f"it redirects (HTTP {status}), which is not followed: give the final address"
    elif status in (401, 403):
        problem = f"it refuses the key (HTTP {status}): look at api_key_file"
    elif not 200 <= status < 300:  # noqa: PLR2004 - successes
        detail = body.get("detail") if isinstance(body, dict) else None
        problem = f"it answers HTTP {status}" + (f" ({detail})"[:_MAX_LINE_CHARS] if detail else "")
    elif len(raw) > _MAX_BODY_BYTES:
        problem, body = "its answer is longer than 64 kB", None
    return Answer(status, body, problem)


def unmet(body: Any, expect: dict[str, Any]) -> str:  # noqa: ANN401 - any JSON
    """Say what of `expect` a JSON value does not hold; empty: it holds everything."""
    if expect and not isinstance(body, dict):
        return "its answer is no JSON object"
    wrong = []
    for key, wanted in expect.items():
        found: Any = body
        for name in key.strip("/").split("/"):
            found = found.get(name) if isinstance(found, dict) else None
        # As JSON: in Python 1 == True, here a counter is no flag.
        if json.dumps(found, sort_keys=True) != json.dumps(wanted, sort_keys=True):
            wrong.append(f"{key} is {json.dumps(found)[:80]}, not yet {json.dumps(wanted)[:80]}")
    return ", ".join(wrong)


def behind(docker: Docker, name: str) -> Behind:
    """Look at a container; a Docker that does not answer is said, and may answer the next time."""
    result = docker.run(["container", "inspect", name], check=False, timeout=60)
    if result.rc != 0 and "no such" in result.err.lower():
        return Behind("absent", True, f"There is no container {name}.")
    if result.rc != 0:
        return Behind("", False, " ".join(trouble(result)).strip())
    found = json.loads(result.out)[0]
    if found["Name"] != f"/{name}":  # Docker also takes the beginning of an id for a name
        return Behind("absent", True, f"There is no container {name}.")
    return judge(name, found)


def judge(name: str, found: dict[str, Any]) -> Behind:
    """Tell from what Docker knows of a container how it is, and whether it may still get ready."""
    state, restarts = found["State"], int(found.get("RestartCount", 0))
    status, code = state["Status"], state["ExitCode"]
    killed = "was killed by the kernel, out of memory" if state["OOMKilled"] else ""
    if status in ("exited", "dead"):
        ended = killed + _limit(found) if killed else _ended(code, found)
        said, over = f"Container {name} {ended}.", True
    elif status == "created":
        said, over = f"Container {name} was made but never started{_error(state)}.", True
    elif status in ("paused", "removing"):
        todo = f": run `docker unpause {name}`" if status == "paused" else ""
        said, over = f"Container {name} is {status}{todo}.", True
    else:
        over = restarts >= _HOPELESS_RESTARTS
        health = state.get("Health", {}).get("Status")
        said = f"Container {name} is {status}" + (f" ({health})" if health else "")
        said += f", a process in it {killed}{_limit(found)}" if killed else ""
        if restarts:
            said += f", started {restarts} more times because it died"
            said += f" (last it {_ended(code, found)})" if status == "restarting" else ""
        said += "."
    return Behind(status, over, said)


def _ended(code: int, found: dict[str, Any]) -> str:
    if code != _SIGKILLED:
        return f"ended with exit status {code}"
    if not found["HostConfig"]["Memory"]:
        return "was killed"
    # Docker does not always hear that it was the kernel, and why.
    return f"was killed, by somebody or for want of memory{_limit(found)}"


def _limit(found: dict[str, Any]) -> str:
    limit = found["HostConfig"]["Memory"]
    if not limit:
        return " (of the machine)"
    size = f"{limit / 2**30:.3g} GiB" if limit >= 2**30 else f"{limit / 2**20:.0f} MiB"
    return f" (its limit is {size})"


def _error(state: dict[str, Any]) -> str:
    return f": {state['Error']}" if state["Error"] else ""


def log_tail(docker: Docker, name: str, lines: int, key: str) -> str:
    """Read the end of a container's log, what it wrote to stdout and stderr in order of time."""
    if lines == 0:
        return ""
    arguments = ["logs", "--timestamps", "--tail", str(lines), name]
    result = docker.run(arguments, check=False, timeout=60)
    if result.rc != 0:
        return ""
    # The times have one width, so that they sort as text.
    stamped = sorted((result.out + result.err).splitlines(), key=lambda line: line.split(" ")[0])
    texts = (_NO_TEXT.sub("", line.partition(" ")[2]) for line in stamped[-lines:])
    # Masked before it is cut, or a part of the key would be left.
    return "\n".join(masked(text, key)[:_MAX_LINE_CHARS] for text in texts)


def masked(value: Any, secret: str) -> Any:  # noqa: ANN401 - any JSON
    """Hide a secret wherever it occurs."""
    if not secret:
        return value
    if isinstance(value, str):
        return value.replace(secret, _HIDDEN)
    if isinstance(value, list):
        return [masked(item, secret) for item in value]
    if isinstance(value, dict):
        return {masked(key, secret): masked(item, secret) for key, item in value.items()}
    return value


def main() -> None:
    """Run as Ansible's module."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "https": {"type": "bool", "default": False},
            "validate_certs": {"type": "bool", "default": True},
            "expect": {"type": "dict", "default": {}},
            "gives_up": {"type": "dict", "default": {}},
            "container": {"type": "str"},
            "timeout_s": {"type": "int", "default": 10},
            "api_key_file": {"type": "path", "no_log": False},
            "wait_s": {"type": "int", "default": 0},
            "log_lines": {"type": "int", "default": 40},
        },
        supports_check_mode=True,
    )
    try:
        result = probe(Docker(module), module.params)
    except ParameterError as error:
        module.fail_json(msg=str(error))
        return
    module.exit_json(changed=False, **result)


def probe(docker: Docker, params: dict[str, Any]) -> dict[str, Any]:
    """Ask the service and look at its container.

    Raises:
        ParameterError: a parameter cannot be used.
    """
    url, container = params["url"], params["container"]
    if container is not None and name_problem("container", container):
        raise ParameterError(str(name_problem("container", container)))
    bounds = (
        ("timeout_s", 1, _MAX_TIMEOUT_S),
        ("wait_s", 0, _MAX_TIMEOUT_S),
        ("log_lines", 0, _MAX_LOG_LINES),
    )
    for name, least, most in bounds:
        if not least <= params[name] <= most:
            raise ParameterError(f"{name} must be from {least} to {most}, not {params[name]}.")
    parts = target(url, https=params["https"])
    key = read_key(params["api_key_file"]) if params["api_key_file"] else ""

    deadline = time.monotonic() + params["wait_s"]
    while True:
        answer = ask(parts, params["timeout_s"], key, validate=params["validate_certs"])
        problem = answer.problem or unmet(answer.body, params["expect"])
        place = behind(docker, container) if container else Behind("", over=False, said="")
        given_up = bool(params["gives_up"]) and not unmet(answer.body, params["gives_up"])
        over = bool(problem) and (place.over or given_up)
        if not problem or over or time.monotonic() + _ASKS_EVERY_S > deadline:
            break
        time.sleep(_ASKS_EVERY_S)
    log = log_tail(docker, container, params["log_lines"], key) if problem and container else ""
    return {
        "ready": not problem,
        "over": over,
        "state": place.state,
        "status": answer.status,
        "said": f"{url}: {problem}. {place.said}".strip() if problem else f"{url} is ready.",
        "body": answer.body,
        "log": log,
    }


if __name__ == "__main__":
    main()
