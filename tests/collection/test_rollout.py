"""The record of rollouts, the image to go back to, and which images are not needed any more."""

import fcntl
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.spark.speech.plugins.modules import rollout

RunModule = Callable[..., dict[str, Any]]
RunDocker = Callable[..., str]


def records(*images: str) -> list[dict[str, Any]]:
    return [{"image": image, "hash": image} for image in images]


@pytest.mark.parametrize(
    ("images", "current", "previous"),
    [
        ([], "", None),
        (["a"], "a", None),
        (["a", "b"], "b", "a"),
        (["a", "b", "b"], "b", "a"),
        (["a", "b", "a"], "a", "b"),
        (["a", "b", "c"], "c", "b"),
        (["a", "b", ""], "", "b"),
        (["a", "b", "", "b"], "b", "a"),
        (["a", ""], "", "a"),
    ],
)
def test_the_previous_image_is_the_last_other_one(
    images: list[str], current: str, previous: str | None
) -> None:
    found = records(*images)
    assert rollout.current_of(found)["image"] == current
    assert rollout.previous_of(found) == previous


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("anna", "anna"),
        ('a\nb\r\n{"image": "x"}', 'a b {"image": "x"}'),
        ("\x1b[31mred\x00\u2028", "[31mred"),
        ("  much \t space ", "much space"),
        ("a" * 500, "a" * 200),
    ],
)
def test_what_people_write_becomes_one_line(text: str, line: str) -> None:
    assert rollout.one_line(text) == line


def test_a_line_that_is_no_record_is_passed_over() -> None:
    text = '{"image": "a"}\n{"image": "b", "ha\n[]\n{"image": 3}\n\n{"image": "c"}\n'
    assert [record["image"] for record in rollout.read(text)] == ["a", "c"]


class Service:
    """One service's records, and the module that writes them."""

    def __init__(self, folder: Path, run_module: RunModule) -> None:
        self.state_dir = folder / "state"
        self.file = self.state_dir / "whisperx/rollouts.jsonl"
        self._run_module = run_module

    def run(self, **options: object) -> dict[str, Any]:
        return self._run_module(
            "rollout", service="whisperx", state_dir=str(self.state_dir), **options
        )

    def rolled_out(self, image: str, **options: object) -> dict[str, Any]:
        answer = self.run(image=image, hash=image.rpartition(":")[2], **options)
        assert "failed" not in answer, answer
        return answer

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]


def told(answer: dict[str, Any]) -> dict[str, Any]:
    """What the module itself tells: Ansible adds how it was called and what it sees of `path`."""
    return {key: answer[key] for key in ("changed", "current", "previous", "pruned", "diff")}


@pytest.fixture
def service(tmp_path: Path, run_module: RunModule) -> Service:
    return Service(tmp_path, run_module)


def test_a_rollout_is_recorded_once_with_who_when_and_what(service: Service) -> None:
    first = service.rolled_out("a/b:1", by="anna\nfrom ci", action="install")
    assert first["changed"]
    assert (first["current"], first["previous"]) == ("a/b:1", None)
    assert first["path"] == str(service.file)
    assert first["diff"] == {"before": "current: none\n", "after": "current: a/b:1\n"}
    again = service.rolled_out("a/b:1", by="someone else", action="install")
    assert not again["changed"]
    assert again["diff"]["before"] == again["diff"]["after"] == "current: a/b:1\n"
    second = service.rolled_out("a/b:2", by="bob", action="install")
    assert (second["current"], second["previous"]) == ("a/b:2", "a/b:1")
    back = service.rolled_out("a/b:1", by="bob", action="rollback")
    assert (back["current"], back["previous"]) == ("a/b:1", "a/b:2")
    lines = service.lines()
    assert [line["by"] for line in lines] == ["anna from ci", "bob", "bob"]
    assert [line["action"] for line in lines] == ["install", "install", "rollback"]
    assert [line["image"] for line in lines] == ["a/b:1", "a/b:2", "a/b:1"]
    assert [line["hash"] for line in lines] == ["1", "2", "1"]
    assert [line["previous"] for line in lines] == [None, "a/b:1", "a/b:2"]
    for line in lines:
        age = datetime.now(UTC) - datetime.fromisoformat(line["at"])
        assert timedelta(seconds=-1) < age < timedelta(hours=1)


