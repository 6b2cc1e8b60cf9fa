# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0), which may be
# combined with the GNU General Public License v3.0 that Ansible itself is under
# SPDX-License-Identifier: Apache-2.0
"""The log of a build while it is built."""

from __future__ import annotations

DOCUMENTATION = r"""
name: live_log
type: notification
short_description: Show the log of a build while it is built
version_added: 0.1.0
author: Spark Speech (@spark-speech)
description:
  - Prints what each look of M(spark.speech.image_build) at a build has found new in its log, with
    the name of the host before each line. Without it ansible-playbook shows that it waits, and the
    log only where the build fails.
requirements:
  - C(callbacks_enabled = spark.speech.live_log) in the section C([defaults]) of ansible.cfg
options: {}
"""

from typing import Any

from ansible.plugins.callback import CallbackBase

_MODULE = "spark.speech.image_build"


class CallbackModule(CallbackBase):  # type: ignore[misc] # Ansible has no types
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "spark.speech.live_log"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_retry(self, result: object) -> None:
        """Show what was new, after a look at a build that goes on."""
        self._show(result)

    def v2_runner_on_ok(self, result: object) -> None:
        """Show what was new, after the last look."""
        self._show(result)

    def _show(self, result: object) -> None:
        if _told(result, "task").action == _MODULE:
            host = _told(result, "host").get_name()
            for line in str(_told(result, "result").get("stdout") or "").splitlines():
                self._display.display(f"[{host}] {line}")


def _told(result: object, name: str) -> Any:  # noqa: ANN401 - Ansible has no types
    """Give what ansible-core 2.19 has as an attribute, and those before it behind an underscore."""
    return getattr(result, name) if hasattr(result, name) else getattr(result, f"_{name}")
