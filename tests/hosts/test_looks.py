"""What a host answers: read where it is right, refused where it is not, and never believed."""

import itertools
import json
import math
from typing import Any

import pytest

from proxy_app.hosts.looks import Look, parse
from proxy_app.hosts.metrics import POINT_EVERY_S, POINTS, with_point

GB10 = "NVIDIA GB10, 37, 52, 41.25, [N/A], [N/A]\n"
TOLD: dict[str, Any] = {
    "hostname": "spark1", "arch": "aarch64", "boot": "b1", "ticks": [400, 1000], "cores": 20,
    "load": 1.5, "memory_total_bytes": 128, "memory_available_bytes": 32, "disk_total_bytes": 10,
    "disk_free_bytes": 5, "uptime_s": 7.5, "gpus": GB10, "gpu_error": "", "containers": [],
    "docker_error": "",
}  # fmt: skip


def look(**told: object) -> Look:
    return parse(json.dumps(TOLD | told).encode())


def container(name: str, image: str = "x", **more: str) -> dict[str, str]:
    plain = {"names": name, "image": image, "state": "running", "status": "Up", "ports": ""}
    return {**plain, "labels": "", **more}


def test_the_gpu_of_a_spark_has_no_memory_of_its_own() -> None:
    assert look().facts["gpus"] == [
        {"name": "NVIDIA GB10", "utilisation": 0.37, "temperature_c": 52.0, "power_w": 41.25,
         "memory_used_bytes": None, "memory_total_bytes": None}
    ]  # fmt: skip


def test_other_gpus_have_memory_and_may_not_tell_the_rest() -> None:
    lines = "NVIDIA H100, 0, 30, [N/A], 512, 81559\nTesla, ERR!, nan, 1e99, -1, 2\nnonsense\n"
    first, second = look(gpus=lines).facts["gpus"]
    assert (first["memory_used_bytes"], first["memory_total_bytes"]) == (2**29, 81559 * 2**20)
    assert first["power_w"] is None
    measured = [value for name, value in second.items() if name != "name"]
    assert measured == [None, None, None, None, 2 * 2**20]


@pytest.mark.parametrize(
    "told",
    [
        {"cores": "20"}, {"load": math.nan}, {"load": math.inf}, {"uptime_s": -1},
        {"memory_total_bytes": 0}, {"memory_total_bytes": 2**70}, {"hostname": 7},
        {"containers": [{}]}, {"containers": None}, {"containers": [[]]}, {"ticks": [1]},
        {"gpus": None}, {"gpu_error": None},
    ],
)  # fmt: skip
def test_nonsense_is_refused(told: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not understood"):
        look(**told)


@pytest.mark.parametrize("line", [b"", b"\xff", b"[]", b"7", b"Last login: never\n", b"[" * 9999])
def test_what_is_no_answer_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="not understood"):
        parse(line)


def test_texts_of_a_host_are_cut_and_have_no_control_characters() -> None:
    facts = look(hostname="a\x1b[31m\nb" + "c" * 1000, containers=[container("d\u202e\0")]).facts
    assert facts["hostname"].startswith("a[31mbccc")
    assert len(facts["hostname"]) == 300
    assert facts["containers"][0]["name"] == "d"


def test_the_processor_is_what_it_was_between_two_looks_of_one_start() -> None:
    first = look()
    assert look(ticks=[450, 1200]).cpu_since(first) == 0.25
    assert look(ticks=[390, 1200]).cpu_since(first) == 0.0  # iowait can go back
    assert look(ticks=[450, 1200], boot="b2").cpu_since(first) is None
    assert look().cpu_since(first) is None
    assert look().cpu_since(None) is None


def test_services_are_known_by_our_label_by_name_or_by_image() -> None:
    there = [
        container("whisperx-old", state="exited"),
        container(
            "asr", labels="a=b,spark.speech.service=whisperx", ports="127.0.0.1:8002->8002/tcp"
        ),
        container("parakeet-watcher", labels="spark.speech.service=control"),
        container("p", "nvcr.io/nim/nvidia/Parakeet:1", ports="7/udp, 0.0.0.0:9000->8001/tcp"),
    ]
    found = look(containers=there, gpus="").found()
    assert found["whisperx"] == {"container": "asr", "port": 8002, "runs": True}
    assert found["parakeet"] == {"container": "p", "port": 9000, "runs": True}
    assert (found["magpie"], found["gpu"], found["docker"]) == (None, None, True)


def test_the_history_has_a_point_a_minute_and_an_hour_of_them() -> None:
    history: list[dict[str, Any]] = []
    for second in range(0, 7200, 15):
        history = with_point(history, float(second), look(), 0.5)
    assert len(history) == POINTS
    assert {b["at"] - a["at"] for a, b in itertools.pairwise(history)} == {POINT_EVERY_S}
    assert history[-1] == {"at": 7140.0, "cpu": 0.5, "memory": 0.75, "gpu": 0.37}


def test_a_clock_that_was_put_back_does_not_stop_the_history() -> None:
    history = with_point([], 9e9, look(), 0.5)
    assert len(with_point(history, 1.0, look(), 0.5)) == 2


def test_a_look_that_cannot_tell_how_busy_it_was_is_no_point() -> None:
    assert with_point([], 1.0, look(), None) == []
