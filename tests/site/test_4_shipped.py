"""From the collection's tarball alone: WhisperX, the same image as from the checkout; the patch."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

from tests.fleet.playbooks import ansible
from tests.fleet.spark import Spark
from tests.site.site import Site
from tools import collection

IMAGE = ("image", "ls", "--no-trunc", "--format", "{{.Tag}} {{.ID}}", "spark-speech/whisperx")
PLAYBOOK = [{"hosts": "whisperx", "roles": ["spark.speech.whisperx"]}]
PATCH = [{"hosts": "sortformer", "roles": ["spark.speech.sortformer"]}]


def test_whisperx_is_installed_from_an_empty_folder_with_the_tarball(
    site: Site, spark1: Spark, tmp_path: Path
) -> None:
    gone = site.run("whisperx", whisperx_state="absent")
    assert gone.rc == 0, gone.out
    built = spark1.docker(*IMAGE)
    # It is built again, of what the tarball ships: were that another byte, no step would be cached.
    spark1.docker("rmi", f"spark-speech/whisperx:{built.split()[0]}")

    galaxy = ansible("ansible-galaxy")
    tarball = collection.build(tmp_path / "dist", galaxy)
    empty = tmp_path / "empty"
    empty.mkdir()
    alone = {
        "ANSIBLE_CONFIG": str(empty / "none.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(empty),
    }
    subprocess.run(
        [galaxy, "collection", "install", tarball, "--no-deps", "-p", empty],
        cwd=empty,
        env=site.playbook.environment() | alone,
        check=True,
        capture_output=True,
    )
    # What it depends on comes with the package `ansible`.
    playbook = tmp_path / "playbook.json"
    playbook.write_text(json.dumps(PLAYBOOK))
    there = replace(site.playbook, working_folder=empty)
    done = there(playbook, inventory=site.inventory, environment=alone, timeout=900)
    assert done.rc == 0, done.out
    assert spark1.docker(*IMAGE) == built
    assert (
        spark1.docker("inspect", "-f", "{{.Config.Image}}", "whisperx-asr")
        .strip()
        .endswith(built.split()[0])
    )
    assert site.services["whisperx"].api_key
    playbook.write_text(json.dumps(PATCH))
    patched = there(playbook, "--check", "--diff", inventory=site.inventory, environment=alone)
    assert patched.rc == 0, patched.out
    assert "+_attach_sortformer()" in patched.out
