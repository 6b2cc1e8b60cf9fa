"""Run a command that ends when its parent does: `python tether.py PARENT LOCK COMMAND...`.

A playbook whose worker is killed would go on with nobody to see it. The kernel sends SIGTERM then,
at which ansible-playbook ends all of its own processes. That takes a moment: until it is over the
command, and what it forks, holds an flock on the file LOCK.
"""

import ctypes
import fcntl
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2); it survives exec

if __name__ == "__main__":
    parent, path, *command = sys.argv[1:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # who only looks has it for no time
    os.set_inheritable(lock, True)
    if os.getppid() == int(parent):  # else it died before we asked
        os.execv(command[0], command)  # noqa: S606 - our own command, no shell
