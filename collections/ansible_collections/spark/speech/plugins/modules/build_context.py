#!/usr/bin/python
# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0), which may be
# combined with the GNU General Public License v3.0 that Ansible itself is under
# SPDX-License-Identifier: Apache-2.0
"""Pack an image's build context and tell its content's hash."""

from __future__ import annotations

DOCUMENTATION = r"""
module: build_context
short_description: Pack an image's build context and tell its content's hash
description:
  - Reads C(images/NAME/context.txt) under O(root), which lists the files and folders that the image
    is built from, and packs them and C(images/NAME/Dockerfile) into a tar.
  - The hash is over the path, the executable bit and the bytes of each file, and O(arguments). It
    is the image's tag, so that the same content is never built twice. It does not depend on where
    O(root) is, nor on times, owners, umasks or the order in which a file system lists its files.
  - The same input always gives the same bytes of the tar.
  - Runs on the controller, with C(delegate_to=localhost).
version_added: 0.1.0
author: Spark Speech (@spark-speech)
options:
  root:
    description: A checkout of the repository, or the installed collection's C(contexts) folder.
    type: path
    required: true
  name:
    description: Which image, a folder of C(images).
    type: str
    required: true
  arguments:
    description: The build's arguments, as the same files make another image with others.
    type: dict
    default: {}
  extra:
    description:
      - Files and folders of the controller to pack as well. The key is the path in the context, the
        value the absolute one on the controller. An empty value is left out.
      - They are not part of the hash, as a folder of wheels changes where an image's packages come
        from and not what they are.
    type: dict
    default: {}
  dest:
    description: The tar to write. Without it nothing is written, and the hash is told all the same.
    type: path
attributes:
  check_mode:
    description: Everything is read and told. Nothing is written.
    support: full
  diff_mode:
    description: The SHA-256 of the tar before and after, as its content is code.
    support: full
  idempotent:
    description: A tar that has these very bytes is left as it is.
    support: full
"""

EXAMPLES = r"""
- name: Build | Ensure the build context's hash is known
  spark.speech.build_context:
    root: "{{ playbook_dir }}/.."
    name: whisperx
    arguments:
      BASE_IMAGE: debian:bookworm-slim
  delegate_to: localhost
  register: context

- name: Build | Ensure the build context is packed with a folder of wheels
  spark.speech.build_context:
    root: "{{ playbook_dir }}/.."
    name: whisperx
    extra:
      wheelhouse: /srv/wheels
    dest: /tmp/whisperx.tar
  delegate_to: localhost
"""

RETURN = r"""
hash:
  description: The content's SHA-256 in hex. Its first 12 digits are enough for a tag.
  returned: success
  type: str
  sample: 4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945
size_bytes:
  description: Size of the tar.
  returned: success
  type: int
  sample: 1044480
path:
  description: The tar that was written, or V(null).
  returned: success
  type: str
  sample: /tmp/whisperx.tar
files:
  description: The paths in the tar that the hash is over, in order.
  returned: success
  type: list
  elements: str
  sample: [images/whisperx/Dockerfile, images/whisperx/app/server.py]
extra_files:
  description: The paths in the tar that came from O(extra), in order.
  returned: success
  type: list
  elements: str
  sample: [wheelhouse/flask-3.1.0-py3-none-any.whl]
"""

import hashlib
import io
import json
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.spark.speech.plugins.module_utils.docker_cli import check_names

_CHUNK = 1 << 20


class ContextError(Exception):
    """A context that cannot be packed; the message says why and what to do."""


def relative(text: str, where: str) -> str:
    """Return the path as the tar names it, or refuse one that is absolute or leaves its folder."""
    path = PurePosixPath(text)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in text:
        raise ContextError(
            f"{where}: {text!r} is not a path inside the build context. "
            "Write it relative to the root and without '..'."
        )
    return str(path)


def listed(text: str, where: str) -> list[str]:
    """Read a context.txt: one path a line, empty lines and those that begin with # left out."""
    lines = (line.strip() for line in text.splitlines())
    paths = [relative(line, where) for line in lines if line and not line.startswith("#")]
    if not paths:
        raise ContextError(f"{where} lists no path. Write one a line, relative to the root.")
    return paths


