"""Magpie from a registry that asks for a key: pulled under the lock, and the key stays a secret.

The registry and the image are stand-ins; Docker's pull, the login and the host are real.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.checks import WITHIN_S, refused, wait_for
from tests.fleet.fleet import Fleet
from tests.fleet.playbooks import ROOT, Playbooks, Result
from tests.fleet.spark import Spark

REGISTRY = "nvcr.io"
NAME = "nim/nvidia/magpie-tts-multilingual"
IMAGE = f"{REGISTRY}/{NAME}:latest"
CONTAINER = "magpie-tts"
KEY = "nvapi-TheRightKey"
WRONG_KEY = "nvapi-AWrongKey"
OWN_LOGIN = {"auths": {REGISTRY: {"auth": base64.b64encode(b"$oauthtoken:nvapi-MyOwn").decode()}}}
# As root on the Spark; a file of the image and a file of its login lie there already.
START_REGISTRY = f"""
cp /etc/hosts hosts.before && echo 127.0.0.1 {REGISTRY} >> /etc/hosts
python3 registry.py image.tar {NAME}:latest login 80 log & echo $! > pid
"""
STOP_REGISTRY = "kill $(cat pid); cat hosts.before > /etc/hosts; rm -r /root/registry"


@dataclass(frozen=True)
class Magpie:
    """Runs playbooks/magpie.yml on one host."""

    playbook: Playbooks
    inventory: Path
    spark: Spark
    folder: Path
    """Holds the keys and what control registers."""

    def run(self, *arguments: str, key: str = KEY, **extra: Any) -> Result:  # noqa: ANN401
        """Run it with a file that holds KEY."""
        file = self.key_file(key)
        return self.playbook(
            "magpie", *arguments, inventory=self.inventory, magpie_ngc_key_file=file, **extra
        )

    def key_file(self, key: str) -> str:
        """A file that holds KEY."""
        file = self.folder / "ngc_key"
        file.write_text(f"{key}\n")
        return str(file)

    def left(self) -> str:
        """What of it, and of a login, is on the host; empty where there is nothing."""
        return self.spark.ssh(
            f"docker ps -aq; docker volume ls -q; docker images -q {REGISTRY}/{NAME}; "
            "find ~/.spark-speech ~/.docker -type f 2>/dev/null; ls -A /dev/shm"
        ).stdout

    def logins(self) -> str:
        """Folders with a login for a pull."""
        return self.spark.ssh("ls -A /dev/shm").stdout

    def asked(self) -> str:
        """Who asked the registry for what."""
        return self.spark.root("cat", "/root/registry/log", check=False)

    def inspected(self) -> dict[str, Any]:
        """What Docker knows of the container."""
        found: list[dict[str, Any]] = json.loads(self.spark.docker("inspect", CONTAINER))
        return found[0]


@pytest.fixture(scope="module")
def magpie(
    fleet: Fleet, playbook: Playbooks, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Magpie]:
    """Not installed, on a host that finds the registry. The tests build on one another."""
    spark, folder = fleet.sparks[0], tmp_path_factory.mktemp("magpie")
    inventory = fleet.inventory(
        speech_services_dir=str(folder / "services.d"),
        magpie_memory_needed="1GB",
        magpie_disk_needed="1GB",
    )
    put_registry(fleet, spark, folder)
    spark.ssh("rm -rf ~/.docker")  # a build of another page leaves its node's name there
    yield Magpie(playbook, inventory, spark, folder)
    spark.root("sh", "-c", f"cd /root/registry && {STOP_REGISTRY}")


def put_registry(fleet: Fleet, spark: Spark, folder: Path) -> None:
    """Start the stand-in for NVIDIA's registry on the host itself, with the stand-in for Magpie.

    Docker speaks plain HTTP to a registry on loopback.
    """
    given = folder / "registry"
    given.mkdir()
    fleet.engine.run("save", "--output", str(given / "image.tar"), fleet.images.magpie)
    (given / "login").write_text(f"$oauthtoken:{KEY}\n")
    (given / "registry.py").write_bytes((ROOT / "tests/standins/registry.py").read_bytes())
    fleet.engine.run("cp", str(given), f"{spark.container}:/root/registry")
    (given / "image.tar").unlink()
    place = ("--workdir", "/root/registry", "--detach")
    fleet.engine.run("exec", *place, spark.container, "sh", "-c", f"{START_REGISTRY} wait")
    listens = "import socket; socket.create_connection(('nvcr.io', 80), 1)"
    probe = ("exec", spark.container, "python3", "-c", listens)
    wait_for(lambda: fleet.engine.run(*probe, check=False).returncode == 0, "the registry")


def test_check_mode_foretells_the_pull_and_asks_the_registry_nothing(magpie: Magpie) -> None:
    before = magpie.left()
    foretold = magpie.run("--check", "--diff")
    assert foretold.rc == 0, foretold.out
    assert f"+image {IMAGE}" in foretold.out
    assert foretold.changed["spark1"] > 0
    assert magpie.asked() == ""
    assert magpie.left() == before == ""


def test_a_connection_that_ends_during_the_pull_leaves_no_login(magpie: Magpie) -> None:
    spark = magpie.spark
    spark.root("sh", "-c", "kill -STOP $(cat /root/registry/pid)")
    try:
        file = magpie.key_file(KEY)
        with magpie.playbook.start(
            "magpie", inventory=magpie.inventory, magpie_ngc_key_file=file
        ) as run:
            wait_for(magpie.logins, "the pull")
            spark.hang_up()
            out, _ = run.communicate(timeout=WITHIN_S)
    finally:
        spark.root("sh", "-c", "kill -CONT $(cat /root/registry/pid)")
    assert run.returncode != 0, out
    wait_for(lambda: not magpie.logins(), "the end of the pull")
    spark.docker("image", "rm", IMAGE)


def test_it_is_pulled_with_the_key_under_the_lock_and_runs(magpie: Magpie) -> None:
    done = magpie.run("--diff", "-vvv")
    assert done.rc == 0, done.out
    phases = re.findall(r"^TASK .* : (Lock|Preflight|Pull|Run) \|", done.out, re.MULTILINE)
    later = phases[phases.index("Lock") :]
    assert list(dict.fromkeys(later)) == ["Lock", "Preflight", "Pull", "Run"]
    assert f"$oauthtoken GET /v2/{NAME}/blobs/" in magpie.asked()
    assert magpie.inspected()["Config"]["Image"] == IMAGE
    places = [done.out, json.dumps(magpie.inspected()), magpie.spark.ssh("ps -eo args").stdout]
    assert not [place for place in places if KEY in place]


def test_the_key_reaches_the_container_by_file_alone(magpie: Magpie) -> None:
    spark = magpie.spark
    assert spark.docker("exec", CONTAINER, "cat", "/run/speech/ngc_key").strip() == KEY
    holds = f"grep -rlF -e {KEY} -e {base64.b64encode(KEY.encode())[:12].decode()}"
    found = spark.ssh(f"{holds} ~ /tmp /var/tmp /dev/shm 2>/dev/null || true").stdout.split()
    (file,) = found
    assert re.fullmatch(r"/home/spark/.spark-speech/magpie/secrets/[0-9a-f]{16}/ngc_key", file)
    assert spark.ssh("ls -A ~/.docker 2>/dev/null || true").stdout == ""


def test_a_second_run_changes_nothing_and_asks_for_nothing(magpie: Magpie) -> None:
    asked, started = magpie.asked(), magpie.inspected()["State"]["StartedAt"]
    again = magpie.run()
    assert again.rc == 0, again.out
    assert again.changed["spark1"] == 0, again.out
    assert magpie.asked() == asked
    assert magpie.inspected()["State"]["StartedAt"] == started


def test_a_key_that_is_refused_is_told_and_what_runs_and_ones_own_login_stay(
    magpie: Magpie,
) -> None:
    spark, before, left = magpie.spark, magpie.inspected(), magpie.left()
    spark.ssh("mkdir -m 700 ~/.docker; cat > ~/.docker/config.json", stdin=json.dumps(OWN_LOGIN))
    try:
        failed = magpie.run(key=WRONG_KEY, magpie_image=f"{REGISTRY}/{NAME}:2")
        assert json.loads(spark.ssh("cat ~/.docker/config.json").stdout) == OWN_LOGIN
    finally:
        spark.ssh("rm -r ~/.docker")
    refused(failed, f"{NAME}:2 cannot be pulled as $oauthtoken", "Make an NGC key that may pull it")
    assert WRONG_KEY not in failed.out
    assert failed.changed["spark1"] == 0
    assert magpie.left() == left
    assert [magpie.inspected()[part] for part in ("Id", "State")] == [before["Id"], before["State"]]
    assert spark.docker("exec", CONTAINER, "cat", "/run/speech/ngc_key").strip() == KEY


def test_a_purge_leaves_no_trace(magpie: Magpie) -> None:
    gone = magpie.run(magpie_state="absent", magpie_purge=True)
    assert gone.rc == 0, gone.out
    assert magpie.left() == ""
    assert not list((magpie.folder / "services.d").iterdir())
