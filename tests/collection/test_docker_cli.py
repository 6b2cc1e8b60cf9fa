"""The docker command line as the modules use it: names, errors in words, inspection."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from ansible_collections.spark.speech.plugins.module_utils import docker_cli
from ansible_collections.spark.speech.plugins.module_utils.docker_cli import Docker, Result


class FailJsonError(Exception):
    """What fail_json ends a module with."""


class Module:
    """What docker_cli asks of an AnsibleModule: to end."""

    def fail_json(self, msg: str, **values: object) -> NoReturn:
        raise FailJsonError(msg, values)


ADocker = Callable[[str], Docker]


@pytest.fixture
def a_docker_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ADocker:
    """Make a docker command of a Python script, the first in the PATH."""

    def make(script: str) -> Docker:
        binary = tmp_path / "docker"
        binary.write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
        binary.chmod(0o755)
        return Docker(Module())

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return make


@pytest.mark.parametrize(
    ("kind", "name", "good"),
    [
        ("service", "whisperx", True),
        ("service", "magpie-2", True),
        ("service", "WhisperX", False),
        ("service", "-x", False),
        ("service", "a" * 42, False),
        ("service", "x\n", False),
        ("service", "", False),
        ("container", "whisperx-asr", True),
        ("container", "A.b_c-1", True),
        ("container", "--privileged", False),
        ("container", "a;id", False),
        ("container", "{{ x }}", False),
        ("container", "a" * 129, False),
        ("image", "registry:5000/a/b:tag@sha256:0f", True),
        ("image", "-f", False),
        ("image", "a b", False),
        ("image", "a:b\n", False),
    ],
)
def test_a_name_that_could_be_an_option_or_a_command_is_refused(
    kind: str, name: str, good: bool
) -> None:
    problem = docker_cli.name_problem(kind, name)
    assert (problem is None) == good
    if problem:
        assert repr(name) in problem
        assert kind in problem


def test_check_names_fails_at_the_first_bad_name_and_passes_what_is_not_given() -> None:
    docker_cli.check_names(Module(), service="whisperx", image=None)
    with pytest.raises(FailJsonError, match="container"):
        docker_cli.check_names(Module(), service="whisperx", container="-x")


@pytest.mark.parametrize(
    ("result", "said", "todo"),
    [
        (Result(127, "", "There is no `docker`"), "no `docker`", "Install Docker"),
        (
            Result(
                1,
                "",
                "Got permission denied while trying to connect to the Docker daemon socket at "
                "unix:///var/run/docker.sock: dial unix: connect: permission denied",
            ),
            "may not talk",
            "docker group",
        ),
        (
            Result(
                1,
                "",
                "permission denied while trying to connect to the docker API at "
                "unix:///var/run/docker.sock",
            ),
            "may not talk",
            "log in again",
        ),
        (
            Result(1, "", "Cannot connect to the Docker daemon at unix:///x. Is it running?"),
            "does not answer",
            "systemctl start docker",
        ),
        (Result(125, "", "Error: something else"), "Error: something else", ""),
        (Result(125, "on stdout", ""), "on stdout", ""),
        (Result(3, "", ""), "exit status 3", ""),
    ],
)
def test_a_failure_of_docker_is_told_with_what_to_do(result: Result, said: str, todo: str) -> None:
    why = docker_cli.trouble(result)
    assert said in why.said
    assert todo in why.todo
    assert bool(todo) == bool(why.todo)


def test_a_host_without_docker_says_so_and_only_ends_the_module_when_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(docker_cli, "_MORE_FOLDERS", "")
    docker = Docker(Module())
    assert docker.run(["ps"], check=False).rc == 127
    with pytest.raises(FailJsonError, match="Install Docker"):
        docker.run(["ps"])


def test_arguments_and_stdin_reach_docker_as_they_are(a_docker_that: ADocker) -> None:
    docker = a_docker_that("print(sys.argv[1:], sys.stdin.read(), end='')")
    assert docker.run(["a b", "$(id)", "; id"], stdin="in").out == "['a b', '$(id)', '; id'] in"
    assert docker.run(["a"]).out == "['a'] "


def test_a_docker_that_hangs_is_given_up(a_docker_that: ADocker) -> None:
    docker = a_docker_that("import time; time.sleep(60)")
    result = docker.run(["ps"], check=False, timeout=0.5)
    assert result.rc == 124
    assert "no answer within 0.5 s" in result.err


def test_bytes_that_are_no_utf8_do_no_harm(a_docker_that: ADocker) -> None:
    docker = a_docker_that(r"sys.stdout.buffer.write(b'\xff ok')")
    assert docker.run(["logs"]).out == "\ufffd ok"


def test_a_missing_container_or_image_is_none_and_a_daemon_that_is_away_is_an_error(
    a_docker_that: ADocker,
) -> None:
    missing = a_docker_that("sys.exit(f'Error: No such {sys.argv[1]}: {sys.argv[3]}')")
    assert missing.container("x") is None
    assert missing.image("x:1") is None
    away = a_docker_that("sys.exit('Cannot connect to the Docker daemon at unix:///x')")
    with pytest.raises(FailJsonError, match="Start it"):
        away.container("x")


def test_a_container_found_by_the_beginning_of_its_id_is_not_the_one_asked_for(
    a_docker_that: ADocker,
) -> None:
    found = json.dumps([{"Name": "/whisperx-asr", "Id": "abc123"}])
    docker = a_docker_that(f"print({found!r})")
    assert docker.container("abc") is None
    for name in ("whisperx-asr", "abc123"):
        container = docker.container(name)
        assert container is not None
        assert container["Id"] == "abc123"


def test_the_real_docker_tells_present_from_absent(docker: Callable[..., str]) -> None:
    real = Docker(Module())
    assert real.container("spark-test-no-such-container") is None
    assert real.image("spark-test-no-such-image:1") is None
    with pytest.raises(FailJsonError, match="docker container stop"):
        real.run(["container", "stop", "spark-test-no-such-container"])
