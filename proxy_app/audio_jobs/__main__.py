"""The process that works on audio jobs: `python -m proxy_app.audio_jobs`. There is one.

It may die at any moment: what is asked for is in the database and in the jobs' folders.
"""

# ruff: noqa: E402 - before anything else imports the standard library
from gevent import monkey

monkey.patch_all()

import sys

from proxy_app.audio_jobs.worker import Worker
from proxy_app.daemon import work

if __name__ == "__main__":
    sys.exit(work("The process of audio jobs", Worker))
