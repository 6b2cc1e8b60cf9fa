"""What an image is built from: the same bytes and the same hash, wherever and whenever packed."""

import hashlib
import os
import shutil
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.spark.speech.plugins.modules import build_context

RunModule = Callable[..., dict[str, Any]]
REPOSITORY = Path(__file__).resolve().parents[2]
LISTING = "# what it is built from\nimages/app\n\nlib/text.py\nrun.sh\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small tree with the repository's layout."""
    return a_tree(tmp_path / "checkout")


def a_tree(root: Path) -> Path:
    files = {
        "images/app/Dockerfile": "FROM scratch\n",
        "images/app/context.txt": LISTING,
        "images/app/app/server.py": "print()\n",
        "images/app/app/__pycache__/server.cpython-311.pyc": "old",
        "images/app/stray.pyc": "old",
        "lib/text.py": "x = 1\n",
        "lib/not_listed.py": "",
        "run.sh": "#!/bin/sh\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "run.sh").chmod(0o755)
    return root


def names(tar: Path) -> list[str]:
    with tarfile.open(tar) as opened:
        return opened.getnames()


def test_the_listed_files_and_the_dockerfile_are_packed_and_caches_are_not(
    root: Path, tmp_path: Path, run_module: RunModule
) -> None:
    dest = tmp_path / "context.tar"
    answer = run_module("build_context", root=str(root), name="app", dest=str(dest))
    assert answer["changed"]
    assert answer["files"] == [
        "images/app/Dockerfile",
        "images/app/app/server.py",
        "images/app/context.txt",
        "lib/text.py",
        "run.sh",
    ]
    assert names(dest) == answer["files"]
    assert answer["path"] == str(dest)
    assert answer["size_bytes"] == dest.stat().st_size
    assert len(answer["hash"]) == 64
    assert answer["diff"]["before"] == ""
    assert hashlib.sha256(dest.read_bytes()).hexdigest() in answer["diff"]["after"]


def test_a_second_run_changes_nothing_and_leaves_the_tar_alone(
    root: Path, tmp_path: Path, run_module: RunModule
) -> None:
    dest = tmp_path / "context.tar"
    first = run_module("build_context", root=str(root), name="app", dest=str(dest))
    written = dest.stat()
    second = run_module("build_context", root=str(root), name="app", dest=str(dest))
    assert not second["changed"]
    assert second["hash"] == first["hash"]
    assert (dest.stat().st_ino, dest.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkout", "context.tar"]


def test_check_mode_tells_what_the_real_run_does_and_writes_nothing(
    root: Path, tmp_path: Path, run_module: RunModule
) -> None:
    dest = tmp_path / "context.tar"
    options = {"root": str(root), "name": "app", "dest": str(dest)}
    predicted = run_module("build_context", check=True, **options)
    assert not dest.exists()
    done = run_module("build_context", **options)
    for key in ("changed", "hash", "size_bytes", "files", "diff"):
        assert predicted[key] == done[key]
    assert not run_module("build_context", check=True, **options)["changed"]


def test_without_a_tar_to_write_the_hash_is_told_and_nothing_changes(
    root: Path, run_module: RunModule
) -> None:
    answer = run_module("build_context", root=str(root), name="app")
    assert not answer["changed"]
    assert answer["path"] is None
    assert len(answer["hash"]) == 64


def test_the_bytes_do_not_depend_on_place_time_owner_umask_or_order(tmp_path: Path) -> None:
    packed = []
    for number, umask in enumerate((0o022, 0o077)):
        before = os.umask(umask)
        try:
            root = a_tree(tmp_path / f"copy{number}")
        finally:
            os.umask(before)
        for path in sorted(root.rglob("*"), reverse=bool(number)):
            os.utime(path, (number * 10**9, number * 10**9))
        dest = tmp_path / f"{number}.tar"
        with dest.open("wb") as file:
            build_context.pack(file, build_context.context_files(root, "app"), {}, {})
        packed.append(dest.read_bytes())
    assert packed[0] == packed[1]


def test_each_file_has_no_owner_no_time_and_one_of_two_modes(root: Path, tmp_path: Path) -> None:
    (root / "lib/text.py").chmod(0o664)
    dest = tmp_path / "context.tar"
    with dest.open("wb") as file:
        build_context.pack(file, build_context.context_files(root, "app"), {}, {})
    with tarfile.open(dest) as tar:
        for member in tar.getmembers():
            assert (member.uid, member.gid, member.mtime) == (0, 0, 0)
            assert (member.uname, member.gname) == ("", "")
            assert member.mode == (0o755 if member.name == "run.sh" else 0o644)


def test_a_folder_with_only_what_is_listed_gives_the_same_tar_as_the_checkout(
    root: Path, tmp_path: Path
) -> None:
    contexts = tmp_path / "contexts"
    files = build_context.context_files(root, "app")
    for name, path in files.items():
        (contexts / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, contexts / name)
    there = build_context.pack(None, build_context.context_files(contexts, "app"), {}, {})
    assert there == build_context.pack(None, files, {}, {})


def packed_hash(root: Path, arguments: dict[str, object] | None = None) -> str:
    files = build_context.context_files(root, "app")
    return build_context.pack(None, files, arguments or {}, {}).content


def test_content_path_mode_and_arguments_each_change_the_hash(root: Path) -> None:
    seen = [packed_hash(root), packed_hash(root, {"A": "1"}), packed_hash(root, {"A": "2"})]
    (root / "lib/text.py").write_text("x = 2\n")
    seen.append(packed_hash(root))
    (root / "lib/text.py").chmod(0o755)
    seen.append(packed_hash(root))
    (root / "images/app/app/server.py").rename(root / "images/app/app/serve.py")
    seen.append(packed_hash(root))
    assert len(set(seen)) == len(seen)


def test_arguments_count_by_what_docker_gets_of_them_and_in_any_order(root: Path) -> None:
    assert packed_hash(root, {"A": 1, "B": "x"}) == packed_hash(root, {"B": "x", "A": "1"})


def test_extra_files_are_packed_and_not_hashed(
    root: Path, tmp_path: Path, run_module: RunModule
) -> None:
    wheels = tmp_path / "wheels"
    (wheels / "deep").mkdir(parents=True)
    (wheels / "a.whl").write_bytes(b"a" * 3_000_000)
    (wheels / "deep/b.whl").write_bytes(b"b")
    dest = tmp_path / "context.tar"
    extra = {"wheelhouse": str(wheels), "not/given": "", "neither": None}
    answer = run_module("build_context", root=str(root), name="app", dest=str(dest), extra=extra)
    assert answer["extra_files"] == ["wheelhouse/a.whl", "wheelhouse/deep/b.whl"]
    assert names(dest) == answer["files"] + answer["extra_files"]
    assert answer["hash"] == packed_hash(root)
    with tarfile.open(dest) as tar:
        large = tar.extractfile("wheelhouse/a.whl")
        assert large is not None
        assert large.read() == b"a" * 3_000_000


def test_a_large_extra_file_is_never_held_in_memory(root: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.whl"
    with large.open("wb") as file:
        file.truncate(64 << 20)
    files = build_context.context_files(root, "app")
    tracemalloc.start()
    try:
        packed = build_context.pack(None, files, {}, {"large.whl": large})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert packed.size > 64 << 20
    assert peak < 8 << 20


@pytest.mark.parametrize(
    ("listing", "said"),
    [
        ("../outside\n", "not a path inside"),
        ("lib/../../outside\n", "not a path inside"),
        ("/etc/passwd\n", "not a path inside"),
        (".\n", "not a path inside"),
        ("lib/none.py\n", "lib/none.py does not exist"),
        ("# nothing\n\n", "lists no path"),
        ("link.py\n", "symlink"),
        ("linked\n", "symlink"),
        ("linked/text.py\n", "symlink"),
        ("has_link\n", "symlink"),
        ("empty\n", "has no files"),
        ("pipe\n", "neither a file nor a folder"),
    ],
)
def test_a_path_that_cannot_be_packed_is_named_with_what_to_do(
    listing: str, said: str, root: Path, tmp_path: Path, run_module: RunModule
) -> None:
    (tmp_path / "outside").write_text("secret")
    (root / "link.py").symlink_to(tmp_path / "outside")
    (root / "linked").symlink_to(root / "lib")
    (root / "has_link").mkdir()
    (root / "has_link/link").symlink_to("../lib/text.py")
    (root / "empty").mkdir()
    os.mkfifo(root / "pipe")
    (root / "images/app/context.txt").write_text(listing)
    dest = tmp_path / "context.tar"
    answer = run_module("build_context", root=str(root), name="app", dest=str(dest))
    assert answer["failed"]
    assert said in answer["msg"]
    assert not dest.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"checkout", "outside"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "../app"}, "not the name of a service"),
        ({"name": "-x"}, "not the name of a service"),
        ({"name": "none"}, "must be a checkout"),
        ({"root": "/no/such/folder"}, "must be a checkout"),
        ({"extra": {"../x": "/etc/hostname"}}, "not a path inside"),
        ({"extra": {"wheelhouse": "/no/such/folder"}}, "/no/such/folder does not exist"),
        ({"extra": {"run.sh": "/etc/hostname"}}, "would replace run.sh"),
        ({"dest": "/no/such/folder/x.tar"}, "No such file"),
    ],
)
def test_a_bad_option_is_refused_with_what_to_do(
    options: dict[str, object], said: str, root: Path, run_module: RunModule
) -> None:
    answer = run_module("build_context", **{"root": str(root), "name": "app", **options})
    assert answer["failed"]
    assert said in answer["msg"]


def test_every_image_of_the_repository_can_be_packed() -> None:
    dockerfiles = sorted(REPOSITORY.glob("images/*/Dockerfile"))
    assert dockerfiles
    for dockerfile in dockerfiles:
        files = build_context.context_files(REPOSITORY, dockerfile.parent.name)
        assert f"images/{dockerfile.parent.name}/Dockerfile" in files
