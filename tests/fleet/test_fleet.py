"""The fleet itself: what the collection's tests stand on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.fleet.engine import SYSTEM_PATH, Engine, fleet_folder, own_engine
from tests.fleet.fleet import LABEL, Fleet, running_fleet
from tests.fleet.images import ca_bundle
from tests.fleet.playbooks import ROOT, Playbooks
from tests.fleet.spark import Spark

CHANGES_ONCE = """
- hosts: whisperx:parakeet
  gather_facts: false
  tasks:
    - name: Ensure a file is there
      ansible.builtin.copy:
        content: "{{ text }}"
        dest: /home/spark/changes-once
        mode: "0600"
"""


def build(spark: Spark, dockerfile: str, *options: str, check: bool = True) -> str:
    """What `docker build` of a Dockerfile without a context says on the host."""
    done = spark.ssh(
        f"DOCKER_BUILDKIT=1 docker build --progress=plain {' '.join(options)} - 2>&1",
        stdin=dockerfile,
        check=check,
    )
    return done.stdout


def left_of(engine: Engine, run: str = "") -> list[str]:
    """What is labelled as a fleet's, or as one run's."""
    mine = ("--quiet", "--filter", f"label={LABEL}{'=' + run if run else ''}")
    return [
        *engine.lines("ps", "--all", *mine),
        *engine.lines("volume", "ls", *mine),
        *engine.lines("network", "ls", *mine),
    ]


def runs() -> set[str]:
    """Names of the runs that have a folder."""
    return {folder.name for folder in (fleet_folder() / "runs").iterdir()}


def stopped_fleet(engine: Engine, how: signal.Signals) -> str:
    """Start a fleet of one in another process, and send it a signal; the name of that run."""
    code = (
        "import signal, time; from tests.fleet.engine import *; from tests.fleet.fleet import *\n"
        # Who was started in the background has been told to ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "Fleet.load = lambda *_: None\n"
        f"with running_fleet(Engine({engine.client!r}, {engine.host!r})) as fleet:\n"
        "    print(fleet.run, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=dict(os.environ, SPEECH_FLEET_SIZE="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout
        run = process.stdout.readline().strip()
        process.send_signal(how)
    assert run, "the fleet did not start"
    return run


def test_an_engine_is_stopped_by_the_last_run_that_uses_it() -> None:
    if os.geteuid() != 0 or not shutil.which("dockerd", path=SYSTEM_PATH):
        pytest.skip("only root can start dockerd, which docker.io holds")
    # Beside the engine in use: this one touches neither its bridge nor its firewall rules.
    apart = ("--bridge=none", "--iptables=false", "--ip6tables=false")
    with tempfile.TemporaryDirectory() as folder:
        with own_engine(Path(folder), *apart) as first:
            with own_engine(Path(folder), *apart) as second:
                assert second == first
                assert second.server_version()
            assert first.server_version()
        assert not first.server_version()
        assert not (Path(folder) / "dockerd.pid").exists()


def test_both_answer_over_ssh_as_a_user_of_the_docker_group(fleet: Fleet) -> None:
    for spark in fleet.sparks:
        assert spark.ssh("id -un").stdout == "spark\n"
        assert "docker" in spark.ssh("id -Gn").stdout.split()
        assert spark.docker("info", "--format", "{{.Driver}}") == "overlay2\n"


def test_an_unknown_client_key_is_refused(spark1: Spark, tmp_path: Path) -> None:
    command = ["ssh", *spark1.ssh_options, f"spark@{spark1.address}", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 255
    assert "Permission denied" in done.stderr


def test_a_changed_host_key_is_refused(spark1: Spark, spark2: Spark) -> None:
    with spark1.with_another_host_key():
        done = spark1.ssh("true", check=False)
        assert done.returncode == 255
        assert "Host key verification failed" in done.stderr
        spark2.ssh("true")
    spark1.ssh("true")


def test_their_engines_are_apart(fleet: Fleet, spark1: Spark, spark2: Spark) -> None:
    spark1.docker("volume", "create", "mine")
    try:
        assert "mine" in spark1.docker("volume", "ls", "--quiet").split()
        assert "mine" not in spark2.docker("volume", "ls", "--quiet").split()
        assert "mine" not in fleet.engine.lines("volume", "ls", "--quiet")
    finally:
        spark1.docker("volume", "rm", "mine")


def test_an_image_builds_and_its_container_answers_on_loopback_only(
    fleet: Fleet, spark1: Spark
) -> None:
    dockerfile = (
        f"FROM {fleet.images.tiny}\nRUN mkdir /www && echo built > /www/index.html\n"
        'CMD ["httpd", "-f", "-h", "/www"]\n'
    )
    build(spark1, dockerfile, "--tag", "fleet-test:web")
    try:
        spark1.docker("run", "-d", "--name", "web", "-p", "127.0.0.1:8099:80", "fleet-test:web")
        fetch = "import urllib.request as r; print(r.urlopen('http://{}:8099').read().decode())"
        for _ in range(50):
            inside = spark1.ssh(f'python3 -c "{fetch.format("127.0.0.1")}"', check=False)
            if inside.returncode == 0:
                break
        assert inside.stdout.strip() == "built"
        outside = spark1.ssh(f'python3 -c "{fetch.format(spark1.address)}"', check=False)
        assert "Connection refused" in outside.stderr
    finally:
        spark1.docker("rm", "--force", "web", check=False)
        spark1.docker("rmi", "fleet-test:web")


def test_a_build_reaches_the_package_mirror_with_the_ca_bundle_as_a_secret(
    fleet: Fleet, spark1: Spark
) -> None:
    bundle = ca_bundle()
    secret: list[str] = []
    if bundle:
        spark1.ssh("cat > ca.pem", stdin=bundle.read_text())
        secret = ["--secret", "id=ca_bundle,src=ca.pem"]
    dockerfile = f"""FROM {fleet.images.base}
