"""Builds that go on without us: detached, followed, attached to, interrupted, failed and hinted."""

import io
import os
import shutil
import signal
import sys
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from ansible_collections.spark.speech.plugins.module_utils.detached import Detached
from ansible_collections.spark.speech.plugins.modules import image_build
from ansible_collections.spark.speech.plugins.modules.image_build import BuildError

RunModule = Callable[..., dict[str, Any]]
RunDocker = Callable[..., str]
Found = TypeVar("Found")
OPTIONS: dict[str, Any] = {
    "tag": "a/b:1",
    "dockerfile": "images/b/Dockerfile",
    "target": None,
    "network": "default",
    "arguments": {},
    "secrets": {},
}


def until(condition: Callable[[], Found]) -> Found:
    """Wait until it holds; the test's own time limit ends what never does."""
    while not (found := condition()):
        time.sleep(0.02)
    return found


# Logs and hints


@pytest.mark.parametrize(
    ("log", "word"),
    [
        ("write /x: no space left on device", "disk"),
        ("tar: x: No space left on device\nexit code: 137", "disk"),
        ("process did not complete successfully: exit code: 137", "memory"),
        ("g++: fatal error: Killed signal: killed", "memory"),
        ("#9 3.1 Killed\nKilled", "memory"),
        ("ERROR: BuildKit is enabled but the buildx component is missing or broken.", "buildx"),
        (
            "failed to do request: Head https://registry-1.docker.io/v2/: x509: signed by",
            "ca_bundle",
        ),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", "ca_bundle"),
        ("Certificate verification failed: The certificate is NOT trusted.", "ca_bundle"),
        (
            "pull access denied, repository does not exist or may require authorization",
            "base_image",
        ),
        ("failed to do request: Head https://registry/v2/x: dial tcp: no such host", "base_image"),
        ("Temporary failure resolving 'deb.debian.org'", "pip_conf"),
        ("NewConnectionError: Failed to establish a new connection: [Errno 111]", "wheelhouse"),
        ("ERROR: No matching distribution found for torch==2.13.0", "wheelhouse"),
        ("SyntaxError: invalid syntax", ""),
    ],
)
def test_a_failed_log_is_hinted_at_by_its_root(log: str, word: str) -> None:
    todo = image_build.hint(log)
    assert word in todo
    assert bool(word) == bool(todo)


def test_what_is_shown_has_no_terminal_codes() -> None:
    assert image_build.readable(b"\x1b[31mred\x1b[0m a@b.c \xff") == "red a@b.c \ufffd"


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        ("https://me:secret@host/simple", "https://***@host/simple"),
        ("http://token@h/ a@b.c", "http://***@h/ a@b.c"),
        ("https://u:p@ss@host", "https://***@host"),
        ("https://u:p@s#s?@host:80/a@b", "https://***@host:80/a@b"),
        ("(https://u@a/,https://u:p@@b/)", "(https://***@a/,https://***@b/)"),
        ("https://host/@scope/x me@host", "https://host/@scope/x me@host"),
    ],
)
def test_what_is_shown_has_no_credentials(log: str, shown: str) -> None:
    assert image_build.readable(log.encode()) == shown


