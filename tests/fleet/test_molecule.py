"""molecule's scenario of a service that is described by data: there, again, and back."""

from __future__ import annotations

from pathlib import Path

from tests.fleet.fleet import Fleet
from tests.fleet.molecule import molecule
from tests.fleet.playbooks import Playbooks
from tests.fleet.spark import Spark


def test_a_service_that_is_described_by_data(
    fleet: Fleet, playbook: Playbooks, spark1: Spark, tmp_path: Path
) -> None:
    inventory = fleet.inventory(
        {"managed_service": [spark1]},
        speech_services_dir=str(tmp_path / "services.d"),
        tiny_image=fleet.images.tiny,
    )
    out = molecule("managed_service", playbook, inventory)
    assert "managed_service > idempotence: Executed: Successful" in out
    assert (
        spark1.ssh("docker ps -aq; find ~/.spark-speech -type f 2>/dev/null || true").stdout == ""
    )
