"""A host with a GPU: containers ask for it, and images are those for it.

The GPU is a stand-in, which Docker takes for one; what a container does with it is not tested here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.playbooks import Playbooks
from tests.fleet.spark import Spark
from tests.fleet.tiny_service import make_tiny_service


@pytest.fixture(scope="module")
def gpu_spark(fleet: Fleet) -> Iterator[Spark]:
    with fleet.another_spark("gpu", gpu=True) as spark:
        yield spark


def test_a_container_gets_the_gpu_that_is_there_and_a_second_run_changes_nothing(
    fleet: Fleet,
    playbook: Playbooks,
    gpu_spark: Spark,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    tiny = make_tiny_service(fleet, playbook, gpu_spark, tmp_path_factory.mktemp("tiny"))
    inventory = ("-i", str(fleet.inventory({"whisperx": [gpu_spark]})))
    done = tiny.run(*inventory, managed_service_gpu="auto")
    assert done.rc == 0, done.out
    (request,) = tiny.inspected()["HostConfig"]["DeviceRequests"]
    assert (request["Driver"], request["Count"]) == ("nvidia", -1)
    assert request["Capabilities"] == [["gpu"]]
    again = tiny.run(*inventory, managed_service_gpu="auto")
    assert again.rc == 0, again.out
    assert again.changed["gpu"] == 0, again.out


def test_the_flavour_of_an_image_is_the_cuda_one_where_there_is_a_gpu_and_there_alone(
    fleet: Fleet, playbook: Playbooks, gpu_spark: Spark
) -> None:
    plain = fleet.sparks[-1]
    hosts = {
        "gpu-auto": gpu_spark.variables,
        "gpu-cuda": {**gpu_spark.variables, "whisperx_flavour": "cuda"},
        "plain-auto": plain.variables,
        "plain-cpu": {**plain.variables, "whisperx_flavour": "cpu"},
    }
    needed = {"whisperx_memory_needed": "1GB", "whisperx_disk_needed": "1GB"}
    inventory = fleet.folder / "flavours.yml"
    inventory.write_text(json.dumps({"whisperx": {"hosts": hosts, "vars": needed}}))
    foretold = playbook("whisperx", "--check", inventory=inventory)
    assert foretold.rc == 0, foretold.out
    told = r"\[(\S+)\] =>\s+msg: whisperx-asr would run (spark-speech/whisperx:\w+)"
    images = dict(re.findall(told, foretold.out))
    assert set(images) == set(hosts), foretold.out
    assert images["gpu-auto"] == images["gpu-cuda"]
    assert images["plain-auto"] == images["plain-cpu"]
    assert images["gpu-auto"] != images["plain-auto"]
