"""The whole site on two hosts, from nothing to services that answer; and again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.fleet.checks import refused, wait_for
from tests.fleet.playbooks import Result
from tests.fleet.refusals import all_told
from tests.fleet.spark import Spark
from tests.site.mirror import PASSWORD
from tests.site.site import NAMES, Site
from tests.standins.hub import serving

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "model": ({"whisperx_model": "gigantic"}, "value of whisperx_model must be one of"),
    "no_token": ({"whisperx_diarizer": "pyannote"}, "put a Hugging Face token into a file"),
    "token": ({"whisperx_hf_token_file": "/no/such"}, "there is no file /no/such on this machine"),
    "secret": ({"whisperx_settings": {"HF_TOKEN": "hf_s"}}, "Roles take secrets as files"),
    "memory": ({"whisperx_memory": "-1"}, "such as 40g"),
    "container": ({"whisperx_container": "; id"}, "a name that Docker takes"),
    "rollback": ({"whisperx_rollback": True}, "No other image of whisperx than the current one"),
}


def test_what_makes_no_sense_is_refused_before_anything_is_done(
    empty_site: Site, spark1: Spark, tmp_path: Path
) -> None:
    all_told(empty_site.playbook, spark1, tmp_path, "whisperx", REFUSED)


def test_check_mode_foretells_all_of_it_and_changes_nothing(
    empty_site: Site, spark1: Spark, spark2: Spark
) -> None:
    foretold = empty_site.run("site", "--check", "--diff")
    assert foretold.rc == 0, foretold.out
    assert "parakeet would be made anew, and patched" in foretold.out
    assert min(foretold.changed[spark.name] for spark in (spark1, spark2)) > 0
    for spark in (spark1, spark2):
        assert spark.ssh("docker ps -aq; find ~/.spark-speech 2>/dev/null || true").stdout == ""
    assert not (empty_site.folder / "services.d").exists()


def test_from_nothing_all_services_answer(site: Site, installation: Result, call: Path) -> None:
    assert min(installation.changed[name] for name in ("spark1", "spark2")) > 0
    assert sorted(site.services) == sorted(NAMES)
    said = site.post("whisperx", "/v1/audio/transcribe-with-speakers", call)
    assert said.status_code == 200, said.text
    assert said.json()["speakers_detected"] == 2
    text = " ".join(segment["text"] for segment in said.json()["segments"])
    assert "didn't know you were there" in text
    heard = site.post("parakeet", "/v1/audio/transcriptions", call, response_format="json")
    assert heard.status_code == 200, heard.text
    assert heard.json()["text"].strip()
    spoken = requests.post(
        f"{site.services['magpie'].base_url}/v1/audio/synthesize",
        files={"text": (None, "Hello"), "language": (None, "en-US")},
        timeout=30,
    )
    assert spoken.content.startswith(b"RIFF")


def test_the_log_of_each_build_is_shown_while_it_is_built(site: Site, installation: Result) -> None:
    for name, step in (("spark1", "check_image.py cpu"), ("spark2", "mend_nemo")):
        shown = [line for line in installation.out.splitlines() if line.startswith(f"[{name}] #")]
        assert any(step in line for line in shown), installation.out


def test_packages_come_from_the_index_that_was_given_and_its_password_is_kept_nowhere(
    site: Site, installation: Result, spark1: Spark, spark2: Spark
) -> None:
    assert {"/simple/faster-whisper/", "/simple/nemo-toolkit/"} <= set(site.mirror.served)
    assert PASSWORD not in installation.out
    for spark, image in ((spark1, "whisperx"), (spark2, "parakeet")):
        assert spark.ssh(f"! grep -r {PASSWORD} ~/.spark-speech").stdout == ""
        (tag,) = spark.docker("images", "--quiet", f"spark-speech/{image}").split()
        assert PASSWORD not in spark.docker("history", "--no-trunc", tag)
        assert PASSWORD not in spark.docker("image", "inspect", tag)


def test_the_patched_parakeet_tells_speakers_apart(site: Site, call: Path) -> None:
    said = site.post("sortformer", "/v1/audio/diarize", call)
    assert said.status_code == 200, said.text
    body = said.json()
    assert set(body) == {"duration", "speakers_detected", "segments", "model"}
    assert body["duration"] == pytest.approx(30.0, abs=0.1)
    starts = [segment["start"] for segment in body["segments"]]
    assert starts == sorted(starts)


def test_whisperx_runs_as_promised(site: Site, spark1: Spark) -> None:
    (container,) = json.loads(spark1.docker("inspect", "whisperx-asr"))
    host = container["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 40 * 1024**3
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["ReadonlyRootfs"]
    (published,) = host["PortBindings"]["8002/tcp"]
    assert published == {"HostIp": spark1.address, "HostPort": "8002"}
    assert container["Config"]["User"] == "1000:1000"
    assert container["Config"]["Healthcheck"]["StartPeriod"] > 0
    healthy = ("ps", "--filter", "health=healthy", "--format", "{{.Names}}")
    wait_for(lambda: "whisperx-asr" in spark1.docker(*healthy), "a healthy container")


@pytest.mark.parametrize("name", ["whisperx", "parakeet", "sortformer"])
def test_nobody_is_answered_without_the_key(site: Site, call: Path, name: str) -> None:
    url = site.services[name].base_url
    path = "diarize" if name == "sortformer" else "transcriptions"
    with call.open("rb") as file:
        answer = requests.post(f"{url}/v1/audio/{path}", files={"file": file}, timeout=60)
    assert answer.status_code == 401
    assert requests.get(f"{url}/health", timeout=10).status_code == 200


def test_a_second_run_changes_nothing_on_any_host(site: Site) -> None:
    for arguments in (("--check", "--diff"), ()):
        again = site.run("site", *arguments)
        assert again.rc == 0, again.out
        assert set(again.changed.values()) == {0}, again.out


def test_the_status_is_one_table_without_drift(site: Site) -> None:
    shown = site.run("status")
    assert shown.rc == 0, shown.out
    assert set(shown.changed.values()) == {0}
    for words in (
        ("spark1", "whisperx", "running", "spark-speech/whisperx:", "none"),
        ("spark1", "magpie", "running", site.fleet.images.magpie, "none"),
        ("spark2", "parakeet", "running", "spark-speech/parakeet:", "none"),
        ("spark2", "sortformer", "patched", "parakeet", "none"),
    ):
        lines = [line for line in shown.out.splitlines() if all(word in line for word in words)]
        assert len(lines) == 1, shown.out


def test_a_token_that_the_hub_refuses_is_told_and_whisperx_runs_as_before(
    site: Site, spark1: Spark, call: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("hf_NobodysToken\n")
    before = spark1.docker("inspect", "-f", "{{.Id}}", "whisperx-asr")
    with serving(tmp_path, takes_no_token=True, address=site.fleet.gateway) as hub:
        failed = site.run(
            "whisperx",
            whisperx_diarizer="pyannote",
            whisperx_hf_token_file=str(token),
            whisperx_settings={"HF_ENDPOINT": hub.url},
        )
    assert hub.tokens == {"Bearer hf_NobodysToken"}
    refused(failed, "accept its conditions", "whisperx-asr is the container that it was before")
    assert "hf_NobodysToken" not in failed.out
    assert spark1.docker("inspect", "-f", "{{.Id}}", "whisperx-asr") == before
    wait_for(
        lambda: (
            site.post("whisperx", "/v1/audio/transcribe-with-speakers", call).status_code == 200
        ),
        "WhisperX",
    )
