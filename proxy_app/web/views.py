"""What the parts of the page show, made of what the API answers. Plain data in, plain data out.

Fields of services and hosts that are not known yet are simply left out of the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from proxy_app.jobs.desk import suffix_of
from proxy_app.jobs.kinds import KINDS

Data = Mapping[str, Any]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ACTIVE = ("queued", "running", "canceling")
_FACTS = (("model", "Model"), ("image", "Image"), ("host", "Host"), ("work", "At work on"))
_MORE = (("diarizer", "Diarizer"), ("device", "Device"), ("container", "Container"),
         ("registered", "Registered by"))  # fmt: skip
"""The fields of a card, in order, and what they are called there; the latter are folded."""
_STAYS = "It goes on running; it is listed again once its registration changes."
_ACTIONS = {
    "check": ("Check now", "", False),
    "restart": ("Restart", "Requests that it works on now will fail.", False),
    "start": ("Start", "", False),
    "stop": ("Stop", "It answers nobody until it is started again.", True),
    "remove": ("Remove from the list", _STAYS, True),
}
"""Of a service: the button, what is asked before, and whether it is one to be careful with."""
_GPU = (("temperature_c", "°C"), ("power_w", "W"))
_KINDS = {
    "whisperx": ("whisperx.model", "whisperx.rollback", "whisperx.remove"),
    "sortformer": ("sortformer.unpatch",),
}
"""By API: what else can be done with a service, each with a form of its own."""


def service(it: Data, hosts: Sequence[Data], jobs: Sequence[Data]) -> dict[str, Any]:
    """A service's card."""
    found = {**it, "image": it.get("image") or _image(it, hosts)}
    actions = [
        {
            "name": name,
            "label": label,
            "question": question,
            "careful": careful,
            "method": "DELETE" if name == "remove" else "POST",
            "path": f"/api/services/{it['name']}" + ("" if name == "remove" else f"/{name}"),
        }
        for name, (label, question, careful) in _ACTIONS.items()
        if name in it.get("actions", ())
    ]
    return {
        **found,
        "facts": [(label, found[key]) for key, label in _FACTS if found.get(key)],
        "more": [(label, found[key]) for key, label in _MORE if found.get(key)],
        "actions": actions,
        "forms": [
            (KINDS[kind].title, f"/install/{kind}?host={quote(it.get('host') or '')}")
            for kind in _KINDS.get(it["api"], ())
            if it.get("container") and not it.get("embedded")
        ],
        "job": next(
            (job for job in jobs if job["state"] in _ACTIVE and _is_about(job, it, hosts)), None
        ),
    }  # fmt: skip


def _is_about(job: Data, it: Data, hosts: Sequence[Data]) -> bool:
    """Whether a job works on a service: by its name, or as an install calls it on its host."""
    if job["preview"]:
        return False
    if job["kind"].startswith("service."):
        return bool(job["service"] == it["name"])
    address = it.get("host") or ""
    here = address in _LOOPBACK
    its = {address, *(_LOOPBACK if here else ())} | {
        host["name"] for host in hosts if host.get("address") == address or (here and host["local"])
    }
    # Where several hosts have one, control adds the host's name.
    names = {it["name"], *(it["name"].removesuffix(suffix_of(host)) for host in its if host)}
    return job["host"] in its and job["service"] in names


def _image(it: Data, hosts: Sequence[Data]) -> str | None:
    """The image of a service's container, where its host was looked at."""
    for host in hosts:
        if it.get("host") in (host["name"], host.get("address")):
            for container in host.get("containers") or ():
                if container["name"] == it.get("container"):
                    image: str | None = container.get("image")
                    return image
    return None


def host(it: Data) -> dict[str, Any]:
    """A host's card: gauges, each with a share of 1 where there is one, and words."""
    gauges = []
    for gpu in it.get("gpus") or ():
        more = [f"{gpu[key]:.0f} {unit}" for key, unit in _GPU if gpu.get(key) is not None]
        gauges.append(_gauge("GPU", gpu.get("utilisation"), " · ".join(more)))
        total, used = gpu.get("memory_total_bytes"), gpu.get("memory_used_bytes")
        if total and used is not None:
            gauges.append(_gauge("GPU memory", used / total, _of(used, total)))
    if it.get("cpu") is not None:
        cores = f"{it['cores']} cores" if it.get("cores") else ""
        gauges.append(_gauge("CPU", it["cpu"], cores))
    for name, total_key, free_key in (
        ("Memory", "memory_total_bytes", "memory_available_bytes"),
        ("Disk", "disk_total_bytes", "disk_free_bytes"),
    ):
        total, free = it.get(total_key), it.get(free_key)
        if total and free is not None:
            gauges.append(
                _gauge(name, (total - free) / total, f"{_giga(free)} of {_giga(total)} free")
            )
    history = it.get("history") or []
    return {
        **it,
        "gauges": gauges,
        "gpu_names": ", ".join(gpu["name"] for gpu in it.get("gpus") or () if gpu.get("name")),
        "lines": [
            (name, [point.get(key) for point in history])
            for name, key in (("GPU", "gpu"), ("CPU", "cpu"), ("Memory", "memory"))
            if sum(point.get(key) is not None for point in history) > 1
        ],
    }  # fmt: skip


def _gauge(name: str, share: float | None, more: str) -> dict[str, Any]:
    return {"name": name, "share": share, "more": more, "high": share is not None and share > 0.9}  # noqa: PLR2004 - nearly full


def _of(used: float, total: float) -> str:
    return f"{_giga(used)} of {_giga(total)}"


def _giga(count: float) -> str:
    unit, length = ("TB", 1e12) if count >= 1e12 else ("GB", 1e9)  # noqa: PLR2004 - a TB
    amount = count / length
    return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"  # noqa: PLR2004 - digits
