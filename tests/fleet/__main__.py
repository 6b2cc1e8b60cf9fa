"""Hold the tests' Docker engine until Ctrl-C: `python -m tests.fleet`.

Prints what a shell or another test run sets to use it. The base image is made at once.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
from pathlib import Path

from tests.fleet.engine import running_engine
from tests.fleet.images import base_image, ca_bundle


def main() -> None:
    """Start the engine, print its exports, wait for SIGINT or SIGTERM."""
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with running_engine() as engine:
        exports = {
            "DOCKER_HOST": engine.host,
            "SPEECH_TEST_BASE_IMAGE": base_image(engine),
            "SPEECH_TEST_CA_BUNDLE": str(ca_bundle() or ""),
        }
        for name, value in exports.items():
            print(f"export {name}={shlex.quote(value)}")
        if shutil.which("docker") != engine.client:
            print(f'export PATH={shlex.quote(str(Path(engine.client).parent))}:"$PATH"')
        sys.stdout.flush()
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