RUN --mount=type=secret,id=ca_bundle,mode=0444 \\
    ca=/run/secrets/ca_bundle; [ ! -s $ca ] || set -- -o Acquire::https::CAInfo=$ca; \\
    echo deb https://deb.debian.org/debian bookworm main > /etc/apt/sources.list \\
 && rm -f /etc/apt/sources.list.d/* \\
 && apt-get "$@" --error-on=any update
"""
    said = build(spark1, dockerfile, "--network=host", "--no-cache", *secret)
    assert "https://deb.debian.org/debian bookworm/main" in said


def test_a_memory_limit_is_enforced(fleet: Fleet, spark1: Spark) -> None:
    hungry = ["head -c 100m /dev/zero | tail | wc -c"]
    limits = ["--memory", "16m", "--memory-swap", "16m"]
    options = ["--rm", "--name", "hungry", fleet.images.tiny, "sh", "-c", *hungry]
    assert spark1.docker("run", *options).strip() == str(100 * 1024 * 1024)
    limited = spark1.docker("run", *limits, *options, check=False)
    assert limited.strip() != str(100 * 1024 * 1024)


def test_faults_take_themselves_back(spark2: Spark) -> None:
    version = "docker version --format {{.Server.Version}}"
    with spark2.without_docker():
        assert "not found" in spark2.ssh(version, check=False).stderr
    with spark2.without_permission():
        assert "permission denied" in spark2.ssh(version, check=False).stderr
    with spark2.without_dockerd():
        assert "Is the docker daemon running?" in spark2.ssh(version, check=False).stderr
    with spark2.paused(), pytest.raises(subprocess.TimeoutExpired):
        spark2.ssh(version, timeout=1)
    spark2.ssh(version)


def test_a_disk_that_is_full_stops_a_build(fleet: Fleet) -> None:
    with fleet.another_spark("tiny", tiny_disk=True) as spark:
        fill = f"FROM {fleet.images.tiny}\nRUN dd if=/dev/zero of=/filled bs=1M count=80\n"
        assert "No space left on device" in build(spark, fill, check=False)
        assert spark.docker("image", "inspect", "-f", "{{.Id}}", fleet.images.tiny)


def test_a_playbook_changes_both_hosts_once(
    fleet: Fleet, playbook: Playbooks, tmp_path: Path
) -> None:
    file = tmp_path / "changes-once.yml"
    file.write_text(CHANGES_ONCE)
    text = {"__ansible_unsafe": "{{ not a template }}"}
    predicted = playbook(file, "--check", text=text)
    assert (predicted.rc, predicted.changed) == (0, {"spark1": 1, "spark2": 1}), predicted.out
    first = playbook(file, text=text)
    assert (first.rc, first.changed) == (0, {"spark1": 1, "spark2": 1}), first.out
    second = playbook(file, text=text)
    assert (second.rc, second.changed) == (0, {"spark1": 0, "spark2": 0}), second.out
    for spark in fleet.sparks:
        assert spark.ssh("cat changes-once && rm changes-once").stdout == "{{ not a template }}"


def test_nothing_is_left_of_a_fleet_that_failed_to_start(
    fleet: Fleet, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def fails(self: Fleet, *_: object) -> None:
        started.append(self.run)
        raise ZeroDivisionError

    monkeypatch.setattr(Fleet, "load", fails)
    with pytest.raises(ZeroDivisionError), running_fleet(engine):
        pass
    assert left_of(engine, started[0]) == []
    assert started[0] not in runs()


def test_nothing_is_left_of_a_fleet_that_was_interrupted(fleet: Fleet, engine: Engine) -> None:
    run = stopped_fleet(engine, signal.SIGINT)
    assert left_of(engine, run) == []
    assert run not in runs()


def test_what_a_killed_run_left_is_removed_when_the_next_one_starts(
    fleet: Fleet, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stopped_fleet(engine, signal.SIGKILL)
    assert len(left_of(engine, run)) == 3
    living = left_of(engine, fleet.run)
    monkeypatch.setenv("SPEECH_FLEET_SIZE", "1")
    monkeypatch.setattr(Fleet, "load", lambda *_: None)
    with running_fleet(engine):
        assert left_of(engine, run) == []
    assert run not in runs()
    assert left_of(engine, fleet.run) == living
