"""Run a command that ends when its parent does: `python tethered.py COMMAND...`.

supervisord starts the processes through this, so that nothing is left running, unsupervised and
holding the ports, when supervisord itself is killed.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2); it survives exec

if __name__ == "__main__":
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:  # else it died before we asked
        os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - our own command, no shell
