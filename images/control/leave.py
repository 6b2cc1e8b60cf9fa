"""supervisord's event listener: when it gives a process up, the container ends.

Docker then starts it again, and who waits for it sees that it does not stay up.
"""

import os
import signal
import sys

if __name__ == "__main__":
    sys.stdout.write("READY\n")  # supervisord's protocol: http://supervisord.org/events.html
    sys.stdout.flush()
    if sys.stdin.readline():
        os.kill(os.getppid(), signal.SIGTERM)
