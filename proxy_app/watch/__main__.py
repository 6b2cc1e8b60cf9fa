"""The process that watches all services: `python -m proxy_app.watch`. There is one.

It may die at any moment: what it knows is in the database, and what it has ordered is a job.
"""

# ruff: noqa: E402 - before anything else imports the standard library
from gevent import monkey

monkey.patch_all()

import logging
import os
import signal
import sys

from proxy_app.config import load_config, make_folders
from proxy_app.settings import SettingError
from proxy_app.store import SchemaError
from proxy_app.watch.rounds import Watch


def main() -> int:
    """Work until SIGTERM; 2 for settings that cannot be used."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        config = load_config(os.environ)
        make_folders(config)
        watch = Watch(config)
        signal.signal(signal.SIGTERM, watch.stop)
        signal.signal(signal.SIGINT, watch.stop)
        watch.run()
    except (SettingError, SchemaError) as error:
        print(f"The watch process cannot start: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