def test_a_log_is_shown_in_whole_lines_and_each_once(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert image_build.new_part(log, 0, ended=False) == ("", 0)
    log.write_text("one\ntw")
    first = image_build.new_part(log, 0, ended=False)
    assert first == ("one\n", 4)
    assert image_build.new_part(log, first.offset, ended=False) == ("", 4)
    log.write_text("one\ntwo\nthr")
    assert image_build.new_part(log, first.offset, ended=False) == ("two\n", 8)
    assert image_build.new_part(log, 8, ended=True) == ("thr", 11)


def test_an_offset_behind_the_end_is_that_of_an_older_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("new\n")
    assert image_build.new_part(log, 100, ended=True) == ("new\n", 4)


def test_of_a_long_part_the_end_is_shown_and_it_says_what_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("seen\n" + "".join(f"line {number}\n" for number in range(10_000)))
    part = image_build.new_part(log, 5, ended=False)
    first, rest = part.text.split("\n", 1)
    assert part.offset == log.stat().st_size
    assert len(rest) <= 20_000
    assert rest.startswith("line ")
    assert rest.endswith("line 9999\n")
    left_out = log.stat().st_size - 5 - len(rest)
    assert first == f"[{left_out} bytes are left out here, {log} has them]"


# The command


def test_the_command_is_a_list_that_says_all_and_takes_its_context_from_stdin() -> None:
    options = {
        **OPTIONS,
        "target": "cpu",
        "network": "host",
        "arguments": {"BASE_IMAGE": "debian:x", "A": "; id $(id) {{ x }}"},
    }
    assert image_build.build_command("/usr/bin/docker", options) == [
        "/usr/bin/docker",
        "build",
        "--progress=plain",
        "--tag=a/b:1",
        "--file=images/b/Dockerfile",
        "--target=cpu",
        "--network=host",
        "--build-arg=A=; id $(id) {{ x }}",
        "--build-arg=BASE_IMAGE=debian:x",
        "-",
    ]


def test_a_secret_is_handed_on_as_a_file_and_never_by_what_is_in_it(tmp_path: Path) -> None:
    secret = tmp_path / "pip.conf"
    secret.write_text("hush")
    secret.chmod(0o600)
    options = {**OPTIONS, "secrets": {"pip_conf": str(secret), "ca_bundle": "", "other": None}}
    command = image_build.build_command("docker", options)
    assert [each for each in command if "secret" in each] == [f"--secret=id=pip_conf,src={secret}"]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"secrets": {"a,b": "x"}}, "not a secret's id"),
        ({"secrets": {"-a": "x"}}, "not a secret's id"),
        ({"secrets": {"a": "/etc/no,src=/etc/shadow"}}, "no quote, comma"),
        ({"secrets": {"a": "/no/such/file"}}, "does not exist: /no/such/file"),
        ({"secrets": {"a": "/etc/hostname"}}, "chmod 600 /etc/hostname"),
        ({"arguments": {"A B": "x"}}, "not a build argument"),
        ({"arguments": {"-A": "x"}}, "not a build argument"),
        ({"arguments": {"A": "x\0y"}}, "not a build argument"),
    ],
)
def test_a_secret_or_argument_that_docker_could_take_for_another_is_refused(
    option: dict[str, Any], said: str
) -> None:
    with pytest.raises(BuildError, match=said):
        image_build.build_command("docker", {**OPTIONS, **option})


# A command without us. It is started by a process of its own, as a module does, which then ends.


def launch(folder: Path, script: str) -> bool:
    """Start the Python script as the detached command "job"; False if it runs already."""
    (folder / "input").write_bytes(b"context")
    starter = os.fork()
    if starter == 0:
        env = dict(os.environ)
        command = [sys.executable, "-c", script]
        started = Detached(folder, "job").start(command, folder / "input", env)
        os._exit(0 if started else 1)
    return os.waitpid(starter, 0)[1] == 0


def pid_of(folder: Path) -> int:
    return int(until((folder / "job.pid").read_text))


def test_it_goes_on_when_its_starter_has_ended_and_leaves_log_and_status(tmp_path: Path) -> None:
    job = Detached(tmp_path, "job")
    assert not job.started()
    script = (
        "import os, pathlib, sys, time; print(sys.stdin.read(), os.getsid(0), flush=True)\n"
        f"while not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.02)\n"
        "print('bad', file=sys.stderr); sys.exit(3)"
    )
    assert launch(tmp_path, script)
    assert job.started()
    assert job.running()
    assert job.status() is None
    log = until(job.log.read_text)
    session = int(log.split()[1])
    assert log.startswith("context ")
    assert session not in (os.getsid(0), 0)
    (tmp_path / "go").touch()
    until(lambda: not job.running())
    assert job.status() == 3
    assert job.log.read_text().endswith("bad\n")
    assert oct(job.log.stat().st_mode)[-3:] == "600"


def test_it_is_not_started_twice_at_a_time_and_again_when_it_has_ended(tmp_path: Path) -> None:
    job = Detached(tmp_path, "job")
    assert launch(tmp_path, "import time; time.sleep(600)")
    first = pid_of(tmp_path)
    assert not launch(tmp_path, "print('second')")
    assert pid_of(tmp_path) == first
    os.kill(first, signal.SIGTERM)
    until(lambda: not job.running())
    assert job.status() == 128 + signal.SIGTERM
    assert launch(tmp_path, "print('again')")
    until(lambda: not job.running())
    assert job.status() == 0
    assert job.log.read_text() == "again\n"


