"""Who computes for long lets others have their turn, those included who wait at a socket."""

import subprocess
import sys

TURNS = 20
_COMPUTING = f"""
from gevent import monkey

monkey.patch_all()

import gevent, os, socket, time
from proxy_app.turns import let_others

asking, asked = socket.socketpair()
answers = []
def answer():
    while asked.recv(1):
        answers.append(1)
gevent.spawn(answer)
gevent.sleep(0.1)
for _ in range({TURNS}):
    os.write(asking.fileno(), b"x")
    until = time.perf_counter() + 0.02
    while time.perf_counter() < until:
        pass
    let_others()
print(len(answers))
"""


def test_who_waits_at_a_socket_is_served_between_two_turns_of_one_who_computes() -> None:
    computing = subprocess.run(
        [sys.executable, "-c", _COMPUTING], capture_output=True, text=True, check=True
    )
    assert int(computing.stdout) >= TURNS // 2
