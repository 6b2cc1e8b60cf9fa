# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0), which may be
# combined with the GNU General Public License v3.0 that Ansible itself is under
# SPDX-License-Identifier: Apache-2.0
"""Pack an image's build context and copy it to a host; see modules/context_copy.yml."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.spark.speech.plugins.modules.build_context import (
    ContextError,
    context_files,
    extra_files,
    pack,
)


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible has no types
    """Packs in this process: a module's run on the controller takes longer than that."""

    _VALID_ARGS: frozenset[str] = frozenset({"root", "name", "extra", "dest"})

    def run(
        self,
        tmp: str | None = None,
        task_vars: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Pack, copy, and leave nothing on the controller."""
        super().run(tmp, task_vars)
        told = self._task.args
        with tempfile.TemporaryDirectory(prefix="spark-speech-") as folder:
            packed = Path(folder, "context.tar")
            try:
                files = context_files(Path(told["root"]), told["name"])
                with packed.open("wb") as file:
                    pack(file, files, {}, extra_files(told.get("extra") or {}, files))
            except (ContextError, OSError, UnicodeDecodeError) as error:
                raise AnsibleActionFail(f"The build context of {told['name']}: {error}") from error
            return self._copied(str(packed), told["dest"], task_vars)

    def _copied(self, source: str, dest: str, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        task = self._task.copy()
        task.args = {"src": source, "dest": dest, "mode": "0600"}
        copy = self._shared_loader_obj.action_loader.get(
            "ansible.legacy.copy",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        result: dict[str, Any] = copy.run(task_vars=task_vars)
        return result