def test_without_its_watcher_it_still_runs_and_ends_without_a_status(tmp_path: Path) -> None:
    job = Detached(tmp_path, "job")
    assert launch(tmp_path, "import time; time.sleep(600)")
    command = pid_of(tmp_path)
    watcher = int(Path(f"/proc/{command}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(watcher, signal.SIGKILL)
    assert job.running()
    os.kill(command, signal.SIGKILL)
    until(lambda: not job.running())
    assert job.status() is None


def test_a_process_that_has_the_number_now_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "job.pid").write_text(f"{os.getpid()}\n")
    job = Detached(tmp_path, "job")
    assert job.started()
    assert not job.running()


def test_a_command_that_cannot_be_run_says_so_in_its_log(tmp_path: Path) -> None:
    (tmp_path / "input").touch()
    job = Detached(tmp_path, "job")
    starter = os.fork()
    if starter == 0:
        job.start(["/no/such/command"], tmp_path / "input", {})
        os._exit(0)
    os.waitpid(starter, 0)
    until(lambda: not job.running())
    assert job.status() == 126
    assert "/no/such/command" in job.log.read_text()


def test_the_files_of_old_builds_go_and_those_of_a_running_one_stay(tmp_path: Path) -> None:
    assert launch(tmp_path, "import time; time.sleep(600)")
    command = pid_of(tmp_path)
    os.utime(tmp_path / "job.log", (0, 0))
    for number in range(8):
        for kind in ("log", "pid", "exit"):
            (tmp_path / f"{number}.{kind}").touch()
        os.utime(tmp_path / f"{number}.log", (number + 1, number + 1))
    image_build.forget_old_builds(tmp_path)
    os.kill(command, signal.SIGKILL)
    left = {path.stem for path in tmp_path.iterdir() if path.name != "input"}
    assert left == {"job", "3", "4", "5", "6", "7"}


# The module, with a real engine


class Build:
    """One image of the tests, its context and its state; removed at the end."""

    def __init__(self, folder: Path, run_module: RunModule, base: str) -> None:
        self.folder = folder
        self.run_module = run_module
        self.base = base
        self.name = uuid.uuid4().hex[:12]
        self.tag = f"spark-test-build/app:{self.name}"
        self.files = folder / "state/whisperx/build"

    def pack(self, *steps: str) -> None:
        """Write a context whose image is the base and these steps."""
        text = "\n".join(["ARG BASE", "FROM $BASE", f"ENV BUILD={self.name}", *steps, ""])
        info = tarfile.TarInfo("images/app/Dockerfile")
        info.size = len(text)
        with tarfile.open(self.folder / "context.tar", "w") as tar:
            tar.addfile(info, io.BytesIO(text.encode()))

    def run(self, state: str, **options: object) -> dict[str, Any]:
        """Run the module."""
        return self.run_module(
            "image_build",
            service="whisperx",
            tag=self.tag,
            state=state,
            context=str(self.folder / "context.tar"),
            dockerfile="images/app/Dockerfile",
            state_dir=str(self.folder / "state"),
            arguments={"BASE": self.base},
            network="none",
            **options,
        )

    def follow(self) -> tuple[dict[str, Any], str]:
        """Follow to the end: the last answer, and all that was shown."""
        shown = ""
        while True:
            answer = self.run("followed", wait_s=5)
            shown += answer["stdout"]
            if answer["done"]:
                return answer, shown


@pytest.fixture
def build(
    tmp_path: Path, run_module: RunModule, docker: RunDocker, base_image: str
) -> Iterator[Build]:
    building = Build(tmp_path, run_module, base_image)
    yield building
    job = Detached(building.files, building.name)
    if job.running():
        os.kill(int((building.files / f"{building.name}.pid").read_text()), signal.SIGKILL)
        until(lambda: not job.running())
    if docker("image", "ls", "-q", building.tag):
        docker("image", "rm", "-f", building.tag)


def test_an_image_is_built_in_the_background_and_not_again(build: Build, docker: RunDocker) -> None:
    build.pack("RUN echo one-$((1 + 1)) && sleep 1 && echo three-$((1 + 3))")
    predicted = build.run("started", check=True)
    assert predicted["changed"]
    assert predicted["done"]
    assert not (build.folder / "state").exists()
    started = build.run("started")
    assert started["changed"]
    assert not started["done"]
    assert started["diff"] == predicted["diff"] == {"before": "", "after": f"image {build.tag}\n"}
    answer, shown = build.follow()
    assert "failed" not in answer, answer
    assert answer["rc"] == 0
    assert shown.count("one-2\n") == 1
    assert shown.count("three-4\n") == 1
    assert shown == Path(started["log_path"]).read_text()
    assert docker("image", "inspect", "-f", "{{.Id}}", build.tag)
    for again in (build.run("started"), build.run("started", check=True)):
        assert not again["changed"]
        assert again["done"]
    assert build.run("followed")["done"]
    for folder in (build.folder / "state", build.files):
        assert oct(folder.stat().st_mode)[-3:] == "700"


def test_a_second_run_attaches_to_the_build_that_runs(build: Build) -> None:
    build.pack("RUN echo begun && sleep 600")
    assert build.run("started")["changed"]
    until(lambda: "begun" in build.run("followed")["stdout"])
    pid = (build.files / f"{build.name}.pid").read_text()
    attached = build.run("started")
    assert not attached["changed"]
    assert not attached["done"]
    assert not build.run("started", check=True)["changed"]
    assert (build.files / f"{build.name}.pid").read_text() == pid
    assert "begun" in build.run("followed")["stdout"], (
        "who attaches sees the log from its beginning"
    )


def test_whoever_waits_gets_the_end_of_the_build(build: Build) -> None:
    build.pack("RUN echo begun && sleep 1")
    build.run("started")
    answer = build.run("followed", wait_s=120)
    assert answer["done"]
    assert answer["rc"] == 0
    assert "begun" in answer["stdout"]


def test_an_offset_of_the_callers_own_is_used(build: Build) -> None:
    build.pack("RUN echo begun")
    build.run("started")
    answer, shown = build.follow()
    again = build.run("followed", offset=10)
    assert again["stdout"] == shown[10:]
    assert again["offset"] == answer["offset"] == len(shown)


def interrupted(build: Build) -> dict[str, Any]:
    """What is told of a build that was killed with all that belongs to it."""
    build.pack("RUN sleep 600")
    build.run("started")
    until(lambda: "sleep 600" in (build.files / f"{build.name}.log").read_text())
    command = int((build.files / f"{build.name}.pid").read_text())
    os.killpg(os.getpgid(command), signal.SIGKILL)
    return build.follow()[0]


def test_a_build_whose_end_could_not_be_written_tells_which_disk_is_full(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=4096))
    assert f"the disk that {build.files} is on is full" in interrupted(build)["msg"]


