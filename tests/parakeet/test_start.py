"""Before the server serves: its settings, its files, its model's file."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from images.parakeet.app.settings import ParakeetSettings
from proxy_app.settings import describe
from tests.parakeet.conftest import APP, ROOT, environment, start
from tests.standins.hub import serving


def imported(
    program: str, folder: Path = APP, root: Path = ROOT, /, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a few lines as the server is run: in its folder, with the tree's root on the path."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment(**settings) | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PARAKEET_MODEL", "parakeet", "nvidia/parakeet-tdt-0.6b-v3"),
        ("PARAKEET_MODEL", "/nowhere/model.nemo", "nvidia/parakeet-tdt-0.6b-v3"),
        ("PARAKEET_MODEL", "--config=x/y", "nvidia/parakeet-tdt-0.6b-v3"),
        ("PARAKEET_DEVICE", "gpu", "one of auto, cpu, cuda"),
        ("PARAKEET_WINDOW_S", "2", "from 10 to 1200"),
        ("PARAKEET_PROT", "8001", "did you mean PARAKEET_PORT?"),
        ("PARAKEET_API_KEY_FILE", "/nowhere/key", "cannot be read"),
    ],
)
def test_a_setting_that_cannot_work_ends_the_process_with_its_name(
    name: str, value: str, said: str
) -> None:
    done = imported("import main", **{name: value})
    assert done.returncode == 2
    assert done.stderr.startswith(f"parakeet: {name}")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_somebody_else_has_ends_the_process_with_the_settings_to_change(
    parakeet_python: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        model = tmp_path / "model.nemo"
        model.touch()
        running = start(parakeet_python, tmp_path, str(model), PARAKEET_PORT=port)
        try:
            assert running.process.wait(60) == 2
        finally:
            running.stop()
    said = running.log.read_text()
    assert f"PARAKEET_PORT={port}: cannot listen there: Address already in use" in said
    assert "Traceback" not in said


def test_the_image_s_context_is_enough_and_a_patch_at_the_end_of_main_reaches_the_app(
    tmp_path: Path,
) -> None:
    for line in (ROOT / "images/parakeet/context.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            source, target = ROOT / line, tmp_path / line
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, target)
    # As the Dockerfile has it.
    app = tmp_path / "app"
    (tmp_path / "images/parakeet/app").rename(app)
    (tmp_path / "images/parakeet/app").symlink_to("../../app")
    with (app / "main.py").open("a") as main:
        main.write("\nimport extra\nextra.attach(app)\n")
    (app / "extra.py").write_text("def attach(app): app.get('/extra')(lambda: 'extra')\n")
    done = imported("from main import app; print(*app.openapi()['paths'])", app, tmp_path)
    assert done.stdout.split() == [
        "/health",
        "/v1/models",
        "/v1/audio/transcriptions",
        "/extra",
    ], done.stderr


def test_the_readme_lists_the_settings() -> None:
    readme = (ROOT / "images/parakeet/README.md").read_text()
    rows = [
        f"| `{row.name}` | {row.kind} | {f'`{row.default}`' if row.default else ''} | {row.help} |"
        for row in describe(ParakeetSettings, prefix="PARAKEET_")
    ]
    assert "\n".join(rows) in readme


def fetched(python: Path, model: str, **settings: str) -> str:
    """Where a model of the hub is on the disk, or what is said about it."""
    program = f"""
from images.parakeet.app.recogniser import _fetch
from images.serving.hub import ModelError
try:
    print(_fetch({model!r}))
except ModelError as error:
    print(error)
"""
    done = subprocess.run(
        [python, "-c", program],
        cwd=ROOT,
        env=os.environ | environment(**settings) | {"NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_model_is_fetched_from_the_hub_once(parakeet_python: Path, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/tiny.nemo").write_bytes(b"a model")
    cache = {"HF_HOME": str(tmp_path / "cache")}
    with serving(tmp_path / "files") as hub:
        path = fetched(parakeet_python, "some/tiny", HF_ENDPOINT=hub.url, **cache)
        assert Path(path).read_bytes() == b"a model"
        asked = hub.asked.count("/some/tiny/resolve/main/tiny.nemo")
        assert fetched(parakeet_python, "some/tiny", HF_ENDPOINT=hub.url, **cache) == path
        assert hub.asked.count("/some/tiny/resolve/main/tiny.nemo") == asked > 0
        missing = fetched(parakeet_python, "some/missing", HF_ENDPOINT=hub.url, **cache)
        assert "https://huggingface.co/some/missing does not exist" in missing
