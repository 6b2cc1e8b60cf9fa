"""What kinds of jobs there are: playbooks of the collection, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy_app.jobs.ledger import HOST, SERVICE

PLAYBOOK, SUPERVISOR = "playbook", "supervisor"
"""Who does a job: ansible-playbook, or the supervisor that started the embedded engine."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that a person wants done."""

    name: str
    title: str
    service: str
    """Which one it is about: also the role, the playbook and the inventory's group. Empty: any."""
    fixed: Mapping[str, Any]
    """Variables that make it this kind."""
    lane: str = HOST
    only: tuple[str, ...] | None = None
    """The form's fields; None is all that the role has."""
    basic: tuple[str, ...] = ()
    """The fields that are not folded away."""
    needs: tuple[str, ...] = ()
    """The fields that have to be filled in."""
    goes_on: bool = False
    """Whether it takes the variables of the last install on that host: its container, its port."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables that hold the path of a secret, and the secret's name."""

    @property
    def role(self) -> str:
        """Whose argument_specs describe the form."""
        return self.service or "managed_service"

    @property
    def playbook(self) -> str:
        """The file's name in playbooks/."""
        return f"{self.service or 'service'}.yml"

    @property
    def is_install(self) -> bool:
        """Whether others go on from its variables: it left the service as they say."""
        return self.fixed.get(f"{self.service}_state") == "present"


_HF = {"whisperx_hf_token_file": "hf_token"}
_NGC = {"magpie_ngc_key_file": "ngc_key"}

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "whisperx.install", "Install WhisperX", "whisperx", secrets=_HF,
            fixed={"whisperx_state": "present"}, basic=("whisperx_model", "whisperx_diarizer"),
        ),
        Kind(
            "whisperx.model", "Change WhisperX's model", "whisperx", goes_on=True, secrets=_HF,
            fixed={"whisperx_state": "present"}, only=("whisperx_model",),
            basic=("whisperx_model",), needs=("whisperx_model",),
        ),
        Kind(
            "whisperx.rollback", "Go back to the WhisperX before", "whisperx", goes_on=True,
            fixed={"whisperx_state": "present", "whisperx_rollback": True}, only=(), secrets=_HF,
        ),
        Kind(
            "whisperx.remove", "Remove WhisperX", "whisperx", goes_on=True,
            fixed={"whisperx_state": "absent"}, only=("whisperx_purge",), basic=("whisperx_purge",),
        ),
        Kind(
            "sortformer.patch", "Patch Sortformer into Parakeet", "sortformer",
            fixed={"sortformer_state": "present"}, basic=("sortformer_container",),
        ),
        Kind(
            "sortformer.unpatch", "Take the Sortformer patch back", "sortformer", goes_on=True,
            fixed={"sortformer_state": "absent"}, only=("sortformer_force",),
            basic=("sortformer_force",),
        ),
        Kind(
            "parakeet.install", "Install Parakeet", "parakeet",
            fixed={"parakeet_state": "present"}, basic=("parakeet_model",),
        ),
        Kind(
            "magpie.install", "Install Magpie", "magpie", secrets=_NGC,
            fixed={"magpie_state": "present"}, basic=("magpie_image",),
        ),
        *(
            Kind(
                f"service.{verb}", f"{verb.capitalize()} a service", "", lane=SERVICE, only=(),
                fixed={"managed_service_state": state},
            )
            for verb, state in (("start", "started"), ("stop", "stopped"), ("restart", "restarted"))
        ),
    )
}  # fmt: skip

INSTALLS = tuple(kind.name for kind in KINDS.values() if kind.is_install)


def target_of(service: str) -> str:
    """Which service has the container: the diarizer runs in Parakeet's."""
    return "parakeet" if service == "sortformer" else service
