"""Pulling an image with a login: the right one, a wrong one, the user's own, and what stays."""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.collection.conftest import RunDocker, RunModule
from tests.standins.registry import serving

USER = "$oauthtoken"
KEY = "nvapi-TheRightKey"
NAME = "speech/pulled"
TODO = "Make a key that may pull it."
# Writes down its arguments, and what lies in the folder that it is told to find logins in.
RECORDING_DOCKER = """#!/bin/sh
echo "$*" >> {record}
[ "$1" != --config ] || find "$2" -printf '%p %m\\n' >> {record}
{then} exec {docker} "$@"
"""


@pytest.fixture(scope="module")
def saved(docker: RunDocker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image that nothing else has, as `docker save` writes it."""
    if not os.environ.get("DOCKER_HOST", "unix:").startswith("unix:"):
        pytest.skip("an engine on another machine cannot reach this one's loopback")
    name = secrets.token_hex(8)
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    archive = tmp_path_factory.mktemp("saved") / "image.tar"
    image = f"spark-speech.invalid/{name}:1"
    docker("import", "-", image, stdin=layer.getvalue())
    docker("save", "--output", str(archive), image)
    docker("image", "rm", image)
    return archive


@dataclass(frozen=True)
class Pulling:
    """Pulls as a user with a home of their own, and with a docker that writes down its calls."""

    run_module: RunModule
    home: Path
    registry: str
    asked: list[str]

    @property
    def image(self) -> str:
        return f"{self.registry}/{NAME}:1"

    def __call__(self, password: str | None = KEY, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        login = {"registry": self.registry, "username": USER, "password": password}
        if password is None:
            login = {}
        env = {"PATH": f"{self.home}/bin:{os.environ['PATH']}", "HOME": str(self.home)}
        given = {"image": self.image, "todo": TODO, **login, **options}
        told = {name: value for name, value in given.items() if value is not None}
        return self.run_module("image_pull", env=env, **told)

    def logs_in(self, user: str, password: str) -> Path:
        """The user's own login at the registry, as `docker login` keeps it."""
        auth = base64.b64encode(f"{user}:{password}".encode()).decode()
        file = self.home / ".docker/config.json"
        file.parent.mkdir()
        file.write_text(json.dumps({"auths": {self.registry: {"auth": auth}}}))
        return file

    def record(self) -> str:
        return (self.home / "record").read_text()

    def becomes(self, then: str) -> None:
        """What docker does after it has written down its call."""
        real = shutil.which("docker")
        script = RECORDING_DOCKER.format(record=self.home / "record", docker=real, then=then)
        (self.home / "bin").mkdir(exist_ok=True)
        (self.home / "bin/docker").write_text(script)
        (self.home / "bin/docker").chmod(0o755)


@pytest.fixture
def pull(
    saved: Path, docker: RunDocker, run_module: RunModule, tmp_path: Path
) -> Iterator[Pulling]:
    with serving(saved, f"{NAME}:1", f"{USER}:{KEY}") as (registry, asked):
        pulling = Pulling(run_module, tmp_path, registry, asked)
        pulling.becomes("")
        yield pulling
        for image in docker("image", "ls", "--quiet", f"{registry}/{NAME}").split():
            docker("image", "rm", "--force", image)


def no_login_stays(pull: Pulling) -> None:
    """There was a folder for this user alone, and it is gone; the key was in no argument."""
    lines = pull.record().splitlines()
    (call,) = [line for line in lines if line.startswith("--config")]
    folder = call.split()[1]
    assert f"{folder} 700" in lines
    assert f"{folder}/config.json" in pull.record()
    assert not Path(folder).exists()
    assert KEY not in pull.record()


def test_an_image_is_pulled_once_and_the_login_is_gone(pull: Pulling, docker: RunDocker) -> None:
    first = pull()
    assert first["changed"], first
    assert first["diff"]["after"] == f"image {pull.image}\n"
    assert docker("image", "inspect", "-f", "{{.RepoTags}}", pull.image) == f"[{pull.image}]"
    assert f"{USER} GET /v2/{NAME}/manifests/1" in " ".join(pull.asked).replace("HEAD", "GET")
    no_login_stays(pull)
    assert not (pull.home / ".docker").exists()
    assert KEY not in json.dumps(first)
    assert not pull()["changed"]


def test_check_mode_asks_the_registry_nothing(pull: Pulling) -> None:
    assert pull(check=True)["changed"]
    assert pull.asked == []
    assert pull.record() == f"image inspect {pull.image}\n"


def test_a_key_that_is_refused_is_told_in_words_and_the_users_own_login_stays(
    pull: Pulling, docker: RunDocker
) -> None:
    own = pull.logs_in(USER, KEY)
    before = own.read_bytes()
    failed = pull("nvapi-AWrongKey")
    assert failed["msg"].startswith(f"{pull.image} cannot be pulled as {USER}: ")
    assert failed["msg"].endswith(TODO)
    assert "nvapi-AWrongKey" not in json.dumps(failed)
    assert docker("image", "ls", "--quiet", f"{pull.registry}/{NAME}") == ""
    no_login_stays(pull)
    assert own.read_bytes() == before


def test_without_a_login_the_users_own_one_is_used(pull: Pulling) -> None:
    refused = pull(None)
    assert refused["msg"].endswith(TODO)
    pull.logs_in(USER, KEY)
    assert pull(None)["changed"]
    assert "--config" not in pull.record()


def test_an_image_that_the_registry_has_not_is_told(pull: Pulling) -> None:
    failed = pull(image=f"{pull.registry}/{NAME}:2")
    assert "Look whether the registry has an image of this name and tag" in failed["msg"]


def test_a_pull_that_takes_too_long_is_given_up_and_the_login_is_gone(pull: Pulling) -> None:
    pull.becomes('[ "$1" != --config ] || exec sleep 600;')
    failed = pull(timeout_s=1)
    assert "no answer within 1 s" in failed["msg"]
    no_login_stays(pull)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image": "--all-tags"}, "not the name of an image"),
        ({"password": ""}, f"is empty. {TODO}"),
        ({"username": None}, "parameters are required together"),
    ],
)
def test_a_bad_option_is_refused(pull: Pulling, options: dict[str, Any], said: str) -> None:
    failed = pull(**options)
    assert failed["failed"]
    assert said in failed["msg"]
    assert pull.asked == []