def test_a_build_that_takes_too_long_is_ended_and_says_so(build: Build) -> None:
    build.pack("RUN echo begun && sleep 600")
    build.run("started")
    until(lambda: "begun" in (build.files / f"{build.name}.log").read_text())
    assert not build.run("followed", timeout_s=600)["done"]
    answer = build.run("followed", timeout_s=0)
    assert answer["failed"]
    assert answer["done"]
    assert "took longer than 0 s and was ended" in answer["msg"]
    assert "begun" in answer["msg"]
    build.pack("RUN true")
    assert build.run("started")["changed"]
    assert build.follow()[0]["rc"] == 0


def test_an_interrupted_build_says_so_and_is_started_again(build: Build) -> None:
    answer = interrupted(build)
    assert answer["failed"]
    assert "was interrupted" in answer["msg"]
    assert answer["rc"] is None
    build.pack("RUN true")
    assert build.run("started")["changed"]
    assert build.follow()[0]["rc"] == 0


def test_a_build_that_somebody_ends_says_so(build: Build) -> None:
    build.pack("RUN sleep 600")
    build.run("started")
    until(lambda: "sleep 600" in (build.files / f"{build.name}.log").read_text())
    os.kill(int((build.files / f"{build.name}.pid").read_text()), signal.SIGKILL)
    answer, _ = build.follow()
    assert answer["failed"]
    assert answer["rc"] == 128 + signal.SIGKILL
    assert "was ended by signal 9. Run this again" in answer["msg"]


