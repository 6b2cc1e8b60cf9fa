"""Build dist/spark-speech-VERSION.tar.gz, the Ansible collection: `make collection`.

The tarball holds what images are built from, too, as contexts/: what images/*/context.txt list, in
the repository's own layout, so that a role finds there what it finds in a checkout. They are put
together in a temporary folder, never in the checkout, where they would be a second, stale copy.

Runs in Ansible's environment: the module build_context says what belongs to a context.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = ROOT / "collections/ansible_collections/spark/speech"
GALAXY = ROOT / ".venv/ansible/bin/ansible-galaxy"
# What `ansible-test sanity` leaves out. Programs of the images are no plugins: pylint would want
# Ansible's names, a shebang is a module's there, and typographic quotes are what the programs look
# for in speech.
NOT_CHECKED = "tests/sanity/ignore-2.19.txt"
NOT_FOR_IMAGES = ("no-smart-quotes", "pylint", "shebang")

sys.path.insert(0, str(ROOT / "collections"))
from ansible_collections.spark.speech.plugins.modules.build_context import (  # noqa: E402
    ContextError,
    context_files,
)

__all__ = [
    "ROOT",
    "CollectionError",
    "ContextError",
    "build",
    "context_files",
    "contexts",
    "images",
]


class CollectionError(Exception):
    """The collection cannot be built; the message says what to do."""


def images() -> list[str]:
    """The names of the images that have a context."""
    return sorted(path.parent.name for path in ROOT.glob("images/*/context.txt"))


def contexts() -> dict[str, Path]:
    """What the tarball has in contexts/: all images' files, and the lists of them.

    Raises:
        ContextError: a list names what is not there, or not in the repository.
    """
    files: dict[str, Path] = {}
    for image in images():
        listing = f"images/{image}/context.txt"
        files |= {listing: ROOT / listing, **context_files(ROOT, image)}
    return files


def assemble(destination: Path) -> None:
    """Put the collection together, with its contexts, in a folder that does not exist yet."""
    left_out = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(COLLECTION, destination, ignore=left_out)
    shutil.copy(ROOT / "LICENSE", destination)
    for name, source in contexts().items():
        target = destination / "contexts" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    programs = [name for name in contexts() if name.endswith(".py")]
    lines = [f"contexts/{name} {check}!skip" for name in programs for check in NOT_FOR_IMAGES]
    ignore = destination / NOT_CHECKED
    ignore.parent.mkdir(parents=True)
    ignore.write_text("".join(f"{line}\n" for line in lines))


def version() -> str:
    """The version in galaxy.yml, which is the project's.

    Raises:
        CollectionError: the two differ.
    """
    found = []
    for file, pattern in (
        (COLLECTION / "galaxy.yml", r'^version: *"?([^\s"]+)'),
        (ROOT / "proxy_app/__init__.py", r'^__version__ = "(.+)"'),
    ):
        match = re.search(pattern, file.read_text(), re.MULTILINE)
        found.append(match[1] if match else "none")
    if found[0] != found[1]:
        raise CollectionError(
            f"galaxy.yml has version {found[0]}, proxy_app/__init__.py {found[1]}: make them equal"
        )
    return found[0]


def build(output: Path, galaxy: Path = GALAXY) -> Path:
    """Build the tarball into the folder OUTPUT with the program GALAXY; returns its path."""
    tarball = output / f"spark-speech-{version()}.tar.gz"
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder) / "speech"
        assemble(staged)
        command = [str(galaxy), "collection", "build", str(staged)]
        command += ["--output-path", str(output), "--force"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CollectionError(f"ansible-galaxy collection build failed: {done.stderr.strip()}")
    return tarball


def main() -> int:
    """Build the tarball and print its path and size."""
    parser = argparse.ArgumentParser(description="Build the Ansible collection's tarball.")
    parser.add_argument("--galaxy", type=Path, default=GALAXY, help="the ansible-galaxy program")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="the tarball's folder")
    options = parser.parse_args()
    try:
        tarball = build(options.output, options.galaxy)
    except (CollectionError, ContextError, OSError) as error:
        print(f"collection: {error}", file=sys.stderr)
        return 1
    print(f"{tarball} ({tarball.stat().st_size / 1e3:.0f} kB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
