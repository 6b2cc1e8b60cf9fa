"""Playbooks on two hosts in containers: the first run of the site, the second, and sizes.

`python -m tests.bench.fleet`; beside the runs of the site Ansible's own ping of the same hosts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.printing import gigabytes, say, table
from tests.fleet.engine import MissingError, running_engine
from tests.fleet.fleet import Fleet, running_fleet
from tests.fleet.playbooks import ROOT, Playbooks, Result, ansible
from tests.fleet.spark import Spark
from tests.site.mirror import running_mirror
from tests.site.site import NAMES, Site, make_site
from tools import collection

ROUND_TRIP = "SSH: EXEC"


def ping(site: Site) -> tuple[float, int]:
    """Seconds and round trips of `ansible -m ping` of both hosts."""
    began = time.monotonic()
    done = subprocess.run(
        [ansible("ansible"), "-i", site.inventory, "-m", "ping", "-vvv", "spark1,spark2"],
        cwd=ROOT,
        env=site.playbook.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return time.monotonic() - began, done.stdout.count(ROUND_TRIP)


def row(name: str, run: Result) -> list[str]:
    """A run of the site for the table."""
    if run.rc:
        raise SystemExit(f"{name} failed:\n{run.out[-4000:]}")
    changed = sum(run.changed.values())
    return [name, f"{run.seconds:.1f} s", str(run.out.count(ROUND_TRIP)), str(changed)]


def runs(site: Site) -> None:
    """Install everything, ask again, and print how long each took."""
    say("the first run builds two images and starts four services")
    first = site.run("site", "-vvv")
    say("the second run")
    second = site.run("site", "-vvv")
    seconds, trips = ping(site)
    rows = [
        row("site.yml, the first run", first),
        row("site.yml, the second run", second),
        ["ansible -m ping", f"{seconds:.1f} s", str(trips), "0"],
    ]
    table(["two hosts, four services", "time", "SSH round trips", "changed"], rows)


def control(
    fleet: Fleet,
    inventory: Path,
    playbook: Playbooks,
    **extra: Any,  # noqa: ANN401 - as Playbooks
) -> Result:
    """Run the playbook of the page's container with the first host as control."""
    everything = json.loads(inventory.read_text())
    first = fleet.sparks[0]
    everything["all"]["children"]["control"] = {"hosts": {first.name: first.variables}}
    mine = inventory.with_name("control.yml")
    mine.write_text(json.dumps(everything))
    here = "~/.spark-speech/services.d"
    return playbook("control", inventory=mine, timeout=1500, control_services_dir=here, **extra)


def size_of(name: str, spark: Spark) -> str:
    """What the one image of a name takes on the host that has it."""
    image = spark.docker("image", "ls", "--quiet", f"spark-speech/{name}").split()
    if len(image) != 1:
        raise SystemExit(f"{spark.name} has {len(image)} images of {name}, and not one")
    return gigabytes(int(spark.docker("inspect", "--format", "{{.Size}}", *image)))


def context_of(name: str) -> str:
    """What crosses the network for a build, without a wheelhouse."""
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for member, source in collection.context_files(ROOT, name).items():
                tar.add(source, member, recursive=False)
        return f"{packed.tell() / 1e3:.0f} kB"


def sizes(fleet: Fleet) -> None:
    """Print what each image and each build context takes, and which services have none."""
    rows = []
    for name in collection.images():
        if name != "sortformer":
            spark = fleet.sparks[-1 if name == "parakeet" else 0]
            rows.append([name, context_of(name), size_of(name, spark)])
    rows.append(["sortformer", context_of("sortformer"), "none: a patch"])
    rows.append(["magpie", "none", "NVIDIA's"])
    table(["image, CPU flavour", "build context", "image"], rows)


def main() -> int:
    try:
        with (
            running_engine() as engine,
            running_fleet(engine) as fleet,
            tempfile.TemporaryDirectory() as folder,
            running_mirror(fleet.gateway) as mirror,
        ):
            playbook = Playbooks(fleet.inventory(), fleet.folder)
            site = make_site(fleet, playbook, Path(folder), mirror)
            runs(site)
            say("the page's container, for its size")
            row("control.yml", control(fleet, site.inventory, playbook))
            sizes(fleet)
            gone = control(
                fleet, site.inventory, playbook, control_state="absent", control_purge=True
            )
            row("taking the page away", gone)
            absent = {f"{name}_state": "absent" for name in NAMES}
            row("taking it away", site.run("site", **absent))
    except MissingError as missing:
        print(f"Not measured: {missing}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
