"""The gateway starts, or says in one line why not."""

import subprocess
from pathlib import Path

import pytest

from tests.api.conftest import COMMAND, REPOSITORY, environment


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"SPEECH_PORT": "http"}, "SPEECH_PORT='http': expected a whole number from 1 to 65535"),
        ({"SPEECH_HOST": "0.0.0.0"}, "SPEECH_HOST='0.0.0.0'"),
        ({"SPEECH_PROT": "1"}, "SPEECH_PROT is not a setting; did you mean SPEECH_PORT?"),
        ({"WHISPERX_HOST": "a b"}, "WHISPERX_HOST='a b'"),
        ({"SPARK2_HOST": "a b"}, "SPARK2_HOST='a b'"),
        ({"WHISPERX_API_KEY": "hunter2\nx"}, "WHISPERX_API_KEY=(hidden)"),
        ({"SPEECH_ALLOWED_HOSTS": "*"}, "SPEECH_ALLOWED_HOSTS='*': '*' is no host name"),
        ({"SPEECH_ALLOWED_ORIGINS": "notes.example"}, "'notes.example' is no origin"),
        ({"SPEECH_STATE_DIR": "/dev/null/x"}, "SPEECH_STATE_DIR='/dev/null/x' cannot be made"),
        ({"SPEECH_SPOOL_DIR": "/dev/null"}, "SPEECH_SPOOL_DIR='/dev/null' cannot be made"),
        ({"WHISPERX_API_KEY_FILE": "/no/such/file"}, "WHISPERX_API_KEY_FILE='/no/such/file'"),
    ],
)
def test_a_wrong_setting_is_one_line_and_a_status(
    tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    environ = environment(tmp_path, 1) | settings
    done = subprocess.run(
        COMMAND,
        cwd=REPOSITORY,
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("The gateway cannot start: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
