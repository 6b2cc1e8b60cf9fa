"""The spool folder: nothing stays behind, nobody's work is swept away."""

import subprocess
import sys
from pathlib import Path

from proxy_app.services import Spool

KEEP = """
import sys
from pathlib import Path
from proxy_app.services import Spool
upload = Spool(Path(sys.argv[1])).new_stem()
upload.write_text("speech")
print(upload, flush=True)
sys.stdin.read()
"""


def test_a_killed_workers_files_are_removed_at_the_next_start(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KEEP, str(tmp_path)]
    root = Path(__file__).resolve().parents[2]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=root, text=True, **pipes) as worker:  # type: ignore[call-overload]
        upload = Path(worker.stdout.readline().strip())
        Spool(tmp_path).close()
        assert upload.exists(), "a living worker's file was swept away"
        worker.kill()
        worker.wait()
        assert upload.exists()
        Spool(tmp_path).close()
        assert list(tmp_path.iterdir()) == []


def test_folders_belong_to_the_user_alone(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    folders = (spool.folder, spool.folder.parent)
    assert [path.stat().st_mode & 0o777 for path in folders] == [0o700, 0o700]
    spool.close()
    assert not spool.folder.exists()


def test_two_requests_never_share_a_name(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert spool.new_stem() != spool.new_stem()
    spool.close()


def test_what_else_lies_in_the_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "worker-link").symlink_to(tmp_path)
    Spool(tmp_path).close()
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "worker-link"}