def test_another_hash_of_the_same_image_is_a_rollout(service: Service) -> None:
    assert service.run(image="nvcr.io/nim/tts:latest", hash="1")["changed"]
    assert service.run(image="nvcr.io/nim/tts:latest", hash="2")["changed"]
    assert not service.run(image="nvcr.io/nim/tts:latest", hash="2")["changed"]
    assert [line["previous"] for line in service.lines()] == [None, None]


def test_a_service_that_was_taken_away_can_come_back_as_it_was(service: Service) -> None:
    assert not service.run(image="", action="absent")["changed"]
    assert not service.state_dir.exists(), "of what was never there nothing stays"
    service.rolled_out("a/b:1")
    gone = service.run(image="", action="absent")
    assert gone["changed"]
    assert (gone["current"], gone["previous"]) == (None, "a/b:1")
    assert not service.run(image="", action="absent")["changed"]
    assert service.rolled_out("a/b:1")["changed"]


def test_without_an_image_it_tells_and_writes_nothing(service: Service) -> None:
    answer = service.run()
    assert (answer["current"], answer["previous"], answer["changed"]) == (None, None, False)
    assert not service.state_dir.exists()
    service.rolled_out("a/b:1")
    service.rolled_out("a/b:2")
    answer = service.run()
    assert (answer["current"], answer["previous"], answer["changed"]) == ("a/b:2", "a/b:1", False)


def test_check_mode_tells_the_same_and_writes_nothing(service: Service) -> None:
    for image in ("a/b:1", "a/b:2"):
        text = service.file.read_text() if service.file.exists() else None
        predicted = service.run(image=image, hash="x", check=True)
        assert (service.file.read_text() if service.file.exists() else None) == text
        assert told(predicted) == told(service.run(image=image, hash="x"))
        assert predicted["changed"]
    assert not service.run(image="a/b:2", hash="x", check=True)["changed"]


def test_files_are_for_this_user_alone(service: Service) -> None:
    service.rolled_out("a/b:1")
    modes = [oct(path.stat().st_mode)[-3:] for path in (service.file, *service.file.parents[:2])]
    assert modes == ["600", "700", "700"]


def test_a_record_that_was_cut_off_harms_no_other(service: Service) -> None:
    service.rolled_out("a/b:1")
    with service.file.open("a") as file:
        file.write('{"image": "a/b:2", "ha')
    answer = service.rolled_out("a/b:3")
    assert (answer["current"], answer["previous"]) == ("a/b:3", "a/b:1")
    assert [record["image"] for record in rollout.read(service.file.read_text())] == [
        "a/b:1",
        "a/b:3",
    ]


