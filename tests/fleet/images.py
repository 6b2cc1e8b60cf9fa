"""The images that the fleet needs, each made once: the base, the Spark, a tiny one for faults, and
the stand-in for Magpie.

What is made here lies under the domain `.invalid` (RFC 2606), which no registry can have: none
of these names can be pulled, or taken for the image of a registry.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import urllib.error
import urllib.request
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.fleet.engine import (
    DockerError,
    Engine,
    MissingError,
    fleet_folder,
    install,
    locked,
)

HERE = Path(__file__).resolve().parent
FROM_REGISTRY = "debian:bookworm-slim"
MADE_HERE = "spark-speech.invalid/base:bookworm"
REGISTRY = "https://registry-1.docker.io/v2/"
MIRROR = "http://deb.debian.org/debian"
BUILDS_WITHIN_S = 600

# What makes Debian's official images slim, and keeps packages from starting services.
SLIMMING = {
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
    "etc/apt/apt.conf.d/docker": (
        'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };\n'
        'Acquire::Languages "none";\nAcquire::GzipIndexes "true";\n'
    ),
    "etc/dpkg/dpkg.cfg.d/docker": "".join(
        f"path-exclude /usr/share/{folder}/*\n" for folder in ("doc", "man", "info", "locale")
    ),
    "etc/apt/sources.list": (
        f"deb {MIRROR} bookworm main\ndeb {MIRROR} bookworm-updates main\n"
        f"deb {MIRROR}-security bookworm-security main\n"
    ),
}
LEFT_OUT = (
    *(f"./usr/share/{folder}/*" for folder in ("doc", "man", "info", "locale")),
    *("./var/cache/apt/*", "./var/lib/apt/lists/*", "./var/log/*.log", "./dev/*"),
    *("./proc/*", "./sys/*", "./etc/hostname", "./etc/resolv.conf"),
)


@dataclass(frozen=True)
class Images:
    """Names of the images in the outer engine."""

    base: str
    spark: str
    tiny: str
    magpie: str


def fleet_images(engine: Engine) -> Images:
    """Make or find all images."""
    base = base_image(engine)
    return Images(
        base=base,
        spark=_built(engine, HERE / "spark", base),
        tiny=_built(engine, HERE / "tiny", base),
        magpie=_built(engine, HERE.parent / "standins" / "magpie", base),
    )


def ca_bundle() -> Path | None:
    """The CA bundle that this machine was told to use, if any (behind a TLS-inspecting proxy)."""
    for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        path = Path(os.environ.get(name) or "/nonexistent")
        if path.is_file():
            return path
    return None


def base_image(engine: Engine) -> str:
    """SPEECH_TEST_BASE_IMAGE, or the registry's Debian, or one made of Debian's packages."""
    with _one_at_a_time():
        return _base_image(engine)


def _one_at_a_time() -> AbstractContextManager[None]:
    """Test runs beside this one make nothing twice."""
    return locked(fleet_folder() / "images.lock")


def _base_image(engine: Engine) -> str:
    given = os.environ.get("SPEECH_TEST_BASE_IMAGE")
    if given:
        if not engine.has_image(given):
            engine.run("pull", "--quiet", given, timeout=BUILDS_WITHIN_S)
        return given
    for name in (FROM_REGISTRY, MADE_HERE):
        if engine.has_image(name):
            return name
    if _registry_answers():
        try:
            engine.run("pull", "--quiet", FROM_REGISTRY, timeout=BUILDS_WITHIN_S)
        except DockerError as error:
            print(f"{error}\nMaking a base image of Debian's packages instead.")
        else:
            return FROM_REGISTRY
    _import_debian(engine, MADE_HERE)
    return MADE_HERE


def _registry_answers() -> bool:
    """Whether Docker Hub's API answers this machine at all; it asks for a token (401)."""
    try:
        with urllib.request.urlopen(REGISTRY, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False


def _import_debian(engine: Engine, name: str) -> None:
    """debootstrap a minimal Debian and import it under NAME."""
    try:
        install("debootstrap", package="debootstrap")
    except MissingError as missing:
        raise MissingError(
            f"no registry answers, and {missing}; or give a base image as SPEECH_TEST_BASE_IMAGE"
        ) from missing
    with tempfile.TemporaryDirectory(dir=fleet_folder(), prefix="debian-") as made:
        root = Path(made) / "root"
        log = Path(made) / "log"
        command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm"]
        with log.open("wb") as output:
            done = subprocess.run(
                [*command, str(root), MIRROR],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=BUILDS_WITHIN_S,
                check=False,
            )
        if done.returncode:
            raise MissingError(f"debootstrap failed:\n{log.read_text(errors='replace')[-2000:]}")
        for path, text in SLIMMING.items():
            (root / path).write_text(text)
        (root / "usr/sbin/policy-rc.d").chmod(0o755)
        _import_folder(engine, root, name)


def _import_folder(engine: Engine, root: Path, name: str) -> None:
    left_out = [f"--exclude={pattern}" for pattern in LEFT_OUT]
    tar = ["tar", "--numeric-owner", "-C", str(root), "--anchored", *left_out, "-c", "."]
    with subprocess.Popen(tar, stdout=subprocess.PIPE) as packing:
        subprocess.run(
            [engine.client, "import", "--change", 'CMD ["bash"]', "-", name],
            stdin=packing.stdout,
            stdout=subprocess.DEVNULL,
            env=engine.environment,
            timeout=BUILDS_WITHIN_S,
            check=True,
        )
    if packing.returncode:
        engine.run("image", "rm", name)
        raise DockerError(f"tar of {root}: exit {packing.returncode}")


def _built(engine: Engine, context: Path, base: str) -> str:
    """Build the folder CONTEXT on BASE under a tag that is the hash of both; older tags go."""
    told = hashlib.sha256(engine.run("image", "inspect", "-f", "{{.Id}}", base).stdout.encode())
    for path in sorted(path for path in context.rglob("*") if path.is_file()):
        told.update(f"{path.relative_to(context)}\0".encode() + path.read_bytes() + b"\0")
    repository = f"spark-speech.invalid/{context.name}"
    image = f"{repository}:{told.hexdigest()[:12]}"
    with _one_at_a_time():
        if engine.has_image(image):
            return image
        bundle = ca_bundle()
        secret = ["--secret", f"id=ca_bundle,src={bundle}"] if bundle else []
        options = ["--network", "host", "--progress", "plain", "--build-arg", f"BASE_IMAGE={base}"]
        command = ["build", *options, *secret, "--tag", image, str(context)]
        engine.run(*command, timeout=BUILDS_WITHIN_S)
        for old in engine.lines("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository):
            if old != image:
                # One that another run's container still uses stays, which is right.
                engine.run("image", "rm", old, check=False)
    return image
