# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0), which may be
# combined with the GNU General Public License v3.0 that Ansible itself is under
# SPDX-License-Identifier: Apache-2.0
"""Tell as whom a run is logged in on a host; see modules/host_login.yml."""

from __future__ import annotations

import re
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

_ASKED = 'printf "login %s %s %s|%s\\n" "$(id -u)" "$(id -g)" "$HOME" "${SSH_CONNECTION:-}"'
_TOLD = re.compile(
    r"^login (?P<uid>\d+) (?P<gid>\d+) (?P<home>/.*)\|(?P<ssh>[^|]*?)\r?$", re.MULTILINE
)


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible has no types
    """What a shell answers: Ansible's own `setup` takes longer than three other modules for it."""

    _VALID_ARGS: frozenset[str] = frozenset()

    def run(
        self,
        tmp: str | None = None,
        task_vars: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Ask the host; nothing is changed there, also without check mode."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        said = self._low_level_execute_command(_ASKED, sudoable=True)
        told = _TOLD.search(said["stdout"])
        if told is None:
            raise AnsibleActionFail(
                "The host's shell does not tell who is logged in: "
                f"{(said['stderr'] or said['stdout'] or 'it said nothing').strip()}"
            )
        result["changed"] = False
        result["ansible_facts"] = {
            "ansible_user_uid": int(told["uid"]),
            "ansible_user_gid": int(told["gid"]),
            "ansible_user_dir": told["home"],
            "ansible_env": {"SSH_CONNECTION": told["ssh"]} if told["ssh"] else {},
        }
        return result
