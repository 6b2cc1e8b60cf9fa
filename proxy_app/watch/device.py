"""Whether a host's GPU computes: for services that tell nobody what they do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from proxy_app.jobs.project import Hosts, ProjectError
from proxy_app.services import Service
from proxy_app.store import HostState, Store

IDLE = 0.05
"""A GPU with loaded models and nothing to do is used less."""
_LOOKS = 3
"""A look at a host counts while no more than so many should have come since."""


def computes(
    store: Store, hosts: Callable[[], Hosts], looks_every_s: float, service: Service
) -> bool:
    """Whether a GPU of the service's host was busy when it was looked at last.

    Args:
        store: what the collector of the hosts has seen.
        hosts: the inventory, by whose names it has seen them; a service may have an address.
        looks_every_s: how often it looks.
        service: what has no GPU, or no host that is looked at, computes nothing.
    """
    name = service.host
    with contextlib.suppress(ProjectError):
        name = hosts().named(name) or name
    with store.session() as session:
        host = session.get(HostState, name)
        if host is None or host.look is None or time.time() - host.at > _LOOKS * looks_every_s:
            return False
        used = [gpu.get("utilisation") for gpu in host.look.get("gpus", ())]
    return any(share is not None and share > IDLE for share in used)