def test_what_is_taken_away_ends_its_builds_and_removes_what_they_were_given(
    build: Build, run_module: RunModule, docker: RunDocker
) -> None:
    build.pack("RUN sleep 600")
    build.run("started")
    job = Detached(build.files, build.name)
    until(lambda: "sleep 600" in job.log.read_text())
    (build.files / "input").mkdir()
    (build.files / "input/pip_conf").write_text("[global]")
    gone = {"service": "whisperx", "state": "absent", "state_dir": str(build.folder / "state")}
    foretold = run_module("image_build", **gone, check=True)
    assert (foretold["changed"], job.running()) == (True, True)
    for changes in (True, False):
        assert run_module("image_build", **gone)["changed"] is changes
        assert not job.running()
        assert not (build.files / "input").exists()
    assert docker("image", "ls", "-q", build.tag) == ""


def test_a_failed_build_fails_with_the_end_of_its_log_and_can_be_repeated(build: Build) -> None:
    build.pack("RUN for i in $(seq 200); do echo line-$i; done; exit 28")
    build.run("started")
    answer, _ = build.follow()
    assert answer["failed"]
    assert answer["done"]
    assert answer["rc"] == 1
    assert f"The build of {build.tag} failed with exit status 1." in answer["msg"]
    assert "line-200" in answer["msg"]
    assert "line-20\n" not in answer["msg"]
    assert answer["log_path"] in answer["msg"]
    build.pack("RUN true")
    assert build.run("started")["changed"]
    assert build.follow()[0]["rc"] == 0


def test_a_base_image_that_cannot_be_had_is_hinted_at(build: Build) -> None:
    build.base = "127.0.0.1:9/spark-test-none:1"
    build.pack("RUN true")
    build.run("started")
    answer, _ = build.follow()
    assert answer["failed"]
    assert "The base image cannot be had." in answer["msg"]


def test_a_secret_is_read_by_the_build_and_stays_nowhere(build: Build, docker: RunDocker) -> None:
    secret = build.folder / "pip.conf"
    secret.write_text("hush-" + build.name)
    secret.chmod(0o600)
    build.pack(
        "RUN --mount=type=secret,id=pip_conf grep -c hush- /run/secrets/pip_conf && echo read-$?"
    )
    started = build.run("started", secrets={"pip_conf": str(secret), "ca_bundle": ""})
    answer, shown = build.follow()
    assert "failed" not in answer, answer
    assert "read-0" in shown
    history = docker("history", "--no-trunc", build.tag)
    inspected = docker("image", "inspect", build.tag)
    for text in (shown, str(started), str(answer), history, inspected):
        assert f"hush-{build.name}" not in text
    for path in build.files.iterdir():
        assert f"hush-{build.name}" not in path.read_text()


def test_to_follow_what_was_never_started_says_so(build: Build) -> None:
    answer = build.run("followed")
    assert answer["failed"]
    assert "state: started" in answer["msg"]
    in_check_mode = build.run("followed", check=True)
    assert "failed" not in in_check_mode
    assert in_check_mode["done"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"service": "../x"}, "not the name of a service"),
        ({"tag": "-t"}, "not the name of an image"),
        ({"tag": "spark/app"}, "has no tag"),
        ({"tag": "host:5000/app"}, "has no tag"),
        ({"tag": "app:.."}, "has no tag"),
        ({"network": "container:x"}, "value of network"),
    ],
)
def test_a_bad_option_is_refused(
    options: dict[str, object], said: str, run_module: RunModule, tmp_path: Path
) -> None:
    good = {"service": "whisperx", "tag": "a:1", "context": "/x", "state_dir": str(tmp_path / "s")}
    answer = run_module("image_build", **{**good, **options})
    assert answer["failed"]
    assert said in answer["msg"]
    assert not (tmp_path / "s").exists()


def test_a_context_that_is_not_there_is_named(build: Build) -> None:
    answer = build.run("started")
    assert answer["failed"]
    assert f"no build context at {build.folder}/context.tar" in answer["msg"]
