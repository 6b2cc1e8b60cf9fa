"""What images are built from: complete, and the same in the tarball and in a checkout."""

import ast
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.spark.speech.plugins.modules.build_context import context_files

from tests.collection.conftest import RunModule
from tools import collection

ROOT = collection.ROOT
IMAGES = collection.images()
ENGINE = ROOT / ".venv/engine/bin/python"
OURS = ("images", "proxy_app")


def context_of(image: str, folder: Path) -> Path:
    """FOLDER with the context in it, and nothing else."""
    for name, source in context_files(ROOT, image).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    return folder


def imports_of(file: Path) -> Iterator[str]:
    """What a file imports of ours, also inside functions: modules, and names in them."""
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name for name in names if name.split(".")[0] in OURS)


def is_in(context: Path, name: str) -> bool:
    """Whether a module is there, or the one in which the name is."""
    path = context / name.replace(".", "/")
    places = [path.with_suffix(".py"), path / "__init__.py"]
    places += [path.parent.with_suffix(".py"), path.parent / "__init__.py"]
    return any(place.is_file() for place in places)


@pytest.mark.parametrize("image", IMAGES)
def test_a_context_has_what_its_own_code_imports(image: str, tmp_path: Path) -> None:
    context = context_of(image, tmp_path)
    sources = list(context.rglob("*.py"))
    assert sources
    assert [
        f"{source.relative_to(context)}: {name}"
        for source in sources
        for name in imports_of(source)
        if not is_in(context, name)
    ] == []


def test_what_the_servers_share_imports_neither_of_them() -> None:
    sources = list((ROOT / "images/serving").rglob("*.py"))
    assert sources
    names = {name for source in sources for name in imports_of(source)}
    general = {f"proxy_app.{name}" for name in ("__version__", "audio", "settings", "speech")}
    assert {".".join(name.split(".")[:2]) for name in names} - general == {"images.serving"}


@pytest.mark.parametrize("image", IMAGES)
def test_a_context_has_nothing_that_a_run_leaves_behind(image: str) -> None:
    names = [Path(name) for name in context_files(ROOT, image)]
    folders = {"__pycache__", ".git", ".venv", ".run", ".molecule", "dist", "wheelhouse"}
    suffixes = {".pyc", ".key", ".pem", ".log", ".gz", ".whl", ".sqlite", ".wav", ".nemo"}
    assert [str(name) for name in names if folders & set(name.parts)] == []
    left = {str(name) for name in names if name.suffix in suffixes}
    assert left - {"proxy_app/watch/clip/clip.wav"} == set()  # what a deep probe says


def test_the_whisperx_server_imports_from_its_context_alone(tmp_path: Path) -> None:
    if not ENGINE.exists():
        pytest.skip("no .venv/engine: `make setup` creates it")
    context = context_of("whisperx", tmp_path)
    subprocess.run([ENGINE, "-m", "compileall", "-q", "."], cwd=context, check=True)
    code = """
import importlib, pathlib, sys
sys.path.insert(0, ".")
from images.whisperx import check_image
for file in sorted(pathlib.Path("images/whisperx/app").rglob("*.py")):
    importlib.import_module(".".join(file.with_suffix("").parts).removesuffix(".__init__"))
for name in check_image.SERVER:
    importlib.import_module(name)
for name, module in list(sys.modules.items()):
    if name.split(".")[0] in ("images", "proxy_app") and getattr(module, "__file__", None):
        print(module.__file__)
"""
    done = subprocess.run(
        [ENGINE, "-I", "-c", code],
        cwd=context, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded = [(context / line).resolve() for line in done.stdout.splitlines()]
    assert len(loaded) > 30
    assert [path for path in loaded if not path.is_relative_to(context)] == []


def test_the_tarball_has_every_context_and_nothing_else_of_the_repository(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = {member.name for member in archive if member.isfile()}
    in_contexts = {name for name in names if name.startswith("contexts/")}
    assert in_contexts == {f"contexts/{name}" for name in collection.contexts()}
    assert f"contexts/images/{IMAGES[0]}/Dockerfile" in names

    own = {
        path.relative_to(collection.COLLECTION).as_posix()
        for path in collection.COLLECTION.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    made = {"MANIFEST.json", "FILES.json", "LICENSE", collection.NOT_CHECKED}
    assert names - in_contexts == own - {"galaxy.yml"} | made


def test_an_installed_context_has_the_same_bytes_and_may_be_run_alike(installed: Path) -> None:
    for name, source in collection.contexts().items():
        there = installed / "contexts" / name
        assert there.read_bytes() == source.read_bytes(), name
        assert os.access(there, os.X_OK) == os.access(source, os.X_OK), name


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_the_same_hash_from_the_tarball_and_from_a_checkout(
    image: str, installed: Path, tmp_path: Path, run_module: RunModule
) -> None:
    found = []
    for number, root in enumerate((ROOT, installed / "contexts")):
        packed = tmp_path / f"{number}.tar"
        answer = run_module("build_context", root=str(root), name=image, dest=str(packed))
        assert not answer.get("failed"), answer["msg"]
        found.append((answer["hash"], packed.read_bytes()))
    assert found[0] == found[1]


def test_versions_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "galaxy.yml").write_text("---\nversion: 9.9.9\n")
    monkeypatch.setattr(collection, "COLLECTION", tmp_path)
    with pytest.raises(
        collection.CollectionError, match=r"galaxy\.yml has version 9\.9\.9, .* 0\."
    ):
        collection.build(tmp_path)


def test_a_build_that_fails_says_why(tmp_path: Path) -> None:
    galaxy = tmp_path / "ansible-galaxy"
    galaxy.write_text("#!/bin/sh\necho 'ERROR! The collection galaxy.yml is wrong' >&2\nexit 1\n")
    galaxy.chmod(0o755)
    with pytest.raises(collection.CollectionError, match=r"galaxy\.yml is wrong"):
        collection.build(tmp_path, galaxy)