def test_a_rollout_waits_for_one_that_is_being_recorded(
    service: Service,
) -> None:
    service.rolled_out("a/b:1")
    options = {"image": "a/b:2", "hash": "2", "service": "whisperx"}
    script = (
        "import json, sys; sys.path[:0] = json.loads(sys.argv[1])\n"
        "from pathlib import Path\n"
        "from ansible_collections.spark.speech.plugins.modules import rollout\n"
        "options = json.loads(sys.argv[2]) | {'by': 'second', 'action': 'install'}\n"
        f"print(rollout.record_rollout(options, Path({str(service.file)!r}), False)[1])"
    )
    with service.file.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        arguments = [json.dumps(sys.path), json.dumps(options)]
        command = [sys.executable, "-c", script, *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
            try:
                while not waits_for_a_lock(second.pid):
                    assert second.poll() is None, "it did not wait"
                    time.sleep(0.02)
                with service.file.open("a") as ours:
                    ours.write(json.dumps({"image": "a/b:2", "hash": "2"}) + "\n")
                fcntl.flock(file, fcntl.LOCK_UN)
                assert second.communicate()[0] == "False\n", "it read what was recorded meanwhile"
            finally:
                second.kill()


def waits_for_a_lock(pid: int) -> bool:
    """Read /proc/locks, where a lock that is waited for has an arrow."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and str(pid) in line.split() for line in lines)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"service": "a/b"}, "not the name of a service"),
        ({"image": "-x"}, "not the name of an image"),
        ({"image": "a b"}, "not the name of an image"),
        ({"repo": "--all"}, "not the name of an image"),
    ],
)
def test_a_bad_option_is_refused(
    options: dict[str, object], said: str, run_module: RunModule, tmp_path: Path
) -> None:
    good = {"service": "whisperx", "state_dir": str(tmp_path / "state")}
    answer = run_module("rollout", **{**good, **options})
    assert answer["failed"]
    assert said in answer["msg"]
    assert not (tmp_path / "state").exists()


def test_a_state_folder_that_cannot_be_written_is_told(
    run_module: RunModule, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file")
    answer = run_module("rollout", service="whisperx", image="a:1", state_dir=f"{tmp_path}/state")
    assert answer["failed"]
    assert "cannot be recorded" in answer["msg"]


# With a real engine


class Images:
    """Small images of one repository, each of its own content, and containers of them."""

    def __init__(self, docker: RunDocker) -> None:
        self.docker = docker
        self.repo = f"spark-test-rollout/{uuid.uuid4().hex[:8]}"
        self.containers: list[str] = []

    def make(self, tag: str, of: str | None = None) -> str:
        """Make the image, or another tag of one that is there."""
        name = f"{self.repo}:{tag}"
        if of:
            self.docker("tag", of, name)
        else:
            self.docker("import", "--change", f"LABEL tag={tag}", "-", name, stdin=bytes(10_240))
        return name

    def use(self, image: str) -> None:
        """Make a container of it, which was never started."""
        self.containers.append(self.docker("create", image, "/none"))

    def there(self) -> list[str]:
        """Return the tags that are there."""
        return sorted(self.docker("image", "ls", "--format", "{{.Tag}}", self.repo).split())


@pytest.fixture
def images(docker: RunDocker) -> Iterator[Images]:
    made = Images(docker)
    yield made
    for container in made.containers:
        docker("rm", "--force", container)
    for tag in made.there():
        docker("image", "rm", "--force", f"{made.repo}:{tag}")


def test_images_that_nobody_needs_are_removed_and_all_others_stay(
    service: Service, images: Images
) -> None:
    tags = ["old", "older", "used", "previous", "current"]
    names = {tag: images.make(tag) for tag in tags}
    names["used-too"] = images.make("used-too", of=names["used"])
    images.use(names["used"])
    other = Images(images.docker)
    elsewhere = other.make("old")
    try:
        service.rolled_out(names["older"])
        service.rolled_out(names["previous"])
        options: dict[str, Any] = {
            "image": names["current"],
            "hash": "c",
            "repo": images.repo,
        }
        everything = images.there()
        predicted = service.run(check=True, **options)
        assert images.there() == everything
        done = service.run(**options)
        assert told(predicted) == told(done)
        assert done["pruned"] == [names["old"], names["older"]]
        assert done["changed"]
        assert images.there() == ["current", "previous", "used", "used-too"]
        assert other.there() == ["old"]
        assert f"image: {names['old']}\n" in done["diff"]["before"]
        assert f"image: {names['old']}\n" not in done["diff"]["after"]
        assert f"image: {names['used']}\n" in done["diff"]["after"]
        again = service.run(**options)
        assert not again["changed"]
        assert again["pruned"] == []
    finally:
        other.docker("image", "rm", elsewhere)


def test_without_a_repository_no_image_is_removed(service: Service, images: Images) -> None:
    images.make("old")
    answer = service.rolled_out(images.make("new"))
    assert answer["pruned"] == []
    assert images.there() == ["new", "old"]


def test_of_a_repository_of_somebody_else_only_what_was_rolled_out_here_is_removed(
    service: Service, images: Images
) -> None:
    names = {tag: images.make(tag) for tag in ("theirs", "first", "second", "third")}
    for tag in ("first", "second"):
        service.rolled_out(names[tag])
    done = service.run(image=names["third"], repo=images.repo, recorded_only=True)
    assert done["pruned"] == [names["first"]]
    assert images.there() == ["second", "theirs", "third"]


def test_an_image_without_a_hash_is_recorded_by_its_id(service: Service, images: Images) -> None:
    name = images.make("given")
    service.run(image=name)
    assert service.lines()[-1]["hash"] == images.docker("inspect", "-f", "{{.Id}}", name).strip()
    assert not service.run(image=name)["changed"]


def test_the_previous_image_is_another_one_than_what_runs(service: Service) -> None:
    for image in ("a:1", "a:2"):
        service.rolled_out(image)
    assert service.run()["previous"] == "a:1"
    assert service.run(running="a:3")["previous"] == "a:2"
    assert service.run(running="a:2")["previous"] == "a:1"
