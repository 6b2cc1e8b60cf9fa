"""Fetching a model: in a process of its own, which a hanging hub cannot keep.

The engine starts `python -m images.whisperx.app.alignment.fetch MODEL SECONDS`, which fetches into
the libraries' own caches (HF_HOME, TORCH_HOME) and prints the reason where that fails.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from images.serving import hub
from images.whisperx.app.alignment import models

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[4]
AGAIN_AFTER_S = 600.0
"""A model that could not be fetched is not asked for again before."""
_UNTOUCHED_S = 60.0


class Fetcher:
    """Fetches one model at a time, in the background.

    Args:
        timeout_s: after so long a process that fetches is killed.
        token: HF_TOKEN for it.
        python: the interpreter with the model libraries.
    """

    def __init__(
        self, timeout_s: float, token: str | None = None, python: str = sys.executable
    ) -> None:
        self._timeout_s = timeout_s
        self._token = token
        self._python = python
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._queue: list[str] = []
        self._again_at: dict[str, float] = {}
        self._stopped = False

    def want(self, model: str) -> bool:
        """Fetch a model, after those that are wanted already.

        Returns:
            Whether it can be expected to come; not where it failed lately.
        """
        with self._lock:
            if self._stopped or self._again_at.get(model, 0.0) > time.monotonic():
                return False
            if model not in self._queue:
                self._queue.append(model)
                if len(self._queue) == 1:
                    threading.Thread(target=self._work, name="fetch", daemon=True).start()
        return True

    def stop(self) -> None:
        """End the process that fetches, if there is one, and start no other."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                _kill(self._process)

    def _work(self) -> None:
        more = True
        while more:
            model = self._queue[0]
            log.info("%s is being fetched", model)
            try:
                failure = self._run(model)
            except OSError as error:
                failure = str(error)
            if failure:
                log.error("%s cannot be fetched: %s", model, failure)
            else:
                log.info("%s has been fetched", model)
            with self._lock:
                if failure:
                    self._again_at[model] = time.monotonic() + AGAIN_AFTER_S
                self._queue.pop(0)
                more = bool(self._queue) and not self._stopped

    def _run(self, model: str) -> str:
        """Why it failed, or nothing."""
        environ = {
            **os.environ,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        if self._token:
            environ["HF_TOKEN"] = self._token
        command = [self._python, "-m", __name__, model, str(self._timeout_s)]
        with self._lock:
            if self._stopped:
                return "the engine stops"
            process = subprocess.Popen(  # noqa: S603
                command,
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            self._process = process
        try:
            said, _ = process.communicate(timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.communicate()
            return f"it took more than {self._timeout_s:g} s (ENGINE_ALIGN_FETCH_TIMEOUT_S)"
        finally:
            with self._lock:
                self._process = None
        if process.returncode == 0:
            return ""
        return said.strip() or f"the process ended with code {process.returncode}"


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def main(arguments: Sequence[str]) -> int:
    """Fetch the model that is named first."""
    model, timeout_s = arguments
    # The engine may be killed itself, and then nobody else keeps the time.
    signal.alarm(math.ceil(float(timeout_s)) + 1)
    try:
        if "/" in model:
            _fetch_from_hub(model)
        else:
            _fetch_bundle(model)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason
        reason = hub.explain(error, model, "set ENGINE_ALIGN_MODELS to a folder")
        print(reason)  # noqa: T201
        return 1
    return 0


def _fetch_from_hub(model: str) -> None:
    from huggingface_hub import constants, model_info, snapshot_download  # noqa: PLC0415

    kept = Path(constants.HF_HUB_CACHE, f"models--{model.replace('/', '--')}")
    _remove_remains(kept / "blobs", "*.incomplete")
    files = model_info(model).siblings or ()
    names = {file.rfilename for file in files if "/" not in file.rfilename}
    weights = {name for name in names if name.endswith(".safetensors")}
    weights = weights or {name for name in names if name.startswith("pytorch_model")}
    others = {name for name in names if name.endswith(".json")} - {"config.json"}
    # The file that a model is recognised by comes last, when the others are there.
    for wanted in ([*weights, *others], ["config.json"]):
        snapshot_download(model, allow_patterns=wanted)


def _fetch_bundle(model: str) -> None:
    file = models.bundle_file(model)
    _remove_remains(file.parent, f"{file.name}.*.partial")
    models.bundle_of(model).get_model(dl_kwargs={"progress": False})


def _remove_remains(folder: Path, pattern: str) -> None:
    """Remove what attempts left that were killed. Another engine's is being written to."""
    for file in folder.glob(pattern):
        if time.time() - file.stat().st_mtime > _UNTOUCHED_S:
            file.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
