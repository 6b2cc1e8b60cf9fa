"""The patch on Parakeet's container, when things go wrong: the diarizer's death, a file that
somebody edits, a container made anew or taken away, a server that does not come up. The tests build
on one another, in this order; at the end Parakeet is without the patch.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import requests

from tests.fleet.checks import refused, wait_for
from tests.fleet.spark import Spark
from tests.site.site import Site

MAIN = "/opt/parakeet/app/main.py"
OLDER = "spark-speech/parakeet:older"
KILL_THE_DIARIZER = """
import os, pathlib, signal
for process in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if b"--serve" in process.read_bytes().split(b"\\0"):
        os.kill(int(process.parent.name), signal.SIGKILL)
"""


def diarizes(site: Site, call: Path) -> bool:
    """Whether Parakeet tells speakers apart."""
    return site.post("sortformer", "/v1/audio/diarize", call).status_code == 200


def transcribes(site: Site, call: Path) -> bool:
    """Whether Parakeet does its own work."""
    return site.post("parakeet", "/v1/audio/transcriptions", call).status_code == 200


def main_py(spark: Spark) -> str:
    """The server's file in the container."""
    return spark.docker("exec", "parakeet", "cat", MAIN)


FOUND = "find . -type f -not -name '*.pyc' -exec"
FILES = (
    f"cd /opt/parakeet/app; ({FOUND} stat -c '%n %a %u:%g' {{}} +; {FOUND} sha256sum {{}} +) | sort"
)


def files_of(spark: Spark) -> str:
    """Bytes, modes and owners of the server's folder in the container."""
    return spark.docker("exec", "parakeet", "sh", "-c", FILES)


def files_of_image(spark: Spark) -> str:
    """The same of the image that the container was made of."""
    image = image_of(spark)
    return spark.docker("run", "--rm", "--network=none", "--entrypoint=sh", image, "-c", FILES)


def image_of(spark: Spark) -> str:
    return spark.docker("inspect", "--format", "{{.Config.Image}}", "parakeet").strip()


def id_of(spark: Spark) -> str:
    return spark.docker("inspect", "--format", "{{.Id}}", "parakeet").strip()


def rolled_out(spark: Spark, image: str) -> None:
    """Have another image, of the same content, of which the host knows that it was rolled out."""
    spark.docker("tag", image_of(spark), image)
    record = json.dumps({"image": image, "hash": image, "by": "a test", "action": "install"})
    spark.ssh(f"echo {shlex.quote(record)} >> ~/.spark-speech/parakeet/rollouts.jsonl")


def started_at(spark: Spark) -> str:
    """When the container was started last."""
    return spark.docker("inspect", "--format", "{{.State.StartedAt}}", "parakeet")


def test_a_diarizer_that_dies_does_not_take_parakeet_along(
    site: Site, spark2: Spark, call: Path
) -> None:
    started = started_at(spark2)
    spark2.docker("exec", "parakeet", "python3", "-c", KILL_THE_DIARIZER)
    assert not diarizes(site, call)
    assert transcribes(site, call)
    service = site.services["sortformer"]
    address = f"{service.base_url}/v1/audio/diarize/health"
    key = {"Authorization": f"Bearer {service.api_key}"}
    wait_for(
        lambda: requests.get(address, headers=key, timeout=10).status_code == 200, "the diarizer"
    )
    assert diarizes(site, call)
    assert started_at(spark2) == started


def test_a_file_that_somebody_has_edited_is_left_alone(site: Site, spark2: Spark) -> None:
    edit = f"open({MAIN!r}, 'a').write('# mine\\n')"
    spark2.docker("exec", "--user", "0", "parakeet", "python3", "-c", edit)
    started = started_at(spark2)
    refused(site.run("sortformer"), "main.py", "sortformer_force")
    assert "# mine" in main_py(spark2)
    assert started_at(spark2) == started
    shown = site.run("status", whisperx_memory="39g")
    assert shown.rc == 0, shown.out
    assert set(shown.changed.values()) == {0}
    assert "patch: drifted -> patched" in shown.out
    assert "memory: 42949672960 -> 41875931136" in shown.out
    forced = site.run("sortformer", sortformer_force=True)
    assert forced.rc == 0, forced.out
    assert "# mine" not in main_py(spark2)


