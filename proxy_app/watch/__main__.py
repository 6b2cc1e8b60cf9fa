"""The process that watches all services: `python -m proxy_app.watch`. There is one.

It may die at any moment: what it knows is in the database, and what it has ordered is a job.
"""

# ruff: noqa: E402 - before anything else imports the standard library
from gevent import monkey

monkey.patch_all()

import sys

from proxy_app.daemon import work
from proxy_app.watch.rounds import Watch

if __name__ == "__main__":
    sys.exit(work("The watch process", Watch))
