"""The parts that are processes of their own.

- `--serve PARENT` loads the model, answers HTTP on a Unix socket, and dies with Parakeet's process,
  whose id is given.
- `--decode ...` reads one upload: a codec that crashes costs one request.
"""

import argparse
import contextlib
import ctypes
import errno
import json
import logging
import os
import resource
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from sortformer_decoding import DECODE_S, decode
from sortformer_refusals import Refusal, storage_full
from sortformer_server import Server
from sortformer_settings import GIB, Settings
from sortformer_worker import Worker


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent ends, by whatever cause."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:  # it was over before the line above
        sys.exit(0)


def serve(parent: int) -> None:
    """Be the diarizer's process."""
    die_with_parent(parent)
    logging.basicConfig(format="sortformer: %(levelname)s: %(message)s")
    # NeMo's progress bars do not belong in a log; threads that spin while they wait slow Parakeet.
    os.environ["TQDM_DELAY"] = "86400"
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Where a container's memory runs out the kernel takes this process, not Parakeet's.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    settings = Settings.from_environment(os.environ)
    for left in settings.folder.glob("request-*"):
        shutil.rmtree(left, ignore_errors=True)
    worker = Worker(settings)
    worker.start()
    with Server(settings, worker) as server:
        server.serve_forever()


def answer_decode(source: Path, target: Path, max_seconds: float, parent: int) -> None:
    """Be the process that decodes one file: print {"seconds"} or {"refusal"}."""
    die_with_parent(parent)
    for kind, value in (
        (resource.RLIMIT_AS, 4 * GIB),
        (resource.RLIMIT_CPU, DECODE_S),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (value if hard < 0 else min(value, hard), hard))
    try:
        answer: dict[str, Any] = {"seconds": decode(source, target, max_seconds)}
    except Refusal as refusal:
        answer = _told(refusal)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        answer = _told(storage_full())
    sys.stdout.write(json.dumps(answer))


def _told(refusal: Refusal) -> dict[str, Any]:
    return {"refusal": (refusal.status, refusal.code, refusal.message)}


def main() -> None:
    """The parts that are processes of their own."""
    # -B keeps compiled files from lying beside the patch's own; others' are kept as ever.
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    parser = argparse.ArgumentParser(description="Parts of the Sortformer patch.")
    parts = parser.add_mutually_exclusive_group(required=True)
    parts.add_argument("--serve", type=int, metavar="PARENT")
    parts.add_argument("--decode", nargs=4, metavar=("SOURCE", "TARGET", "SECONDS", "PARENT"))
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen.serve)
    else:
        source, target, seconds, parent = chosen.decode
        answer_decode(Path(source), Path(target), float(seconds), int(parent))


if __name__ == "__main__":
    main()