def test_a_parakeet_that_goes_back_has_its_patch_back_in_the_same_run(
    site: Site, spark2: Spark, call: Path
) -> None:
    rolled_out(spark2, OLDER)
    before, files, known = id_of(spark2), files_of(spark2), site.services["sortformer"]
    foretold = site.run("parakeet", "--check", "--diff", parakeet_rollback=True)
    assert foretold.rc == 0, foretold.out
    for words in ("parakeet would be made anew, without the", "parakeet would be made anew, and"):
        assert words in foretold.out
    assert (id_of(spark2), files_of(spark2)) == (before, files)
    assert site.services["sortformer"] == known
    back = site.run("parakeet", "--diff", parakeet_rollback=True)
    assert back.rc == 0, back.out
    # That control forgets the diarizer and is told of it again is foretold as one change.
    assert back.changed["spark2"] == foretold.changed["spark2"] + 1
    assert id_of(spark2) != before
    assert image_of(spark2) == OLDER
    assert files_of(spark2) == files
    # Between the two roles nobody was led to a diarizer that was not there.
    assert "parakeet was made anew, without the Sortformer patch" in back.out
    assert back.out.count('"kind": "diarize"') == 2
    assert site.services["sortformer"] == known
    assert diarizes(site, call)


def test_the_role_alone_makes_parakeet_anew_without_the_patch_and_says_so(
    site: Site, spark2: Spark, call: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "alone.json"
    role = {"hosts": "parakeet", "gather_facts": False, "roles": ["spark.speech.parakeet"]}
    alone.write_text(json.dumps([role]))
    forward = site.run(alone)
    assert forward.rc == 0, forward.out
    assert "parakeet was made anew, without the Sortformer patch" in forward.out
    assert image_of(spark2) != OLDER
    assert files_of(spark2) == files_of_image(spark2)
    assert "sortformer" not in site.services
    assert transcribes(site, call)
    again = site.run("sortformer")
    assert again.rc == 0, again.out
    assert diarizes(site, call)


def test_a_container_that_was_made_anew_by_hand_is_pristine_and_is_patched_when_asked(
    site: Site, spark2: Spark
) -> None:
    image = image_of(spark2)
    spark2.docker("rm", "--force", "parakeet")
    made = spark2.docker("create", "--name", "parakeet", image).strip()
    assert "patch: pristine -> patched" in site.run("status").out
    foretold = site.run("sortformer", "--check", "--diff")
    assert foretold.rc == 0, foretold.out
    assert foretold.changed["spark2"] > 0
    assert "+_attach_sortformer()" in foretold.out
    assert id_of(spark2) == made
    assert spark2.docker("diff", "parakeet") == ""


def test_a_parakeet_that_is_taken_away_takes_along_what_was_known_of_its_diarizer(
    site: Site, spark2: Spark
) -> None:
    known, manifest = "sortformer.json", "ls ~/.spark-speech/sortformer/parakeet/manifest.json"
    foretold = site.run("parakeet", "--check", "--diff", parakeet_state="absent")
    assert foretold.rc == 0, foretold.out
    assert known in foretold.out
    assert "sortformer" in site.services
    assert spark2.ssh(manifest).stdout
    for changes in (True, False):
        gone = site.run("parakeet", parakeet_state="absent")
        assert gone.rc == 0, gone.out
        assert gone.changed == (foretold.changed if changes else {"spark2": 0}), gone.out
        # The lock is held until nothing of the patch is left, too.
        assert re.findall(r"Unlock \|[^\n]*\n(\w+):", gone.out) == ["skipping", "ok"]
        assert gone.out.rindex("Unpatch |") < gone.out.rindex("Unlock |")
    assert not {"parakeet", "sortformer"} & set(site.services)
    assert not (site.folder / "services.d" / known).exists()
    assert spark2.ssh("ls -A ~/.spark-speech | grep sortformer || true").stdout == ""
    assert spark2.docker("ps", "--all", "--quiet", "--filter", "name=parakeet") == ""


def test_a_patched_server_that_does_not_get_ready_is_taken_back(
    site: Site, spark2: Spark, call: Path
) -> None:
    failed = site.run("parakeet", sortformer_model="/models/none.nemo")
    refused(failed, "/models/none.nemo", "Parakeet is as it was before the patch")
    assert files_of(spark2) == files_of_image(spark2)
    assert "sortformer" not in site.services
    wait_for(lambda: transcribes(site, call), "Parakeet")
