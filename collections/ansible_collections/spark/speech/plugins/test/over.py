# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
# SPDX-License-Identifier: Apache-2.0
"""Whether a run of ansible-playbook is over."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.spark.speech.plugins.plugin_utils.runs import is_over


class TestModule:
    """See over.yml."""

    def tests(self) -> dict[str, Callable[[str], bool]]:
        """Give the tests by their names."""
        return {"over": is_over}
