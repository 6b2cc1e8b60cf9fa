"""/metrics and the access log: what is counted, by all workers together, and what names it."""

import contextlib
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
from prometheus_client import Counter, Histogram
from prometheus_client.parser import text_string_to_metric_families

from proxy_app.access import Keys
from proxy_app.jobs import State
from proxy_app.store import Store
from proxy_app.telemetry.gauges import STATES
from proxy_app.telemetry.metrics import Metrics, reason_of
from proxy_app.telemetry.of_watch import FAILURES
from tests.api.conftest import eventually
from tests.api.llm import CHAT, KEY, Talking, question, two_behind
from tests.api.recordings import canonical_wav
from tests.standins.upstream_llm import NAME
from tests.standins.upstream_parakeet import Parakeet, Sortformer
from tests.standins.upstream_whisperx import StandIn

MONITORING = Path(__file__).parents[2] / "monitoring"
_NAMES = re.compile(r"\b(speech_[a-z_]+|up)\b(\{([^}]*)\})?")
_GROUPED = re.compile(r"by \(([a-z_, ]+)\)")
EMPTY = {"speech_probe_success", "speech_probe_duration_seconds", "speech_jobs_kept"}
"""Nothing is probed here, and no job was ever asked for."""

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
    forged = '{"request_id": "forged"}'
    told = f"told\n{forged}\r\x1b[31mred\x9b0m\u2028{KEY} " + "x" * 100_000
    for answer in ({"error": {"message": told}}, {"detail": told}):
        llm.first.behave("500", answer)
        assert llm.ask().status_code == 503
    log = llm.gateway.log.read_text()
    assert log.count(rf"told\n{forged}\r\x1b[31mred\x9b0m\u2028*** xxx") == 2 * 2
    assert not [it for it in lines(llm) if it["request_id"] == "forged"]
    assert max(map(len, log.splitlines())) < 5000
    assert not [it for it in log if not it.isprintable() and it != "\n"]
    assert "sk-very-secret" not in log
    assert "sk-very-secret" not in llm.gateway.get("/metrics").text


def test_a_line_of_the_log_names_the_key_that_was_sent_and_nothing_else_of_it(
    llm: Talking,
) -> None:
    with contextlib.closing(Store(None, llm.gateway.state)) as store:
        keys = Keys(store)
        secret, made = keys.make("n8n at work")
        for request_id, sent in (("with-key", secret), ("wrong-key", f"{secret}x")):
            headers = {"Authorization": f"Bearer {sent}", "x-request-id": request_id}
            assert llm.ask(headers=headers).ok == (sent == secret)
        keys.revoke(made.id)
    llm.ask(headers={"x-request-id": "no-key"})
    named = [line_of(llm, f"{which}-key")["key"] for which in ("with", "wrong", "no")]
    assert named == ["n8n at work", None, None]
    assert secret not in llm.gateway.log.read_text()


def test_metrics_are_not_for_everybody(llm: Talking) -> None:
    answer = llm.gateway.get("/metrics", Host="localhost", Via="1.1 somebody")
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "password_needed"


# The dashboard and the alerts.

_ALERTS = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
_SCRAPED = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["scrape_configs"]
_STATUSES = range(100, 600)
_ENDS = {state.value for state in State if state.is_over}
VALUES: dict[tuple[str, str], set[str]] = {
    ("up", "job"): {one["job_name"] for one in _SCRAPED},
    ("speech_service_state", "state"): set(STATES),
    ("speech_requests_total", "code"): {str(status) for status in _STATUSES},
    ("speech_rejected_total", "reason"): {
        reason for status in _STATUSES if (reason := reason_of(status))
    },
    ("speech_fallback_total", "outcome"): {"ok", "failed"},
    ("speech_jobs_total", "outcome"): _ENDS,
    ("speech_jobs_kept", "state"): {state.value for state in State},
    ("speech_probe_failures_total", "reason"): {found.value for found in FAILURES},
    ("speech_restarts_total", "reason"): {"watch", "docker", "supervisor"},
}
"""What the labels can be whose values the code sets; `service` may be empty, and anything else."""
_SELECTED = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def expressions() -> Iterator[str]:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for group in _ALERTS:
        yield from (rule["expr"] for rule in group["rules"])


def counted() -> dict[str, set[str]]:
    """The labels of what the processes count, whether that has happened yet or not."""
    found = {"up": {"job", "instance"}}
    for metric in vars(Metrics()).values():
        if isinstance(metric, Counter | Histogram):
            (family,) = metric.describe()
            name = family.name + "_total" * isinstance(metric, Counter)
            found[name] = set(metric._labelnames)
    return found


def looked_at(llm: Talking) -> dict[str, set[str]]:
    """The labels of what is looked at when somebody asks."""
    text = llm.gateway.get("/metrics").text
    gauges = set(re.findall(r"^# TYPE (speech_\S+) gauge", text, re.MULTILINE))
    found: dict[str, set[str]] = {name: set() for name in gauges}
    for name, its_labels in samples(llm):
        if name in gauges:
            found[name] |= {label for label, _ in its_labels}
    return found


