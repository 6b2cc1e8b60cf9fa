"""Playbooks on two hosts in containers: the first run of the site, the second, and sizes.

`python -m tests.bench.fleet`; beside the runs of the site Ansible's own ping of the same hosts.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from tests.bench.printing import gigabytes, say, table
from tests.fleet.engine import MissingError, running_engine
from tests.fleet.fleet import running_fleet
from tests.fleet.playbooks import ROOT, Playbooks, Result, ansible
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


def size_of(image: str) -> str:
    """What an image takes on the host that has it."""
    return gigabytes(int(image)) if image else "not built here"


def sizes(site: Site) -> None:
    """Print what each image and each build context takes."""
    rows = []
    for name in collection.images():
        spark = site.fleet.sparks[-1 if name == "parakeet" else 0]
        listed = (
            f"docker image ls -q spark-speech/{name} | xargs -r docker inspect -f '{{{{.Size}}}}'"
        )
        with tempfile.TemporaryFile() as packed:
            with tarfile.open(fileobj=packed, mode="w") as tar:
                for member, source in collection.context_files(ROOT, name).items():
                    tar.add(source, member, recursive=False)
            context = f"{packed.tell() / 1e3:.0f} kB"
        rows.append([name, context, size_of(spark.ssh(listed).stdout.strip())])
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
            sizes(site)
            absent = {f"{name}_state": "absent" for name in NAMES}
            row("taking it away", site.run("site", **absent))
    except MissingError as missing:
        print(f"Not measured: {missing}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
