"""The thread in Parakeet's process that keeps the diarizer's process running."""

import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping

from sortformer_settings import PROGRAM, Settings, log


class Supervisor(threading.Thread):
    """Starts the diarizer's process, and starts it again when it ends."""

    LONGEST_PAUSE_S = 60
    STEADY_S = 300
    """A process that lived this long had no trouble with starting."""
    CHECK_S = 30
    MISSES = 3
    """So many checks without an answer, and the process counts as hung."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        super().__init__(name="sortformer", daemon=True)
        self.settings = settings
        self._environment = environment
        self.said = "The diarizer's process is starting."
        self.restarts = 0

    def run(self) -> None:
        """Work for as long as this process lives."""
        with (self.settings.folder / "lock").open("w") as lock:
            # A server of several worker processes has one diarizer; this waits for its owner's end.
            fcntl.flock(lock, fcntl.LOCK_EX)
            pause_s = 1
            while True:
                began = time.monotonic()
                ended = self._run_once()
                pause_s = 1 if time.monotonic() - began > self.STEADY_S else pause_s
                self.said = f"The diarizer's process {ended}; it is started again."
                self.restarts += 1
                log.error("%s (in %d s)", self.said, pause_s)
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, self.LONGEST_PAUSE_S)

    def _run_once(self) -> str:
        command = [sys.executable, "-B", str(PROGRAM), "--serve", str(os.getpid())]
        try:
            # The process dies with this thread, not only with the whole of its parent.
            process = subprocess.Popen(  # noqa: S603 - no shell, our own file
                command, stdin=subprocess.DEVNULL, start_new_session=True, env=self._environment
            )
        except OSError as error:
            return f"could not be started ({error.strerror})"
        missed = 0
        while missed < self.MISSES:
            try:
                status = process.wait(self.CHECK_S)
            except subprocess.TimeoutExpired:
                missed = 0 if self._answers() else missed + 1
            else:
                return f"was killed by signal {-status}" if status < 0 else f"ended ({status})"
        process.kill()
        process.wait()
        return "did not answer"

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(self.CHECK_S)
                connection.connect(str(self.settings.socket))
                connection.sendall(b"GET /health HTTP/1.1\r\n\r\n")
                return bool(connection.recv(1))
        except OSError:
            return False
