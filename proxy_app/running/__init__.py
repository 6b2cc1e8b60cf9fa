"""Work that outlives its client for a while, and is shared by all who ask for the same.

    follower = running.join(ticket, begin)
    for event in follower.events(): ...
    follower.close()

The work stays in the process that began it, and all processes of this machine reach it there.
"""

from proxy_app.running.running import OtherContentError, Running, Ticket
from proxy_app.running.wire import LostError, There
from proxy_app.running.works import Here, Task, Work

Follower = Here | There

__all__ = [
    "Follower",
    "Here",
    "LostError",
    "OtherContentError",
    "Running",
    "Task",
    "There",
    "Ticket",
    "Work",
]
