"""attach(): whatever is wrong with the diarizer or its surroundings, Parakeet starts and works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml
from fastapi import FastAPI

from sortformer_front import attach
from tests.sortformer.audio import encoded
from tests.sortformer.patched import PATCH, ROOT, Parakeet, with_hook

ROLE = ROOT / "collections/ansible_collections/spark/speech/roles/sortformer"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SORTFORMER_MAX_SECONDS", "a lot", "SORTFORMER_MAX_SECONDS: expected a whole number"),
        ("SORTFORMER_POST_PROCESSING", "best", "SORTFORMER_POST_PROCESSING: expected one of"),
        ("SORTFORMER_DIR", "/proc/self/here", "cannot be started"),
        ("SORTFORMER_DIR", "/tmp", "not a folder of this user's alone"),
        ("SORTFORMER_DIR", "/proc/" + 120 * "x", "too long"),
    ],
)
def test_what_cannot_work_is_answered_with_its_reason(
    tmp_path: Path, sample: bytes, variable: str, value: str, said: str
) -> None:
    with Parakeet(tmp_path, more={variable: value}) as server:
        answer = server.post(sample)
        assert answer.status_code == 503
        assert said in answer.json()["error"]["message"]
        health = server.health()
        assert (health["http"], health["status"]) == (503, "broken")
        assert said in server.log.read_text()
        assert server.transcribes()


def test_without_nemo_parakeet_works_and_the_answer_says_what_is_missing(
    tmp_path: Path, sample: bytes
) -> None:
    with Parakeet(tmp_path, real=True) as server:  # this environment has no NeMo
        server.wait_until("failed")
        assert "No module named 'nemo'" in server.post(sample).json()["error"]["message"]
        assert server.transcribes()


@pytest.mark.parametrize("content", [None, b"this is no Python", b"raise SystemError('no')"])
@pytest.mark.parametrize("name", ["sortformer_front.py", "sortformer_settings.py"])
def test_a_damaged_file_of_parakeet_s_own_process_is_logged_and_parakeet_works(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    with Parakeet(tmp_path, changed={name: content}) as server:
        assert "Sortformer could not be attached" in server.log.read_text()
        assert server.transcribes()


def test_a_damaged_file_of_the_diarizer_s_process_is_told_and_parakeet_works(
    tmp_path: Path,
) -> None:
    with Parakeet(tmp_path, changed={"diarizer.py": b"this is no Python"}) as server:
        assert "ended (1)" in server.wait_until("restarting")["detail"]
        assert "diarizer.py" in server.log.read_text()
        assert server.transcribes()


def test_a_run_leaves_no_compiled_files_of_the_patch_behind(tmp_path: Path) -> None:
    with Parakeet(tmp_path) as server:
        server.wait_until("ready")
        assert server.post(encoded("flac", "flac", 1)).status_code == 200  # decoded in a process
        compiled = {path.name.split(".")[0] for path in server.app.rglob("*.pyc")}
        assert compiled == {"main"}  # Python may write there, and did


def test_a_main_py_that_runs_the_server_itself_is_served_too(tmp_path: Path, sample: bytes) -> None:
    with Parakeet(tmp_path, as_script=True) as server:
        server.wait_until("ready")
        assert server.post(sample).status_code == 200


def test_what_the_patch_sets_goes_before_the_container_s_environment(tmp_path: Path) -> None:
    environment = {"SORTFORMER_MAX_SECONDS": "10"}
    with Parakeet(tmp_path, hook={"SORTFORMER_MAX_SECONDS": 20}, more=environment) as server:
        assert server.wait_until("ready")["max_seconds"] == 20


def test_the_hook_is_plain_python_that_can_be_taken_out_again() -> None:
    main = "from fastapi import FastAPI\napp = FastAPI()\n"
    patched = with_hook(main)
    compile(patched, "main.py", "exec")
    hook = (PATCH / "hook.py.txt").read_text()
    assert patched.count(hook) == 1
    assert hook.splitlines()[0].startswith("# >>> spark.speech.sortformer")
    assert hook.splitlines()[-1].startswith("# <<< spark.speech.sortformer")


def test_a_key_that_the_whole_app_wants_is_wanted_here_too(tmp_path: Path, sample: bytes) -> None:
    with Parakeet(tmp_path, more={"STANDIN_KEY": "open-sesame"}) as server:
        assert server.post(sample).status_code == 401
        assert server.post(sample, key="Bearer open-sesame").status_code in (200, 503)


def test_a_key_of_its_own_is_read_from_a_file(tmp_path: Path, sample: bytes) -> None:
    key = tmp_path / "key"
    key.write_text("sesame\n")
    with Parakeet(tmp_path / "server", more={"SORTFORMER_API_KEY_FILE": str(key)}) as server:
        server.wait_until("ready")
        for wrong in ("", "Bearer wrong", "sesame", "Bearer sesam\u00e9"):
            refused = server.post(sample, key=wrong)
            assert refused.status_code == 401
            assert refused.json()["error"]["code"] == "invalid_api_key"
        assert server.post(sample, key="Bearer sesame").status_code == 200
        key.write_text("")  # an empty key must not let everybody in
        assert server.post(sample, key="Bearer ").status_code == 503


def test_the_route_is_in_the_app_s_own_documentation(server: Parakeet) -> None:
    paths = requests.get(f"{server.url}/openapi.json", timeout=30).json()["paths"]
    assert "multipart/form-data" in paths["/v1/audio/diarize"]["post"]["requestBody"]["content"]
    assert "get" in paths["/v1/audio/diarize/health"]


def test_attaching_twice_and_attaching_to_what_is_no_app_is_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SORTFORMER_MAX_BYTES", "nonsense")  # so that no process is started
    app = FastAPI()
    before = len(app.router.routes)
    attach(app)
    attach(app)
    assert len(app.router.routes) == before + 2
    attach(None)
    attach("main")


@pytest.mark.parametrize("name", ["sortformer_front", "sortformer_process"])
def test_importing_the_files_brings_nothing_heavy_along(name: str) -> None:
    heavy = {"torch", "nemo", "numpy", "fastapi"}
    check = f"import sys, {name}; print(set(sys.modules) & {heavy})"
    python = ROOT / ".venv/engine/bin/python"
    done = subprocess.run([python, "-c", check], cwd=PATCH, capture_output=True, check=True)
    assert done.stdout == b"set()\n"


def test_parakeet_s_process_imports_neither_the_model_s_nor_the_decoder_s_part() -> None:
    check = "import sys, sortformer_front; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=PATCH, capture_output=True, text=True, check=True
    )
    parts = {name for name in done.stdout.split() if (PATCH / f"{name}.py").exists()}
    names = ("front", "refusals", "settings", "supervisor")
    assert parts == {f"sortformer_{name}" for name in names}


def test_the_role_and_the_tarball_have_every_file_of_the_patch_and_no_other() -> None:
    wanted = {path.name for path in PATCH.glob("*.py")}
    variables = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    added = {}
    for item in variables["_sortformer_files"]:
        if "content" in item:
            added[item["path"].rpartition("/")[2]] = item["content"]
    assert set(added) == wanted
    assert all(f"'/{name}'" in content for name, content in added.items())
    listed = (PATCH / "context.txt").read_text().split("\n")[1:-1]
    assert {Path(line).name for line in listed} == wanted | {"hook.py.txt"}
