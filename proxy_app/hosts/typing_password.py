"""The process that types a password into ssh, once: `python -I typing_password.py`.

It reads {"command": [...], "done": WORD, "password": TEXT} from its standard input, so that the
password is in no command line, environment or file. It prints one word: `done` when the command
has printed WORD, `denied`, `more` where something else than a password is asked for, or `failed`.
Nothing that comes over the terminal is handed on. It stands alone (standard library and pexpect),
and without gevent.
"""

import json
import resource
import sys

import pexpect

WITHIN_S = 40
_PROMPT = r"(?i)password[^\r\n]*: ?$"
_DENIED = "(?i)permission denied"


def main() -> str:
    """Type it, and say what came of it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    order = json.load(sys.stdin)
    command = order["command"]
    child = pexpect.spawn(command[0], command[1:], timeout=WITHIN_S, encoding="utf-8")
    try:
        begins = [_PROMPT, order["done"], _DENIED, pexpect.EOF, pexpect.TIMEOUT]
        found = child.expect(begins)
        if found == 0:
            child.sendline(order["password"])
            ends = [order["done"], _DENIED, _PROMPT, pexpect.EOF, pexpect.TIMEOUT]
            return ("done", "denied", "denied", "failed", "failed")[child.expect(ends)]
        return ("", "done", "denied", "failed", "more")[found]
    finally:
        child.close(force=True)


if __name__ == "__main__":
    sys.stdout.write(main())
