"""The whole site, on two hosts: from nothing to services that answer, again, and back.

The tests of this page build on one another, in this order. Parakeet's and Sortformer's weights are
tiny and random, and Magpie is a stand-in; images, containers, SSH and all the rest are real.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from proxy_app.config import load_config
from proxy_app.services import Registry, Service
from tests.fleet.fleet import Fleet
from tests.fleet.images import ca_bundle
from tests.fleet.playbooks import ROOT, Playbooks, Result
from tests.fleet.spark import Spark

MAGPIE = "spark-speech.invalid/magpie-stand-in:1"
MODELS = "/home/spark/models"
MAIN = "/opt/parakeet/app/main.py"
WITHIN_S = 120


@dataclass(frozen=True)
class Site:
    """The fleet, with all that the playbooks are told."""

    fleet: Fleet
    playbook: Playbooks
    inventory: Path
    folder: Path

    def run(self, name: str, *arguments: str, **extra: Any) -> Result:  # noqa: ANN401
        """Run a playbook to its end."""
        return self.playbook(name, *arguments, inventory=self.inventory, timeout=1500, **extra)

    def service(self, name: str) -> Service:
        """A service as the gateway reads it."""
        config = load_config({"SPEECH_SERVICES_DIR": str(self.folder / "services.d")})
        (found,) = (one for one in Registry(config).read().services if one.name == name)
        return found

    def post(self, name: str, path: str, audio: Path, **fields: str) -> requests.Response:
        """Upload a recording to a service, with its key."""
        service = self.service(name)
        with audio.open("rb") as file:
            return requests.post(
                f"{service.base_url}{path}",
                files={"file": file},
                data=fields,
                headers={"Authorization": f"Bearer {service.api_key}"},
                timeout=300,
            )


@pytest.fixture(scope="module")
def nemo_python() -> Path:
    """The interpreter that has NeMo."""
    path = Path(os.environ.get("PARAKEET_PYTHON", ROOT / ".venv/parakeet/bin/python"))
    if not path.is_file():
        pytest.skip(f"NeMo's environment is not there: no {path}")
    return path


@pytest.fixture(scope="module")
def sample() -> Path:
    """30 s of a telephone call of two people, from pyannote.audio's wheel."""
    python = Path(os.environ.get("ENGINE_PYTHON", ROOT / ".venv/engine/bin/python"))
    packages = python.parent.parent / "lib"
    found = sorted(packages.glob("python3*/site-packages/pyannote/audio/sample/sample.wav"))
    if not found:
        pytest.skip(f"the engine's environment is not there: no sample beside {python}")
    return found[0]


