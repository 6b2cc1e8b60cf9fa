"""Create the Python environments under .venv: `python3 tools/setup.py gateway engine`.

The work is in tools/environments.py. Any Python, however old, can read this file, so that another
one than those that the locks were resolved for is refused in a sentence.
"""

import os
import sys

if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.stderr.write(
        "setup: Python 3.11 to 3.13 is needed, and %s is %d.%d."  # noqa: UP031 - f-strings are new
        " Name another one: make PYTHON=python3.12\n" % ((sys.executable,) + sys.version_info[:2])  # noqa: RUF005
    )
    sys.exit(1)

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120

from tools.environments import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
