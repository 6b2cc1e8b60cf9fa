"""Patching a container that somebody else made, on a real engine, and taking the patch back."""

import hashlib
import io
import json
import os
import stat
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.spark.speech.plugins.module_utils.container_files import File
from ansible_collections.spark.speech.plugins.module_utils.patch_manifest import Entry
from ansible_collections.spark.speech.plugins.module_utils.patch_plan import (
    Edit,
    Patch,
    PatchError,
)

from tests.collection.conftest import RunDocker, RunModule

APP = "/opt/parakeet/app"
MAIN, COPY, ADDED = f"{APP}/main.py", f"{APP}/main.py.pre-sortformer", f"{APP}/diarizer.py"
MAIN_TEXT = "from fastapi import FastAPI\n\napp = FastAPI()\n"
BLOCK = "from diarizer import mount\nmount(app)\n"
PATCHED_TEXT = (
    f"{MAIN_TEXT}# BEGIN sortformer (spark.speech)\n{BLOCK}# END sortformer (spark.speech)\n"
)
FILES: list[dict[str, Any]] = [
    {"path": ADDED, "content": "def mount(app): ...\n"},
    {
        "path": MAIN,
        "edit": {"block": BLOCK},
        "requires": [{"pattern": r"^app\s*=\s*FastAPI\(", "reason": "It has no `app`."}],
    },
]
Module = Callable[..., dict[str, Any]]


class Held(NamedTuple):
    """A file of a container as `docker cp` tells of it."""

    text: str
    mode: int
    uid: int
    gid: int
    mtime: int