@pytest.fixture(scope="module")
def site(
    fleet: Fleet,
    playbook: Playbooks,
    nemo_python: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Site:
    """Nothing is installed yet; the last test takes everything away."""
    folder = tmp_path_factory.mktemp("site")
    make_models(nemo_python, fleet.sparks[-1], folder / "models")
    inventory = fleet.inventory(
        speech_services_dir=str(folder / "services.d"),
        speech_build_network="host",
        speech_ca_bundle=str(ca_bundle() or ""),
        speech_wheelhouse=wheelhouse(folder / "wheels"),
        whisperx_model="bundled",
        parakeet_model="/models/parakeet.nemo",
        parakeet_models_dir=MODELS,
        parakeet_memory_needed="1GB",
        sortformer_model="/models/tiny-streaming.nemo",
        magpie_image=MAGPIE,
        magpie_memory_needed="1GB",
        magpie_disk_needed="1GB",
    )
    return Site(fleet, playbook, inventory, folder)


def make_models(python: Path, spark: Spark, folder: Path) -> None:
    """Write tiny random models, and put them on a host."""
    folder.mkdir()
    parakeet = ["tests.standins.parakeet_model", str(folder / "parakeet.nemo")]
    sortformer = ["tests.standins.sortformer_model", str(folder)]
    for command in (parakeet, sortformer):
        done = subprocess.run(
            [str(python), "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    identity = ["-i", str(spark.folder / "client_key")]
    copy = ["scp", "-q", "-r", *spark.ssh_options, *identity, str(folder)]
    subprocess.run([*copy, f"spark@{spark.address}:{MODELS}"], check=True)


def wheelhouse(folder: Path) -> str:
    """A folder with torch's CPU build where pip's own settings lead to one, else nothing."""
    pins = (ROOT / "requirements/engine.lock").read_text().splitlines()
    torch = next(pin for pin in pins if pin.startswith("torch=="))
    pip = [str(ROOT / ".venv/setup/bin/python"), "-m", "pip", "download", "--quiet"]
    command = [*pip, "--no-deps", "--no-index", "--dest", str(folder), torch]
    done = subprocess.run(command, capture_output=True, check=False)
    return str(folder) if done.returncode == 0 else ""


def wait_for(condition: Any, what: str) -> None:  # noqa: ANN401 - any callable
    """Wait for what another process does, but not for ever."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.5)


def refused(result: Result, *said: str) -> None:
    """The run failed, and its message holds all of this."""
    assert result.rc != 0, result.out
    for words in said:
        assert words in " ".join(result.out.split()), result.out


def test_whisperx_is_installed_from_nothing(site: Site, spark1: Spark, sample: Path) -> None:
    done = site.run("whisperx")
    assert done.rc == 0, done.out
    answer = site.post("whisperx", "/v1/audio/transcribe-with-speakers", sample)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["speakers_detected"] == 2
    text = " ".join(segment["text"] for segment in body["segments"])
    assert "didn't know you were there" in text


def test_its_container_is_as_promised(site: Site, spark1: Spark) -> None:
    (container,) = json.loads(spark1.docker("inspect", "whisperx-asr"))
    host = container["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 40 * 1024**3
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["ReadonlyRootfs"]
    assert container["Config"]["User"] == "1000:1000"
    assert container["Config"]["Healthcheck"]["StartPeriod"] > 0
    wait_for(
        lambda: "healthy" in spark1.docker("ps", "--filter", "health=healthy"),
        "a healthy container",
    )


def test_it_answers_nobody_without_the_key(site: Site, sample: Path) -> None:
    url = site.service("whisperx").base_url
    with sample.open("rb") as file:
        answer = requests.post(f"{url}/v1/audio/transcriptions", files={"file": file}, timeout=60)
    assert answer.status_code == 401
    assert requests.get(f"{url}/health", timeout=10).json()["whisper_loaded"]


def test_the_site_is_installed(site: Site, spark1: Spark) -> None:
    image = spark1.docker("inspect", "--format", "{{.Config.Image}}", "whisperx-asr").strip()
    spark1.ssh("mkdir -p magpie")
    for name in ("Dockerfile", "serve.py"):
        text = (ROOT / "tests/standins/magpie" / name).read_text()
        spark1.ssh(f"cat > magpie/{name}", stdin=text)
    spark1.ssh(f"docker build -q -t {MAGPIE} --build-arg BASE_IMAGE={image} magpie; rm -r magpie")
    done = site.run("site")
    assert done.rc == 0, done.out


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
        ("spark1", "magpie", "running", MAGPIE, "none"),
        ("spark2", "parakeet", "running", "spark-speech/parakeet:", "none"),
        ("spark2", "sortformer", "patched", "parakeet", "none"),
    ):
        lines = [line for line in shown.out.splitlines() if all(word in line for word in words)]
        assert len(lines) == 1, shown.out
    drifted = site.run("status", whisperx_memory="39g", sortformer_model="/models/other.nemo")
    assert "memory: 42949672960 -> 41875931136" in drifted.out
    assert "patch: partial -> patched" in drifted.out


def test_parakeet_and_magpie_answer(site: Site, sample: Path) -> None:
    heard = site.post("parakeet", "/v1/audio/transcriptions", sample, response_format="json")
    assert heard.status_code == 200, heard.text
    assert isinstance(heard.json()["text"], str)
    spoken = requests.post(
        f"{site.service('magpie').base_url}/v1/audio/synthesize",
        files={"text": (None, "Hello"), "language": (None, "en-US")},
        timeout=30,
    )
    assert spoken.content.startswith(b"RIFF")


def diarized(site: Site, sample: Path) -> dict[str, Any]:
    """What the patched Parakeet says of the sample."""
    answer = site.post("sortformer", "/v1/audio/diarize", sample)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_the_patched_parakeet_tells_speakers_apart(site: Site, sample: Path) -> None:
    body = diarized(site, sample)
    assert set(body) == {"duration", "speakers_detected", "segments", "model"}
    assert body["duration"] == pytest.approx(30.0, abs=0.1)
    starts = [segment["start"] for segment in body["segments"]]
    assert starts == sorted(starts)


def test_a_diarizer_that_dies_does_not_take_parakeet_along(
    site: Site, spark2: Spark, sample: Path
) -> None:
    started = spark2.docker("inspect", "--format", "{{.State.StartedAt}}", "parakeet")
    kill = (
        "import os,signal,pathlib\n"
        "for p in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
        "    words = p.read_bytes().split(b'\\0')\n"
        "    if b'--serve' in words: os.kill(int(p.parent.name), signal.SIGKILL)\n"
    )
    spark2.docker("exec", "parakeet", "python3", "-c", kill)
    heard = site.post("parakeet", "/v1/audio/transcriptions", sample)
    assert heard.status_code == 200, heard.text
    address = f"{site.service('sortformer').base_url}/v1/audio/diarize/health"
    key = {"Authorization": f"Bearer {site.service('sortformer').api_key}"}
    wait_for(
        lambda: requests.get(address, headers=key, timeout=10).status_code == 200, "the diarizer"
    )
    assert diarized(site, sample)["segments"] is not None
    assert spark2.docker("inspect", "--format", "{{.State.StartedAt}}", "parakeet") == started


def test_a_file_that_somebody_has_edited_is_left_alone(site: Site, spark2: Spark) -> None:
    edit = f"open({MAIN!r}, 'a').write('# mine\\n')"
    spark2.docker("exec", "--user", "0", "parakeet", "python3", "-c", edit)
    for state in ("present", "absent"):
        refused(site.run("sortformer", sortformer_state=state), "main.py", "sortformer_force")
    assert "# mine" in spark2.docker("exec", "parakeet", "cat", MAIN)
    forced = site.run("sortformer", sortformer_force=True)
    assert forced.rc == 0, forced.out
    assert "# mine" not in spark2.docker("exec", "parakeet", "cat", MAIN)


def test_a_container_that_was_made_anew_is_patched_again(
    site: Site, spark2: Spark, sample: Path
) -> None:
    settings = {"PARAKEET_WINDOW_S": "60"}
    assert site.run("parakeet", parakeet_settings=settings).rc == 0
    assert "sortformer" not in spark2.docker("exec", "parakeet", "cat", MAIN)
    foretold = site.run("sortformer", "--check", "--diff")
    assert foretold.changed["spark2"] > 0
    assert "+_attach_sortformer()" in foretold.out
    assert "sortformer" not in spark2.docker("exec", "parakeet", "cat", MAIN)
    done = site.run("sortformer")
    assert done.rc == 0, done.out
    assert diarized(site, sample)["model"]


def files_of(spark: Spark) -> str:
    """Bytes, modes and owners of the server's folder in Parakeet's container."""
    found = "find . -type f -not -name '*.pyc' -exec"
    listed = (
        f"cd /opt/parakeet/app; ({found} stat -c '%n %a %u:%g' {{}} +; {found} sha256sum {{}} +)"
    )
    return spark.docker("exec", "parakeet", "sh", "-c", f"{listed} | sort")


def test_the_patch_is_taken_back_and_put_on_again(site: Site, spark2: Spark, sample: Path) -> None:
    for changes in (True, False):
        gone = site.run("sortformer", sortformer_state="absent")
        assert gone.rc == 0, gone.out
        assert (gone.changed["spark2"] > 0) is changes
    pristine = files_of(spark2)
    assert "diarizer.py" not in pristine
    assert "pre-sortformer" not in pristine
    refused_path = site.post("parakeet", "/v1/audio/diarize", sample)
    assert refused_path.status_code == 404
    assert site.run("sortformer").rc == 0
    assert "main.py.pre-sortformer" in files_of(spark2)
    assert site.run("sortformer", sortformer_state="absent").rc == 0
    assert files_of(spark2) == pristine


def test_a_patched_server_that_does_not_get_ready_is_taken_back(
    site: Site, spark2: Spark, sample: Path
) -> None:
    pristine = files_of(spark2)
    failed = site.run(
        "sortformer", sortformer_model="/models/none.nemo", sortformer_start_timeout_s=60
    )
    refused(failed, "/models/none.nemo")
    assert files_of(spark2) == pristine
    wait_for(
        lambda: site.post("parakeet", "/v1/audio/transcriptions", sample).status_code == 200,
        "Parakeet",
    )


def test_everything_absent_leaves_no_trace(site: Site, spark1: Spark, spark2: Spark) -> None:
    absent: dict[str, Any] = {f"{name}_state": "absent" for name in ("whisperx", "parakeet")}
    absent |= {f"{name}_state": "absent" for name in ("sortformer", "magpie")}
    absent |= {f"{name}_purge": True for name in ("whisperx", "parakeet", "magpie")}
    for changes in (True, False):
        gone = site.run("site", **absent)
        assert gone.rc == 0, gone.out
        assert any(gone.changed.values()) is changes, gone.out
    for spark in (spark1, spark2):
        left = spark.ssh(
            "docker ps -aq; docker volume ls -q; docker images -q 'spark-speech/*'; "
            "find ~/.spark-speech 2>/dev/null || true"
        )
        assert left.stdout == ""
    assert not list((site.folder / "services.d").iterdir())
