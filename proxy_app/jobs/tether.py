"""Run a command that ends when its parent does: `python tether.py PARENT COMMAND...`.

A playbook whose worker is killed would go on with nobody to see it. The kernel sends SIGTERM then,
at which ansible-playbook ends all of its own processes.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2); it survives exec

if __name__ == "__main__":
    parent, *command = sys.argv[1:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == int(parent):  # else it died before we asked
        os.execv(command[0], command)  # noqa: S606 - our own command, no shell
