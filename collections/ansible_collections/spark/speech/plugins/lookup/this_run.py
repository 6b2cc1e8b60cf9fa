# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0), which may be
# combined with the GNU General Public License v3.0 that Ansible itself is under
# SPDX-License-Identifier: Apache-2.0
"""Which run of ansible-playbook this is."""

from __future__ import annotations

DOCUMENTATION = r"""
name: this_run
short_description: Which run of ansible-playbook this is
version_added: 0.1.0
author: Spark Speech (@spark-speech)
description:
  - Names this process of C(ansible-playbook), so that a lock on a host tells who holds it.
  - Where it is a job of the page, the name tells that as well.
  - To know this machine again after a reboot it keeps a random number in C(spark-speech/machine) of
    E(XDG_STATE_HOME), which is C(~/.local/state) by default.
options: {}
"""

EXAMPLES = r"""
- name: Ensure nobody else works on this host
  spark.speech.host_lock:
    run_id: "{{ lookup('spark.speech.this_run') }}"
"""

RETURN = r"""
_raw:
  description:
    - The process, when it was started, the boot and the machine (or the container), with dots.
    - Of a job of the page then the installation and the job, with dashes.
  type: list
  elements: str
"""

from ansible.plugins.lookup import LookupBase
from ansible_collections.spark.speech.plugins.plugin_utils.runs import this_run


class LookupModule(LookupBase):  # type: ignore[misc] # Ansible has no types
    """See DOCUMENTATION."""

    def run(self, *_terms: object, **_options: object) -> list[str]:
        """Give the one name."""
        return [this_run()]
