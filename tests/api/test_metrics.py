"""/metrics and the access log: what is counted, by all workers together, and what names it."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import eventually
from tests.api.llm import CHAT, Talking, question, two_behind
from tests.api.recordings import canonical_wav
from tests.standins.upstream_llm import NAME
from tests.standins.upstream_parakeet import Parakeet, Sortformer
from tests.standins.upstream_whisperx import StandIn

MONITORING = Path(__file__).parents[2] / "monitoring"
_NAMES = re.compile(r"\b(speech_[a-z_]+)(\{([^}]*)\})?")
_GROUPED = re.compile(r"by \(([a-z_, ]+)\)")
ELSEWHERE = {"speech_probes_total", "speech_restarts_total"}
"""The watch process counts these: tests/watch."""

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talking]:
    with two_behind(tmp_path_factory.mktemp("metrics"), SPEECH_WORKERS="3") as talking:
        yield talking


@pytest.fixture(autouse=True)
def _reset(llm: Talking) -> None:
    llm.reset()


def samples(llm: Talking) -> Samples:
    text = llm.gateway.get("/metrics").text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(llm: Talking, name: str, **labels: str) -> float:
    return samples(llm).get((name, frozenset(labels.items())), 0.0)


def lines(llm: Talking) -> list[dict[str, Any]]:
    text = llm.gateway.log.read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def line_of(llm: Talking, request_id: str) -> dict[str, Any]:
    """A request is written down after its answer has been read."""
    assert eventually(lambda: [it for it in lines(llm) if it["request_id"] == request_id])
    (found,) = (it for it in lines(llm) if it["request_id"] == request_id)
    return found


def many(llm: Talking, count: int) -> None:
    """Ask with a new connection each time, so that all workers get some."""
    for _ in range(count):
        assert llm.ask().ok


def test_all_workers_count_together_and_a_killed_ones_count_is_kept(llm: Talking) -> None:
    labels = {"route": CHAT, "service": "first", "code": "200"}
    before = value(llm, "speech_requests_total", **labels)
    many(llm, 30)
    assert eventually(lambda: value(llm, "speech_requests_total", **labels) == before + 30)
    killed = set(llm.gateway.workers())
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: len(set(llm.gateway.workers()) - killed) == 3, within_s=60)
    assert eventually(lambda: _answers(llm), within_s=60)
    assert value(llm, "speech_requests_total", **labels) == before + 30
    many(llm, 10)
    assert eventually(lambda: value(llm, "speech_requests_total", **labels) == before + 40)
    files = list((llm.gateway.state / "metrics").glob("counter_*.db"))
    assert len(files) <= 3, "the next worker goes on in the files of the killed one"


def _answers(llm: Talking) -> bool:
    try:
        return llm.gateway.get("/livez").ok
    except requests.RequestException:
        return False


def test_a_place_that_is_held_is_seen_and_freed_by_a_kill(llm: Talking) -> None:
    llm.first.behave("stepwise", [b"data: 1\n\n", b"data: 2\n\n"])
    llm.first.steps.release()
    with llm.ask(stream=True) as answer:
        assert answer.raw.read1(100)
        assert value(llm, "speech_inflight", service="first") == 1
        for pid in llm.gateway.workers():
            os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: _answers(llm), within_s=60)
        assert value(llm, "speech_inflight", service="first") == 0


def test_labels_are_routes_and_never_what_a_client_sent(llm: Talking) -> None:
    for number in range(5):
        llm.gateway.get(f"/v1/models/made-up-{number}", **{"x-request-id": f"made-up-{number}"})
        llm.gateway.get(f"/made-up-{number}")
        llm.ask(question() | {"model": f"made-up-{number}"})
    assert eventually(
        lambda: value(llm, "speech_requests_total", route="none", service="", code="404") >= 5
    )
    found = samples(llm)
    assert "made-up" not in str(found)
    route = "/v1/models/<path:model>"
    assert found["speech_requests_total", _labels(route=route, service="", code="404")] >= 5
    assert found["speech_rejected_total", _labels(reason="not_found")] >= 10


def _labels(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def test_a_line_of_the_log_says_what_a_chat_has_cost(llm: Talking) -> None:
    llm.ask(headers={"x-request-id": "a-chat"})
    line = line_of(llm, "a-chat")
    assert (line["method"], line["path"], line["route"]) == ("POST", CHAT, CHAT)
    assert (line["status"], line["service"], line["tried"]) == (200, "first", ["first"])
    assert line["bytes_in"] == len(json.dumps(question()))
    assert line["bytes_out"] > 100
    assert line["audio_s"] is None
    parts = [line[f"{name}_ms"] for name in ("upload", "queue", "upstream", "overhead")]
    assert all(part >= 0 for part in parts)
    assert sum(parts) <= line["total_ms"] + 1
    assert 0 < line["first_byte_ms"] <= line["total_ms"] + 1


def test_a_recording_is_counted_in_seconds_and_a_fallback_with_both_names(
    llm: Talking, engine: StandIn
) -> None:
    engine.reset()
    with Parakeet() as parakeet, Sortformer() as sortformer:
        llm.register("whisperx", engine.port, kind="speakers", api="whisperx")
        llm.register("parakeet", parakeet.port, kind="asr", api="parakeet")
        llm.register("sortformer", sortformer.port, kind="diarize", api="sortformer")
        path = "/v1/audio/transcriptions"
        url = llm.gateway.url + path
        for request_id, way in (("well", "ok"), ("fallen-back", "500")):
            engine.behave(way, None if way == "ok" else {})
            answer = requests.post(
                url, files={"file": ("a.wav", canonical_wav(4))}, timeout=20,
                data={"response_format": "diarized_json"}, headers={"x-request-id": request_id},
            )  # fmt: skip
            assert answer.status_code == 200, answer.text
            timing = answer.headers["Server-Timing"]
            assert re.fullmatch(
                r"queue;dur=[\d.]+, upstream;dur=[\d.]+, total;dur=[\d.]+", timing
            ), timing
    engine.reset()
    pair = "parakeet+sortformer"
    assert line_of(llm, "well")["audio_s"] == 4.0
    assert line_of(llm, "fallen-back")["tried"] == ["whisperx", pair]
    assert value(llm, "speech_audio_seconds_total", service="whisperx") == 4.0
    assert value(llm, "speech_audio_seconds_total", service=pair) == 4.0
    labels = {"from": "whisperx", "to": pair, "outcome": "ok"}
    assert value(llm, "speech_fallback_total", **labels) == 1
    assert value(llm, "speech_realtime_factor_count", service=pair) == 1
    assert value(llm, "speech_upload_bytes_total", route=path) > 2 * 4 * 32_000


def test_the_log_and_the_metrics_have_no_secret_and_no_second_line(llm: Talking) -> None:
    headers = {"Authorization": "Bearer sk-very-secret", "x-request-id": 'no"good'}
    requests.get(f"{llm.gateway.url}/v1/models/a%0Ab%22?key=sk-very-secret", headers=headers,
                 timeout=20)  # fmt: skip
    llm.ask(question("sk-very-secret"), headers={"Authorization": "Bearer sk-very-secret"})
    path = "/v1/models/a%0Ab%22"
    assert eventually(lambda: [it for it in lines(llm) if it["path"] == path])
    assert "sk-very-secret" not in llm.gateway.log.read_text()
    assert "sk-very-secret" not in llm.gateway.get("/metrics").text


def test_metrics_are_not_for_everybody(llm: Talking) -> None:
    answer = llm.gateway.get("/metrics", Host="localhost", Via="1.1 somebody")
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "password_needed"


# The dashboard and the alerts.


def expressions() -> Iterator[str]:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def test_the_dashboard_and_the_alerts_ask_for_what_there_is(llm: Talking) -> None:
    assert llm.ask().ok
    text = llm.gateway.get("/metrics").text
    declared = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    labels: dict[str, set[str]] = {}
    for name, its_labels in samples(llm):
        labels.setdefault(name, set()).update(label for label, _ in its_labels)
    asked = set()
    for expression in expressions():
        names = {match[1]: match[3] or "" for match in _NAMES.finditer(expression)}
        for name, selector in names.items():
            asked.add(name)
            family = re.sub(r"_bucket$", "", name)
            assert family in declared | ELSEWHERE, name
            if name in labels:
                selected = set(re.findall(r"([a-z_]+)[=!]", selector))
                grouped = {
                    label.strip()
                    for group in _GROUPED.findall(expression)
                    for label in group.split(",")
                }
                assert selected | grouped <= labels[name] | {"le"}, expression
    assert len(asked) >= 15


def test_every_metric_is_on_the_dashboard(llm: Talking) -> None:
    text = llm.gateway.get("/metrics").text
    declared = set(re.findall(r"^# TYPE (speech_\S+) ", text, re.MULTILINE))
    asked = {
        re.sub(r"_bucket$", "", name[0]) for it in expressions() for name in _NAMES.findall(it)
    }
    assert {name for name in declared if not name.endswith("_created")} - asked == {
        "speech_build_info"
    }
    assert NAME not in text
