"""What a host answers, checked: it is somebody else's machine, and its words come on a page."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LARGEST = 512 * 1024
"""An answer's size in bytes: more than two hundred containers have."""
_LONGEST_TEXT = 300
_LARGEST_NUMBER = 2**60
_MEBIBYTE = 1024 * 1024
_MOST_GPUS = 16
_GPU_FIELDS = 6
_PUBLISHED = re.compile(r":(\d{1,5})->\d+/tcp")
_SERVICES = ("whisperx", "parakeet", "magpie")
_LABEL = "spark.speech.service"
_BYTES = (
    "memory_total_bytes", "memory_available_bytes", "disk_total_bytes", "disk_free_bytes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a host."""

    facts: dict[str, Any]
    """For JSON: what the page shows, without the processor."""
    boot: str
    busy: float
    ticks: float
    """How long cores were busy, and how long there were cores, in ticks since the host's start."""
    labels: tuple[str, ...]
    """Of each container, as Docker prints them."""
    ports: tuple[str, ...]

    def cpu_since(self, before: Look | None) -> float | None:
        """How busy the processor was between two looks, 0 to 1; None over a reboot."""
        if before is None or before.boot != self.boot or self.ticks <= before.ticks:
            return None
        part = (self.busy - before.busy) / (self.ticks - before.ticks)
        return round(min(1.0, max(0.0, part)), 3)

    def has(self, service: str) -> dict[str, Any] | None:
        """The container that looks like a service's, one that runs before others."""
        found = [
            {"container": it["name"], "port": _port(ports), "runs": it["state"] == "running"}
            for it, labels, ports in zip(
                self.facts["containers"], self.labels, self.ports, strict=True
            )
            if _is(service, it, labels)
        ]
        return max(found, key=lambda it: bool(it["runs"]), default=None)

    def found(self) -> dict[str, Any]:
        """What somebody wants to know before adding the host."""
        facts = self.facts
        kept = ("memory_available_bytes", "disk_free_bytes", "arch", "hostname", "containers")
        return {
            "docker": not facts["docker_error"],
            "docker_error": facts["docker_error"],
            "gpu": facts["gpus"][0]["name"] if facts["gpus"] else None,
            **{name: facts[name] for name in kept},
            **{service: self.has(service) for service in _SERVICES},
        }


def parse(line: bytes) -> Look:
    """Check one answer of on_host.py.

    Raises:
        ValueError: it is none.
    """
    try:
        told = json.loads(line)
        return _look(told)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ValueError("the host's answer is not understood") from None


def _look(told: Mapping[str, Any]) -> Look:
    busy, ticks = told["ticks"]
    containers = list(told["containers"])
    if not told["memory_total_bytes"]:
        raise ValueError("expected memory")
    facts = {
        "hostname": _text(told["hostname"]),
        "arch": _text(told["arch"]),
        "cores": int(_number(told["cores"])),
        "load": _number(told["load"]),
        **{name: int(_number(told[name])) for name in _BYTES},
        "uptime_s": _number(told["uptime_s"]),
        "gpus": _gpus(told["gpus"]),
        "gpu_error": _text(told["gpu_error"]),
        "containers": [_container(one) for one in containers],
        "docker_error": _text(told["docker_error"]),
    }
    return Look(
        facts=facts,
        boot=_text(told["boot"]),
        busy=_number(busy),
        ticks=_number(ticks),
        labels=tuple(str(one["labels"]) for one in containers),
        ports=tuple(str(one["ports"]) for one in containers),
    )


def _container(told: Mapping[str, Any]) -> dict[str, str]:
    return {
        "name": _text(told["names"]),
        "image": _text(told["image"]),
        "state": _text(told["state"]),
        "status": _text(told["status"]),
    }


def _gpus(csv: str) -> list[dict[str, Any]]:
    """nvidia-smi's lines; a GB10 says [N/A] of its memory, which is the host's."""
    found = []
    for line in csv.splitlines()[:_MOST_GPUS]:
        name, *numbers = line.split(", ")
        if len(numbers) != _GPU_FIELDS - 1:
            continue
        utilisation, celsius, watts, used, total = (_measured(text) for text in numbers)
        found.append(
            {
                "name": _text(name),
                "utilisation": None if utilisation is None else min(1.0, utilisation / 100),
                "temperature_c": celsius,
                "power_w": watts,
                "memory_used_bytes": None if used is None else int(used * _MEBIBYTE),
                "memory_total_bytes": None if total is None else int(total * _MEBIBYTE),
            }
        )
    return found


def _measured(text: str) -> float | None:
    try:
        return _number(float(text))
    except ValueError:
        return None


def _number(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("expected a number")
    if not 0 <= value <= _LARGEST_NUMBER:
        raise ValueError("expected a quantity")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a text")
    return "".join(letter for letter in value if letter.isprintable())[:_LONGEST_TEXT]


def _is(service: str, container: Mapping[str, str], labels: str) -> bool:
    told = [label for label in labels.split(",") if label.startswith(f"{_LABEL}=")]
    if told:
        return told == [f"{_LABEL}={service}"]
    return service in container["name"].lower() or service in container["image"].lower()


def _port(ports: str) -> int | None:
    match = _PUBLISHED.search(ports)
    return int(match[1]) if match else None
