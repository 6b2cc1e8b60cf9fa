"""Whether a host's GPU computes: for services that tell nobody what they do."""

from __future__ import annotations

import time

from proxy_app.services import Service
from proxy_app.store import HostState, Store

IDLE = 0.05
"""A GPU with loaded models and nothing to do is used less."""
_LOOKS = 3
"""A look at a host counts while no more than so many should have come since."""


def computes(store: Store, looks_every_s: float, service: Service) -> bool:
    """Whether a GPU of the service's host was busy when it was looked at last.

    Args:
        store: what the collector of the hosts has seen.
        looks_every_s: how often it looks.
        service: what has no GPU, or no host that is looked at, computes nothing.
    """
    with store.session() as session:
        host = session.get(HostState, service.host)
        if host is None or host.look is None or time.time() - host.at > _LOOKS * looks_every_s:
            return False
        used = [gpu.get("utilisation") for gpu in host.look.get("gpus", ())]
    return any(share is not None and share > IDLE for share in used)