class Box:
    """A container of somebody else's, with a FastAPI app that belongs to user 7."""

    def __init__(self, docker: RunDocker, image: str) -> None:
        self.name = f"speech-patch-{uuid.uuid4().hex[:8]}"
        self._docker = docker
        self._image = image

    def make(self, *options: str, start: bool = True) -> None:
        given = ("--name", self.name, "--network", "none", "--stop-signal", "KILL", *options)
        self._docker("create", *given, self._image, "sleep", "600")
        self.write(MAIN, MAIN_TEXT)
        if start:
            self._docker("start", self.name)

    def write(self, path: str, text: str, mode: int = 0o640, kind: bytes = tarfile.REGTYPE) -> None:
        """Write a file, and the folders that lead to it."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for parent in list(reversed(Path(path).parents))[1:]:
                folder = tarfile.TarInfo(str(parent).lstrip("/"))
                folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(folder)
            header = tarfile.TarInfo(path.lstrip("/"))
            header.mode, header.uid, header.gid, header.mtime = mode, 7, 9, 1_600_000_000
            header.size, header.type = len(text.encode()), kind
            if kind == tarfile.SYMTYPE:
                header.size, header.linkname = 0, text
            tar.addfile(header, io.BytesIO(text.encode()))
        self._docker("cp", "-", f"{self.name}:/", stdin=archive.getvalue())

    def read(self, path: str) -> Held | None:
        try:
            raw = self._docker("cp", f"{self.name}:{path}", "-")
        except AssertionError:
            return None
        with tarfile.open(fileobj=io.BytesIO(raw.encode() + b"\0" * 10240)) as tar:
            header = tar.next()
            assert header is not None
            content = tar.extractfile(header)
            assert content is not None
            text = content.read().decode()
        return Held(text, header.mode & 0o7777, header.uid, header.gid, int(header.mtime))

    def all(self) -> dict[str, Held | None]:
        return {path: self.read(path) for path in (MAIN, COPY, ADDED)}

    @property
    def status(self) -> str:
        return self._docker("inspect", "--format", "{{.State.Status}}", self.name)

    def remove(self) -> None:
        if self._docker("ps", "--all", "--quiet", "--filter", f"name={self.name}"):
            self._docker("rm", "--force", self.name)


@pytest.fixture
def box(docker: RunDocker, base_image: str) -> Iterator[Box]:
    box = Box(docker, base_image)
    yield box
    box.remove()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sortformer" / "parakeet"


def manifests(folder: Path) -> list[Path]:
    return list(folder.rglob("manifest.json")) + list(folder.rglob("originals"))


@pytest.fixture
def patch(run_module: RunModule, box: Box, folder: Path) -> Module:
    def patch(state: str = "present", **options: object) -> dict[str, Any]:
        given = {"container": box.name, "name": "sortformer", "manifest_dir": str(folder)}
        return run_module("container_patch", state=state, **{**given, "files": FILES, **options})

    return patch


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


PRISTINE = {MAIN: Held(MAIN_TEXT, 0o640, 7, 9, 1_600_000_000), COPY: None, ADDED: None}


def assert_patched(box: Box) -> None:
    main, copy, added = box.all().values()
    assert main is not None
    assert added is not None
    assert main[:4] == (PATCHED_TEXT, 0o640, 7, 9)
    assert copy == PRISTINE[MAIN]
    assert added[:4] == ("def mount(app): ...\n", 0o644, 7, 9)
    # Python would take a compiled file of before for current.
    assert min(main.mtime, added.mtime) > 1_600_000_000


@pytest.mark.parametrize("start", [True, False], ids=["running", "stopped"])
def test_patching_and_taking_back_leaves_everything_as_it_was(
    box: Box, patch: Module, folder: Path, start: bool
) -> None:
    box.make(start=start)

    foretold = patch(check=True)
    assert box.all() == PRISTINE
    assert not folder.exists()
    done = patch()
    assert_patched(box)
    assert (done["before"], done["state"], done["changed"]) == ("pristine", "patched", True)
    assert done["container_changed"]
    assert {**foretold, "invocation": 0} == {**done, "invocation": 0}
    again = patch()
    assert (again["before"], again["changed"], again["container_changed"]) == (
        "patched",
        False,
        False,
    )
    assert patch("query")["state"] == "patched"

    foretold = patch("absent", check=True)
    assert_patched(box)
    gone = patch("absent")
    assert box.all() == PRISTINE
    assert (gone["before"], gone["state"], gone["changed"]) == ("patched", "pristine", True)
    assert {**foretold, "invocation": 0} == {**gone, "invocation": 0}
    assert not folder.exists()
    again = patch("absent")
    assert (again["changed"], again["container_changed"]) == (False, False)
    assert patch("query")["state"] == "pristine"
    assert (box.status == "running") is start


def test_the_diff_shows_the_text_before_and_after(box: Box, patch: Module) -> None:
    box.make()
    rows = {row["after_header"].split(" ")[0]: row for row in patch()["diff"]}
    assert set(rows) == {f"{box.name}:{path}" for path in (MAIN, COPY, ADDED)}
    row = rows[f"{box.name}:{MAIN}"]
    assert (row["before"], row["after"]) == (MAIN_TEXT, PATCHED_TEXT)
    assert row["before_header"] == f"{box.name}:{MAIN} (mode 0640, owner 7:9)"
    assert rows[f"{box.name}:{ADDED}"]["before"] == ""
    assert rows[f"{box.name}:{ADDED}"]["before_header"].endswith("(absent)")


def test_taking_back_needs_the_manifest_alone(box: Box, patch: Module) -> None:
    box.make()
    patch()
    assert patch("query", files=[])["state"] == "patched"
    assert patch("absent", files=[])["changed"]
    assert box.all() == PRISTINE


def test_the_manifest_holds_what_was_there_before_the_first_change(
    box: Box, patch: Module, folder: Path, docker: RunDocker, tmp_path: Path
) -> None:
    box.make()
    with pytest.raises(AssertionError, match="gave no answer"):
        patch(env=fault(tmp_path, "cp -", 1, CUT_OFF))
    assert box.all() == PRISTINE
    told = json.loads((folder / "manifest.json").read_text())
    assert told["container_id"] == docker("inspect", "--format", "{{.Id}}", box.name)
    assert told["image_id"] == docker("inspect", "--format", "{{.Image}}", box.name)
    files = {row["path"]: row for row in told["files"]}
    assert files[ADDED]["original"] == "absent"
    assert files[MAIN]["original"] == {
        "sha256": sha(MAIN_TEXT),
        "mode": "0640",
        "uid": 7,
        "gid": 9,
        "mtime": 1_600_000_000,
    }
    assert files[MAIN]["ours"] == [sha(PATCHED_TEXT)]
    assert (folder / "originals" / sha(MAIN_TEXT)).read_text() == MAIN_TEXT
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


CUT_OFF = "kill -9 $PPID; exit 1"


def fault(folder: Path, command: str, nth: int, action: str) -> dict[str, str]:
    """A docker command that does ACTION instead of the nth COMMAND, for a run of the module."""
    real = next(
        path
        for path in (Path(each) / "docker" for each in os.environ["PATH"].split(os.pathsep))
        if path.exists()
    )
    shim = folder / "bin" / "docker"
    shim.parent.mkdir(exist_ok=True)
    count = folder / "count"
    count.write_text("")
    shim.write_text(
        f'#!/bin/sh\ncase "$*" in "{command}"*)\n'
        f"  echo >> {count}; [ $(wc -l < {count}) != {nth} ] || {{ {action}; }};;\n"
        f'esac\nexec {real} "$@"\n'
    )
    shim.chmod(0o755)
    return {"PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize("then", ["present", "absent"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_patch_that_was_cut_off_is_completed_or_taken_back(
    box: Box, patch: Module, tmp_path: Path, nth: int, then: str
) -> None:
    box.make()
    with pytest.raises(AssertionError, match="gave no answer"):
        patch(env=fault(tmp_path, "cp -", nth, CUT_OFF))
    assert patch("query")["state"] == ("pristine" if nth == 1 else "partial")
    assert patch(then)["changed"]
    if then == "present":
        assert_patched(box)
        assert not patch()["changed"]
    else:
        assert box.all() == PRISTINE
        assert not manifests(tmp_path)


@pytest.mark.parametrize("then", ["present", "absent"])
@pytest.mark.parametrize("command", ["cp -", "exec"])
def test_taking_back_that_was_cut_off_is_completed_or_patched_again(
    box: Box, patch: Module, tmp_path: Path, command: str, then: str
) -> None:
    box.make()
    patch()
    with pytest.raises(AssertionError, match="gave no answer"):
        patch("absent", env=fault(tmp_path, command, 1, CUT_OFF))
    assert patch("query")["state"] == ("patched" if command == "cp -" else "partial")
    patch(then)
    if then == "present":
        assert_patched(box)
    else:
        assert box.all() == PRISTINE
        assert not manifests(tmp_path)


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_patch_that_fails_is_put_back_with_the_reason(
    box: Box, patch: Module, tmp_path: Path, folder: Path, nth: int
) -> None:
    box.make()
    failed = patch(env=fault(tmp_path, "cp -", nth, "echo no space left >&2; exit 1"))
    assert failed["failed"]
    assert "It was not patched, and is as without it" in failed["msg"]
    assert "no space left" in failed["msg"]
    assert box.all() == PRISTINE
    assert not folder.exists()


def test_what_another_process_wrote_meanwhile_is_noticed(
    box: Box, patch: Module, tmp_path: Path
) -> None:
    box.make()
    # Docker says it was written, and it was not.
    failed = patch(env=fault(tmp_path, "cp -", 3, "cat > /dev/null; exit 0"))
    assert f"{MAIN} is not what was written" in failed["msg"]
    assert box.all() == PRISTINE


def test_taking_back_that_fails_keeps_the_manifest_and_says_what_to_do(
    box: Box, patch: Module, tmp_path: Path, folder: Path
) -> None:
    box.make()
    patch()
    failed = patch("absent", env=fault(tmp_path, "exec", 1, "echo no rm here >&2; exit 127"))
    assert "no rm here" in failed["msg"]
    assert "Run again with state absent" in failed["msg"]
    assert (folder / "manifest.json").exists()
    assert patch("absent")["changed"]
    assert box.all() == PRISTINE


def test_an_edit_by_hand_is_refused_with_both_hashes_and_overwritten_by_force_alone(
    box: Box, patch: Module
) -> None:
    box.make()
    patch()
    edited = PATCHED_TEXT + "print('mine')\n"
    box.write(MAIN, edited)
    assert patch("query")["state"] == "drifted"
    for state in ("present", "absent"):
        for check in (True, False):
            refused = patch(state, check=check)
            assert refused["failed"]
            for told in (MAIN, sha(edited), sha(MAIN_TEXT), sha(PATCHED_TEXT), "force"):
                assert told in refused["msg"]
    main = box.read(MAIN)
    assert main is not None
    assert main.text == edited

    assert patch(force=True)["changed"]
    assert_patched(box)
    box.write(MAIN, edited)
    assert patch("absent", force=True)["changed"]
    assert box.all() == PRISTINE


def test_a_mode_that_somebody_changed_is_put_right(box: Box, patch: Module) -> None:
    box.make()
    patch()
    box.write(MAIN, PATCHED_TEXT, mode=0o666)
    assert patch("query")["state"] == "partial"
    assert patch()["changed"]
    assert_patched(box)


def test_a_file_that_somebody_removed_is_put_back(
    box: Box, patch: Module, docker: RunDocker
) -> None:
    box.make()
    patch()
    docker("exec", box.name, "rm", MAIN, ADDED)
    assert patch("query")["state"] == "partial"
    assert patch()["changed"]
    assert_patched(box)
    docker("exec", box.name, "rm", MAIN)
    patch("absent")
    assert box.all() == PRISTINE


def found(patch: Module) -> tuple[str, str]:
    """The state of the container, and of what container there is a manifest."""
    told = patch("query", files=[])
    return told["state"], told["manifest"]


def test_a_container_made_anew_has_lost_its_patch_and_nothing_is_wrong(
    box: Box, patch: Module, folder: Path
) -> None:
    box.make()
    assert patch()["manifest"] == "none"
    box.remove()
    assert found(patch) == ("missing", "stale")
    box.make()
    assert found(patch) == ("pristine", "stale")
    assert patch()["before"] == "pristine"
    assert_patched(box)
    assert not patch()["changed"]
    assert found(patch) == ("patched", "current")
    box.remove()
    box.make()
    gone = patch("absent")
    assert (gone["state"], gone["container_changed"]) == ("pristine", False)
    assert not folder.exists()
    assert box.all() == PRISTINE


def test_without_a_container_there_is_nothing_to_take_back_and_nothing_to_patch(
    box: Box, patch: Module, folder: Path
) -> None:
    box.make()
    patch()
    box.remove()
    assert f"There is no container {box.name}" in patch()["msg"]
    assert patch("query")["state"] == "missing"
    assert patch("absent")["state"] == "missing"
    assert not folder.exists()
    assert not patch("absent")["changed"]


@pytest.mark.parametrize("then", ["present", "absent"])
def test_without_the_manifest_the_copy_in_the_container_tells_what_was_there(
    box: Box, patch: Module, folder: Path, then: str
) -> None:
    box.make()
    patch()
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert patch("query")["state"] == "patched"
    done = patch(then)
    if then == "present":
        assert (done["changed"], done["container_changed"]) == (True, False)
        assert not patch()["changed"]
        assert patch("absent", files=[])["changed"]
    assert box.all() == PRISTINE


def test_a_patch_of_which_nothing_tells_what_was_there_is_not_touched(
    box: Box, patch: Module, docker: RunDocker, folder: Path
) -> None:
    box.make()
    patch()
    docker("exec", box.name, "rm", COPY)
    (folder / "manifest.json").unlink()
    before = box.all()
    assert patch("query")["state"] == "drifted"
    assert "already" in patch(force=True)["msg"]
    assert "Make the container anew" in patch("absent", force=True)["msg"]
    assert box.all() == before


@pytest.mark.parametrize("damage", ["cut", "list", "original changed", "original gone"])
def test_a_manifest_that_cannot_be_used_says_what_to_do(
    box: Box, patch: Module, folder: Path, damage: str
) -> None:
    box.make()
    patch()
    original = folder / "originals" / sha(MAIN_TEXT)
    if damage == "original changed":
        original.write_text("x")
    elif damage == "original gone":
        original.unlink()
    else:
        (folder / "manifest.json").write_text("{" if damage == "cut" else "[]")
    for state in ("present", "absent", "query"):
        refused = patch(state)
        assert refused["failed"]
        assert f"Delete {folder} and run again" in refused["msg"]
    assert_patched(box)


def test_a_file_of_somebody_else_in_the_place_of_an_added_one_is_kept(
    box: Box, patch: Module, folder: Path
) -> None:
    box.make()
    box.write(ADDED, "mine\n")
    before = box.all()
    refused = patch()
    assert f"{ADDED} (found {sha('mine' + chr(10))}" in refused["msg"]
    assert box.all() == before
    assert not folder.exists()
    assert not patch("absent")["changed"]
    assert patch(force=True)["changed"]
    assert_patched(box)
    patch("absent")
    assert box.all() == before


def test_a_container_that_is_not_recognised_is_refused_with_the_reason(
    box: Box, patch: Module, folder: Path
) -> None:
    box.make()
    box.write(MAIN, "application = Flask()\n")
    before = box.all()
    for check in (True, False):
        refused = patch(check=check)
        assert refused["failed"]
        assert f"{MAIN} is not what this patch is for: It has no `app`." in refused["msg"]
    assert box.all() == before
    assert not folder.exists()
    assert not patch("absent")["changed"]
    assert patch("query")["said"] == f"{MAIN} is not what this patch is for: It has no `app`."


def test_a_container_without_the_file_is_refused(
    box: Box, patch: Module, docker: RunDocker
) -> None:
    box.make()
    docker("exec", box.name, "rm", MAIN)
    assert f"There is no {MAIN} in this container" in patch()["msg"]
    assert not patch("absent")["changed"]


def test_another_version_of_the_patch_replaces_it_and_all_of_it_can_be_taken_back(
    box: Box, patch: Module, tmp_path: Path
) -> None:
    box.make()
    box.write(f"{APP}/other.py", "theirs\n")
    source = tmp_path / "models.py"
    source.write_text("new\n")
    patch(files=[*FILES, {"path": f"{APP}/dropped.py", "content": "old\n"}])
    update = [
        {"path": f"{APP}/models.py", "src": str(source), "mode": 0o755},
        {"path": ADDED, "content": "def mount(app): return 2\n"},
        {"path": MAIN, "edit": {"block": "import models", "before": "^app"}},
    ]
    assert patch("query", files=update)["state"] == "partial"
    assert patch(files=update)["changed"]
    assert box.read(f"{APP}/dropped.py") is None
    models, main = box.read(f"{APP}/models.py"), box.read(MAIN)
    assert models is not None
    assert main is not None
    assert models[:4] == ("new\n", 0o755, 7, 9)
    lines = main.text.splitlines()
    assert lines[0] == "from fastapi import FastAPI"
    assert lines[lines.index("import models") + 2].startswith("app")
    assert not patch(files=update)["changed"]
    patch("absent", files=[])
    assert box.all() == PRISTINE
    assert box.read(f"{APP}/models.py") is None
    assert box.read(f"{APP}/other.py") is not None


def test_one_that_restarts_again_and_again_can_be_patched_and_taken_back(
    box: Box, patch: Module, docker: RunDocker, base_image: str
) -> None:
    # As one whose patched service does not start.
    options = ("--name", box.name, "--network", "none", "--restart", "always")
    script = f"! grep -q sortformer {MAIN} && exec sleep 600"
    docker("create", *options, base_image, "sh", "-c", script)
    box.write(MAIN, MAIN_TEXT)
    docker("start", box.name)
    patch()
    docker("restart", "--time", "0", box.name)
    while box.status == "running":
        time.sleep(0.1)
    patch("absent")
    assert box.all() == PRISTINE
    assert box.status in ("running", "restarting")


def test_one_that_runs_as_another_user_is_cleaned_up_too(box: Box, patch: Module) -> None:
    box.make("--user", "1000")
    patch()
    patch("absent")
    assert box.all() == PRISTINE


def test_one_that_is_paused_is_refused_in_check_mode_as_well(
    box: Box, patch: Module, docker: RunDocker, folder: Path
) -> None:
    box.make()
    docker("pause", box.name)
    for check in (True, False):
        assert f"docker unpause {box.name}" in patch(check=check)["msg"]
    assert not folder.exists()


def test_one_that_is_read_only_is_refused_and_left_as_it_is(
    box: Box, patch: Module, docker: RunDocker, base_image: str, folder: Path
) -> None:
    box.make()
    image = docker("commit", box.name)
    box.remove()
    docker("create", "--name", box.name, "--read-only", "--network", "none", image)
    refused = patch()
    box.remove()
    docker("rmi", image)
    assert "It was not patched, and is as without it" in refused["msg"]
    assert "read-only" in refused["msg"]
    assert not folder.exists()


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [(f"{APP}/real.py", tarfile.SYMTYPE, "is a link to"), ("", tarfile.FIFOTYPE, "no regular")],
    ids=["link", "pipe"],
)
def test_what_is_no_regular_file_is_refused(
    box: Box, patch: Module, text: str, kind: bytes, said: str
) -> None:
    box.make()
    box.write(MAIN, text, kind=kind)
    refused = patch()
    assert refused["failed"]
    assert said in refused["msg"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"container": "--x"}, "not the name of a container"),
        ({"name": "../x"}, "no name for a patch"),
        ({"name": "-x"}, "no name for a patch"),
        ({"files": [{"path": "main.py", "content": ""}]}, "must be a path from the root"),
        ({"files": [{"path": "/a/../b", "content": ""}]}, "must be a path from the root"),
        ({"files": [{"path": "/a/", "content": ""}]}, "must be a path from the root"),
        ({"files": [{"path": "/a\nb", "content": ""}]}, "must be a path from the root"),
        ({"files": [{"path": "/a", "content": ""}] * 2}, "named once"),
        ({"files": [{"path": "/a", "content": "", "mode": "u+x"}]}, "none like '0644'"),
        ({"files": [{"path": "/a", "content": "", "mode": "77777"}]}, "none like '0644'"),
        ({"files": [{"path": "/a", "src": "/nowhere"}]}, "src /nowhere cannot be read"),
        ({"files": [{"path": "/a", "src": "/dev/zero"}]}, "longer than"),
        ({"files": [{"path": "/a"}]}, "content, src, edit"),
        ({"files": [{"path": "/a", "content": "", "src": "/x"}]}, "mutually exclusive"),
        ({"files": [{"path": "/a", "edit": {"block": "", "before": "("}}]}, "regular expression"),
        ({"state": "present", "files": []}, "files must say"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_before_docker_is_asked(
    run_module: RunModule, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    given = {"container": "parakeet", "name": "sortformer", "manifest_dir": str(tmp_path)}
    no_docker = {"DOCKER_HOST": "unix:///nowhere.sock"}
    refused = run_module("container_patch", **{**given, "files": FILES, **options}, env=no_docker)
    assert refused["failed"]
    assert said in refused["msg"]


def edited(text: bytes, block: str = "new", before: str | None = None) -> bytes:
    patch = Patch("x", (), (Edit("/m.py", block, before, ()),))
    return patch.apply({"/m.py": Entry(File(text, 0o644, 0, 0, 0))}, 1)["/m.py"].data


@pytest.mark.parametrize(
    ("text", "before", "result"),
    [
        (b"a\n", None, b"a\nB\nnew\nE\n"),
        (b"a", None, b"a\nB\nnew\nE\n"),
        (b"", None, b"B\nnew\nE\n"),
        (b"a\r\nb\r\n", None, b"a\r\nb\r\nB\r\nnew\r\nE\r\n"),
        (b"a\nb\n", "^b$", b"a\nB\nnew\nE\nb\n"),
        (b"a\r\nb", "^b$", b"a\r\nB\r\nnew\r\nE\r\nb"),
        (b"a\na\n", "^a$", b"B\nnew\nE\na\na\n"),
        (b"b\na", "^c$", b"b\na\nB\nnew\nE\n"),
        ("a = '\u2028\x0c'\nb\n".encode(), "^b", "a = '\u2028\x0c'\nB\nnew\nE\nb\n".encode()),
    ],
)
def test_a_block_goes_before_its_line_or_to_the_end_in_the_files_own_line_ends(
    text: bytes, before: str | None, result: bytes
) -> None:
    found = edited(text, before=before)
    for short, line in ((b"B", b"# BEGIN x (spark.speech)"), (b"E", b"# END x (spark.speech)")):
        assert found.count(line) == 1
        found = found.replace(line, short)
    assert found == result


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff\n", "no text in UTF-8"),
        (b"# BEGIN x (spark.speech)\n", "already"),
    ],
)
def test_a_file_that_a_block_does_not_fit_into_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(PatchError, match=said):
        edited(text)
