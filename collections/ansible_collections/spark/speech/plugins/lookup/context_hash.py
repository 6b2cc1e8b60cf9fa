# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0), which may be
# combined with the GNU General Public License v3.0 that Ansible itself is under
# SPDX-License-Identifier: Apache-2.0
"""The hash of what an image is built from."""

from __future__ import annotations

DOCUMENTATION = r"""
name: context_hash
short_description: The hash of what an image is built from
version_added: 0.1.0
author: Spark Speech (@spark-speech)
description:
  - Gives the hash that M(spark.speech.build_context) tells, without the run of a module.
options:
  _terms:
    description: The image, a folder of C(images).
    type: list
    elements: str
    required: true
  root:
    description: A checkout of the repository, or the installed collection's C(contexts) folder.
    type: path
    required: true
  arguments:
    description: The build's arguments, as the same files make another image with others.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Ensure the image has a name that tells its content
  ansible.builtin.set_fact:
    image: "speech/whisperx:{{ lookup('spark.speech.context_hash', 'whisperx', root=root)[:12] }}"
  vars:
    root: "{{ playbook_dir }}/.."
"""

RETURN = r"""
_raw:
  description: The content's SHA-256 in hex.
  type: list
  elements: str
"""

from pathlib import Path

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.spark.speech.plugins.modules.build_context import (
    ContextError,
    context_files,
    pack,
)


class LookupModule(LookupBase):  # type: ignore[misc] # Ansible has no types
    """See DOCUMENTATION."""

    def run(
        self, terms: list[str], variables: dict[str, object] | None = None, **options: object
    ) -> list[str]:
        """Give the hash of each."""
        self.set_options(var_options=variables, direct=options)
        root, arguments = Path(self.get_option("root")), self.get_option("arguments")
        return [_hash(root, name, arguments) for name in terms]


def _hash(root: Path, name: str, arguments: dict[str, object]) -> str:
    try:
        return pack(None, context_files(root, name), arguments, {}).content
    except (ContextError, OSError, UnicodeDecodeError) as error:
        raise AnsibleLookupError(f"The build context of {name}: {error}") from error