def walk(source: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Give each file with its name in the tar; without Python's caches."""
    if source.is_symlink():
        raise ContextError(f"{source} is a symlink. Put the file itself in its place.")
    if source.is_dir():
        for child in source.iterdir():
            if child.name != "__pycache__" and child.suffix != ".pyc":
                yield from walk(child, f"{name}/{child.name}")
    elif source.is_file():
        yield name, source
    elif source.exists():
        raise ContextError(f"{source} is neither a file nor a folder.")
    else:
        raise ContextError(f"{source} does not exist.")


def context_files(root: Path, name: str) -> dict[str, Path]:
    """Return the files that an image is built from: their names in the tar, and where they are."""
    folder = f"images/{name}"
    listing = root / folder / "context.txt"
    if not listing.is_file():
        raise ContextError(
            f"{listing} does not exist. The root must be a checkout of the repository or the "
            "collection's contexts folder (`make collection` makes it), and the name a folder of "
            "its images."
        )
    paths = listed(listing.read_text("utf-8"), str(listing))
    if (root / folder / "Dockerfile").exists():  # what a patch is made of has none
        paths = [f"{folder}/Dockerfile", *paths]
    files: dict[str, Path] = {}
    for path in paths:
        parents = [root / parent for parent in PurePosixPath(path).parents]
        linked = next((parent for parent in parents[:-1] if parent.is_symlink()), None)
        if linked:
            raise ContextError(f"{linked} is a symlink, which may lead out of the root.")
        found = dict(walk(root / path, path))
        if not found:
            raise ContextError(f"{listing} lists {path}, which has no files.")
        files.update(found)
    return files


def extra_files(extra: dict[str, str | None], taken: dict[str, Path]) -> dict[str, Path]:
    """Return what else goes into the tar; a name that the context has already is refused."""
    files: dict[str, Path] = {}
    for name, source in extra.items():
        if source:
            files.update(walk(Path(source), relative(name, "extra")))
    both = sorted(taken.keys() & files.keys())
    if both:
        raise ContextError(f"extra would replace {both[0]} of the context. Give it another name.")
    return files


class Sink(io.RawIOBase):
    """Where the tar goes: its size and SHA-256 are kept, and `file`, if there is one, gets it."""

    def __init__(self, file: BinaryIO | None) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Take the bytes that tarfile makes."""
        self.digest.update(data)
        self.size += len(data)
        if self._file:
            self._file.write(data)
        return len(data)


class Packed(NamedTuple):
    """What was packed: the hash of the content, and the tar's own SHA-256 and size."""

    content: str
    sha256: str
    size: int


def is_executable(status: os.stat_result) -> bool:
    """Tell whether the owner may execute the file: all that survives git, a tarball or a umask."""
    return bool(status.st_mode & stat.S_IXUSR)


def add(tar: tarfile.TarFile, name: str, content: BinaryIO, status: os.stat_result) -> None:
    """Add a file under its name, with nothing of its owner and its times."""
    info = tarfile.TarInfo(name)
    info.size = status.st_size
    info.mode = 0o755 if is_executable(status) else 0o644
    tar.addfile(info, content)


def pack(
    file: BinaryIO | None,
    files: dict[str, Path],
    arguments: dict[str, object],
    extra: dict[str, Path],
) -> Packed:
    """Pack the files into `file` if there is one, and hash the very bytes that were packed.

    The context's own files are code and held in memory one by one; the extra ones are streamed.
    """
    sink = Sink(file)
    manifest = []
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for name, path in sorted(files.items()):
            with path.open("rb") as content:
                status = os.fstat(content.fileno())
                data = content.read()
            if len(data) != status.st_size:
                raise ContextError(f"{path} changed while it was read. Run it again.")
            manifest.append((name, is_executable(status), hashlib.sha256(data).hexdigest()))
            add(tar, name, io.BytesIO(data), status)
        for name, path in sorted(extra.items()):
            with path.open("rb") as content:
                add(tar, name, content, os.fstat(content.fileno()))
    hashed = {"arguments": {k: str(v) for k, v in arguments.items()}, "files": manifest}
    content_hash = hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()
    return Packed(content_hash, sink.digest.hexdigest(), sink.size)


def sha256_of(path: Path) -> str | None:
    """Return the SHA-256 of a file in hex, None where there is none."""
    if not path.is_file():
        return None
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def run(module: AnsibleModule) -> dict[str, object]:
    """Pack the context and return what the module answers."""
    files = context_files(Path(module.params["root"]), module.params["name"])
    extra = extra_files(module.params["extra"], files)
    dest = Path(module.params["dest"]) if module.params["dest"] else None
    before = sha256_of(dest) if dest else None

    if dest is None or module.check_mode:
        packed = pack(None, files, module.params["arguments"], extra)
    else:
        with tempfile.TemporaryDirectory(dir=dest.parent, prefix=".context-") as folder:
            temporary = Path(folder, dest.name)
            with temporary.open("wb") as file:
                packed = pack(file, files, module.params["arguments"], extra)
            if packed.sha256 != before:
                temporary.replace(dest)

    return {
        "changed": dest is not None and packed.sha256 != before,
        "hash": packed.content,
        "size_bytes": packed.size,
        "path": str(dest) if dest else None,
        "files": sorted(files),
        "extra_files": sorted(extra),
        "diff": diff(dest, before, packed.sha256) if dest else {},
    }


def diff(dest: Path, before: str | None, after: str) -> dict[str, str]:
    """Tell the tar before and after by its SHA-256."""
    return {
        "before_header": str(dest),
        "after_header": str(dest),
        "before": f"sha256 {before}\n" if before else "",
        "after": f"sha256 {after}\n",
    }


def main() -> None:
    """Run as Ansible calls it."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "arguments": {"type": "dict", "default": {}},
            "extra": {"type": "dict", "default": {}},
            "dest": {"type": "path"},
        },
        supports_check_mode=True,
    )
    check_names(module, service=module.params["name"])
    try:
        answer = run(module)
    except (ContextError, OSError, UnicodeDecodeError) as error:
        module.fail_json(msg=f"The build context of {module.params['name']}: {error}")
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