def test_the_dashboard_and_the_alerts_ask_for_what_there_is(llm: Talking) -> None:
    declared = counted() | looked_at(llm)
    paths = llm.gateway.get("/api/openapi.json").json()["paths"]
    values = VALUES | {("speech_requests_total", "route"): set(paths)}
    asked = set()
    for expression in expressions():
        grouped = {
            label.strip() for group in _GROUPED.findall(expression) for label in group.split(",")
        }
        for name, _, selector in _NAMES.findall(expression):
            asked.add(name)
            family = re.sub(r"_bucket$", "", name)
            assert family in declared, name
            selected = _SELECTED.findall(selector)
            labels = {label for label, _, _ in selected} | grouped
            known = declared[family]
            if known or family not in EMPTY:  # else there is nothing yet that has labels
                assert labels <= known | {"le"}, expression
            for label, how, wanted in selected:
                assert _can_be(family, label, how, wanted, values), (expression, wanted)
    assert len(asked) >= 15


def _can_be(
    family: str,
    label: str,
    how: str,
    wanted: str,
    values: dict[tuple[str, str], set[str]] = VALUES,
) -> bool:
    """Whether a label has such a value at any time."""
    if (label, wanted) == ("service", ""):
        return True
    if not how.endswith("~"):
        return wanted in values[family, label]
    return all(
        any(re.fullmatch(one, value) for value in values[family, label])
        for one in wanted.split("|")
    )


def test_what_a_label_cannot_be_is_found() -> None:
    assert not _can_be("speech_service_state", "state", "=", "givenup")
    assert not _can_be("speech_service_state", "state", "=~", "suspect|unreached")
    assert not _can_be("up", "job", "=", "speech")
    assert _can_be("speech_requests_total", "code", "=~", "5..")


# What the alerts on requests count, by what was really asked.


def alert(name: str) -> str:
    (expression,) = (
        rule["expr"] for group in _ALERTS for rule in group["rules"] if rule["alert"] == name
    )
    return str(expression)


def totals(llm: Talking, expression: str) -> list[float]:
    """The sum of each of the selectors of an expression, in their order."""
    found = samples(llm)
    return [
        sum(
            value
            for (its_name, labels), value in found.items()
            if its_name == name and _is_selected(dict(labels), selector)
        )
        for name, _, selector in _NAMES.findall(expression)
    ]


def _is_selected(labels: dict[str, str], selector: str) -> bool:
    for label, how, wanted in _SELECTED.findall(selector):
        has, is_pattern = labels.get(label, ""), how.endswith("~")
        is_it = re.fullmatch(wanted, has) is not None if is_pattern else has == wanted
        if is_it == how.startswith("!"):
            return False
    return True


def increases(llm: Talking, expression: str, before: list[float], sure: float) -> list[float]:
    """What was added; the first is counted once its answer is read, and is to reach a number."""

    def added() -> list[float]:
        return [now - then for now, then in zip(totals(llm, expression), before, strict=True)]

    assert eventually(lambda: added()[0] >= sure), added()
    return added()


def test_probes_and_scrapes_do_not_hide_errors(llm: Talking) -> None:
    expression = alert("SpeechErrors")
    before = totals(llm, expression)
    for _ in range(20):
        for path in ("/livez", "/readyz", "/metrics", "/"):
            llm.gateway.get(path)
    assert llm.ask().ok
    llm.first.behave("500", {})
    assert llm.ask().status_code >= 500
    assert increases(llm, expression, before, 1) == [1, 2]


def test_a_keys_own_limit_is_no_full_service(llm: Talking) -> None:
    expression = alert("SpeechQueueFull")
    with contextlib.closing(Store(None, llm.gateway.state)) as store:
        key, _ = Keys(store).make("once a minute", per_minute=1)
    by_key = {"Authorization": f"Bearer {key}"}
    assert eventually(lambda: llm.ask(headers=by_key).status_code == 429)
    before = totals(llm, expression)
    labels = {"route": CHAT, "service": "", "code": "429"}
    of_keys = value(llm, "speech_requests_total", **labels)
    for _ in range(3):
        assert llm.ask(headers=by_key).status_code == 429
    assert eventually(lambda: value(llm, "speech_requests_total", **labels) >= of_keys + 3)
    llm.first.behave("429", {})
    assert llm.ask().status_code == 429
    assert increases(llm, expression, before, 1) == [1]


def test_every_metric_is_on_the_dashboard(llm: Talking) -> None:
    declared = set(counted() | looked_at(llm)) - {"up"}
    asked = {
        re.sub(r"_bucket$", "", name[0]) for it in expressions() for name in _NAMES.findall(it)
    }
    assert declared - asked == {"speech_build_info"}
    assert NAME not in llm.gateway.get("/metrics").text
