"""The collection as it is installed passes `ansible-test sanity`."""

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import collection, environments

HOME = collection.ROOT / ".run/ansible-test"
"""ansible-test's environments, one for each check, and pip's cache; kept for the next time."""
LEFT_OUT = ("shellcheck", "pslint")
"""They want programs that are not on PyPI, for kinds of files of which the collection has none."""
# It would download a script that installs pip from a host of its own. This one takes set-up's pip:
# ensurepip would need 4 s for each check.
BOOTSTRAP = """
import pathlib, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "pip").symlink_to({pip!r})
"""


def made_home() -> Path:
    """A home for ansible-test, which passes no variables on to pip: its settings lie there."""
    cache = HOME / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    (pip,) = environments.VENV.resolve().glob("setup/lib/python3*/site-packages/pip")
    (cache / "get_pip_24_2.py").write_text(BOOTSTRAP.format(pip=str(pip)))
    settings = configparser.RawConfigParser()
    settings["global"] = {**environments.pip_settings(), "no-compile": "true", "retries": "1"}
    (HOME / ".config/pip").mkdir(parents=True, exist_ok=True)
    with (HOME / ".config/pip/pip.conf").open("w") as file:
        settings.write(file)
    return HOME


@pytest.mark.timeout(900)
def test_what_is_installed_passes_ansibles_sanity_checks(
    galaxy: Path, installed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "ansible_collections/spark/speech"
    shutil.copytree(installed, folder)
    command = [str(galaxy.with_name("ansible-test")), "sanity", "--color", "no"]
    command += ["--python", f"{sys.version_info.major}.{sys.version_info.minor}"]
    command += [f"--skip-test={name}" for name in LEFT_OUT]
    environ = {"PATH": os.environ["PATH"], "HOME": str(made_home()), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    if "No matching distribution found" in said and os.environ.get("CI") != "true":
        pytest.skip(f"ansible-test could not install what its checks need:\n{said[-2000:]}")
    assert done.returncode == 0, said
    assert 'Running sanity test "validate-modules"' in said
