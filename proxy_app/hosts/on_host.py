"""What runs on a host: for each line that comes in, one line of JSON on how the host is.

It is sent over SSH and installed nowhere; it ends with the connection. Standard library only, for
any Python since 3.8.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

ANSWERS_WITHIN_S = 8
MOST_CONTAINERS = 200
DOCKER = ("docker", "ps", "--all", "--format", "{{json .}}")
NVIDIA = (
    "nvidia-smi",
    "--query-gpu=name,utilization.gpu,temperature.gpu,power.draw,memory.used,memory.total",
    "--format=csv,noheader,nounits",
)
_hanging: dict[str, subprocess.Popen[bytes]] = {}


def run(command: tuple[str, ...]) -> tuple[str, str]:
    """What a command prints, and why it prints nothing."""
    name = command[0]
    if not shutil.which(name):
        return "", name + " is not installed"
    # A driver that hangs cannot be killed, and must not be asked ever more often.
    if name in _hanging and _hanging[name].poll() is None:
        return "", name + " does not answer"
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=dict(os.environ, LC_ALL="C"),
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=ANSWERS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        for pipe in (process.stdout, process.stderr):
            assert pipe, "asked for"
            pipe.close()
        _hanging[name] = process
        return "", name + " does not answer"
    said = err.decode(errors="replace").strip().splitlines()
    failed = (said or [name + " failed"])[-1] if process.returncode else ""
    return out.decode(errors="replace"), failed


def memory() -> tuple[int, int]:
    """The memory there is and the memory that could be had, in bytes."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    kilobytes = {line[0]: int(line[1]) for line in lines}
    return kilobytes["MemTotal:"] * 1024, kilobytes["MemAvailable:"] * 1024


def processor() -> tuple[int, int]:
    """How long all cores were busy, and how long there were cores, in ticks since the start."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def disk() -> tuple[int, int]:
    """Size and free bytes of the disk that images and containers are on."""
    images = Path("/var/lib/docker")
    found = os.statvfs(images if images.is_dir() else "/")
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize


def containers() -> tuple[list[dict[str, str]], str]:
    """Docker's containers, and why they cannot be told."""
    out, failed = run(DOCKER)
    names = ("Names", "Image", "State", "Status", "Ports", "Labels")
    told = [json.loads(line) for line in out.splitlines()[:MOST_CONTAINERS]]
    return [{name.lower(): one.get(name, "") for name in names} for one in told], failed


def look() -> dict[str, Any]:
    """How this host is."""
    gpus, gpu_error = run(NVIDIA)
    there, docker_error = containers()
    total, available = memory()
    disk_total, disk_free = disk()
    return {
        "hostname": socket.gethostname(),
        "arch": platform.machine(),
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "ticks": processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "memory_total_bytes": total,
        "memory_available_bytes": available,
        "disk_total_bytes": disk_total,
        "disk_free_bytes": disk_free,
        "uptime_s": float(Path("/proc/uptime").read_text().split()[0]),
        "gpus": gpus,
        "gpu_error": gpu_error,
        "containers": there,
        "docker_error": docker_error,
    }


if __name__ == "__main__":
    while sys.stdin.buffer.readline():
        sys.stdout.write(json.dumps(look()) + "\n")
        sys.stdout.flush()
