"""Run the server: `python /opt/parakeet/app`, so that this folder is on the path, as main.py wants.

The folders images/ and proxy_app/ have to be on it too (PYTHONPATH).
"""

from __future__ import annotations

import importlib
import sys

from images.serving.program import USAGE_ERROR, listen, serve, set_up
from proxy_app.settings import SettingError


def run() -> int:
    """Serve until a signal ends it; the exit code is 2 where the settings cannot work."""
    set_up()
    main = importlib.import_module("main")
    try:
        # Before the app starts: whoever has the port has the spool.
        listener = listen(main.settings.host, main.settings.port, "PARAKEET_")
    except SettingError as error:
        sys.stderr.write(f"parakeet: {error}\n")
        return USAGE_ERROR
    serve(main.app, listener)
    return 0


if __name__ == "__main__":
    sys.exit(run())
