# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
# SPDX-License-Identifier: Apache-2.0
"""What of a service's description cannot be used; see unusable.yml."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_BUILD = re.compile(r"[a-z][a-z0-9-]*")
_IMAGE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_./:@-]*")
_MOUNT = re.compile(r"/[^:\n]*:/[^:\n]*(:ro|:rw)?")
_MEMORY = re.compile(r"[1-9][0-9]*[bkmg]?")
_AMOUNT = re.compile(r"[0-9]+([.][0-9]+)? ?([KMGT]?B)?")
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")


class FilterModule:
    """See unusable.yml."""

    def filters(self) -> dict[str, Callable[[dict[str, Any]], list[str]]]:
        """Give the filters by their names."""
        return {"unusable": lambda service: [*_of_build(service), *_of_run(service)]}


def _of_build(service: dict[str, Any]) -> Iterator[str]:
    """What cannot be on this machine, and what no image can be built from."""
    for key, path in service["files"].items():
        if path and not Path(path).expanduser().is_file():
            yield f"{key}: there is no file {path} on this machine."
    wheelhouse = service["wheelhouse"]
    if wheelhouse and not Path(wheelhouse).expanduser().is_dir():
        yield f"There is no folder {wheelhouse} on this machine."
    if service["builds"] and not _BUILD.fullmatch(str(service["build"])):
        yield "managed_service_build needs a name, that of a folder of images."
    for key, image in service["arguments"].items():
        if key.startswith("BASE_IMAGE") and not _IMAGE.fullmatch(str(image)):
            yield (
                f"{key} of {service['name']} is {json.dumps(image)}: write an image such as "
                "registry:5000/debian:12."
            )
    if service["rollback"] and not service["builds"]:
        yield (
            f"{service['name']} has the image that managed_service_image names, and no other: "
            "name the one that is wanted."
        )


def _of_run(service: dict[str, Any]) -> Iterator[str]:
    """What Docker does not take, and what cannot be compared with what a host has."""
    name, memory = service["name"], service["memory"]
    for mount in service["mounts"]:
        if not _MOUNT.fullmatch(str(mount)):
            yield (
                f"{json.dumps(mount)} cannot be mounted for {name}: a folder of the host is a path "
                "that begins with / and has no colon."
            )
    if memory is not None and not _MEMORY.fullmatch(str(memory)):
        yield (
            f"{name}'s memory is {json.dumps(memory)}: write a number and b, k, m or g, "
            "such as 40g."
        )
    for what, amount in service["needs"].items():
        if not _AMOUNT.fullmatch(str(amount)):
            yield (
                f"{name} needs {json.dumps(amount)} of {what}: write a number and KB, MB, GB or "
                "TB, such as 12GB."
            )
    for setting in service["env"]:
        if not _SETTING.fullmatch(setting) or _SECRET.search(setting):
            yield (
                f"{json.dumps(setting)} is no setting for {name}'s container: names have letters, "
                "digits and underscores, and what ends in KEY, TOKEN, SECRET or PASSWORD would be "
                "seen by everybody who may use Docker. Roles take secrets as files."
            )
