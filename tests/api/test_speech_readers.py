"""Clients of text to speech that read slowly: what they keep is bounded, and ends."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy_app.services import ENCODERS
from tests.api.conftest import Gateway, eventually, running
from tests.api.speaking import SENTENCE, TEN, Speaking
from tests.standins.upstream_speech import Kokoro, Magpie

AT_ONCE = 3
ENCODED = ({"response_format": "mp3"}, {"response_format": "pcm"}, {"response_format": "opus"})
SLOWLY: dict[str, Any] = {"voice": "alloy", "input": " ".join([TEN] * 7), "speed": 0.25}
"""Minutes of sound."""


@contextmanager
def workers_with(state: Path, **more: str) -> Iterator[Speaking]:
    """A gateway of two workers, unless it is told otherwise."""
    settings = {
        "WHISPERX_HOST": "",
        "SPEECH_WORKERS": "2",
        "SPEECH_VOICE_AT_ONCE": str(AT_ONCE),
        "SPEECH_QUEUE_DEADLINE_S": "0.4",
    } | more
    with Magpie() as magpie, Kokoro() as kokoro, running(state, 1, **settings) as gateway:
        speaking = Speaking(gateway, magpie, kokoro)
        speaking.register("magpie")
        assert eventually(lambda: len(gateway.workers()) == int(settings["SPEECH_WORKERS"]))
        yield speaking


def encoders(gateway: Gateway) -> int:
    """How many processes of all workers encode."""
    return sum(
        b"encode_child" in Path(f"/proc/{child}/cmdline").read_bytes()
        for worker in gateway.workers()
        for child in Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
    )


def slow_reader(stack: ExitStack, gateway: Gateway, **asked: object) -> socket.socket:
    """One that has sent its request for minutes of sound, and read nothing."""
    said = SLOWLY | asked
    body = json.dumps(said).encode()
    head = "POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    reader = stack.enter_context(socket.socket())
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    reader.settimeout(30)
    reader.connect(("127.0.0.1", gateway.port))
    reader.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return reader


def value(speaking: Speaking, name: str, service: str, **labels: str) -> float:
    """What a metric is now, of all that has these labels."""
    families = text_string_to_metric_families(speaking.gateway.get("/metrics").text)
    wanted = ({"service": service} | labels).items()
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and wanted <= sample.labels.items()
    )


def test_slow_readers_keep_a_bounded_number_of_processes(tmp_path: Path) -> None:
    with workers_with(tmp_path) as speaking, ExitStack() as stack:
        gateway = speaking.gateway
        readers = [slow_reader(stack, gateway, **ENCODED[n % 3]) for n in range(9)]
        answers = [reader.recv(12) for reader in readers]
        assert sorted(answers) == [b"HTTP/1.1 200"] * AT_ONCE + [b"HTTP/1.1 429"] * (9 - AT_ONCE)
        assert encoders(gateway) == AT_ONCE
        sent_away = 9 - AT_ONCE  # the alert SpeechQueueFull counts what has a service
        assert eventually(
            lambda: value(speaking, "speech_requests_total", ENCODERS, code="429") == sent_away
        )
        refused = speaking.post()
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "10")
        assert refused.json()["error"]["code"] == "queue_full"
        assert "speech encoding is busy" in refused.json()["error"]["message"]
        assert "x-served-by" not in refused.headers
        assert value(speaking, "speech_inflight", ENCODERS) == AT_ONCE
        assert value(speaking, "speech_queue_depth", ENCODERS) == 0
        assert speaking.post(response_format="wav").ok  # which nothing is encoded for
        for reader in readers:
            reader.close()
        assert eventually(lambda: encoders(gateway) == 0)
        assert speaking.post().ok


@pytest.mark.parametrize("asked", [{}, {"stream_format": "sse", "response_format": "pcm"}])
def test_who_takes_nothing_is_dropped_and_leaves_no_process(
    tmp_path: Path, asked: dict[str, str]
) -> None:
    with workers_with(tmp_path, SPEECH_BODY_TIMEOUT_S="1") as speaking, ExitStack() as stack:
        gateway = speaking.gateway
        for _ in range(AT_ONCE):
            assert slow_reader(stack, gateway, **asked).recv(12) == b"HTTP/1.1 200"
        log, dropped = gateway.log, "took nothing of its answer"
        assert eventually(lambda: log.read_text().count(dropped) == AT_ONCE, within_s=60)
        assert eventually(lambda: encoders(gateway) == 0)
        assert speaking.post().ok
        assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("asked", [{"response_format": "pcm"}, {"response_format": "wav"}])
def test_who_reads_slowly_gets_all_of_it(tmp_path: Path, asked: dict[str, str]) -> None:
    with workers_with(tmp_path, SPEECH_BODY_TIMEOUT_S="1") as speaking, ExitStack() as stack:
        reader = slow_reader(stack, speaking.gateway, **asked)
        slow, heard = answer(reader), b""
        for _ in range(20):  # four times the limit, a little of one piece each time
            heard += slow.read(2000)
            time.sleep(0.2)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        heard += slow.read()
        assert heard == speaking.post(**(SLOWLY | asked)).content
        assert len(heard) > 5_000_000  # more than the sockets' buffers hold
        assert "took nothing of its answer" not in speaking.gateway.log.read_text()


def answer(reader: socket.socket) -> HTTPResponse:
    """As it comes, from its first byte on."""
    response = HTTPResponse(reader)
    response.begin()
    return response


def test_more_than_are_encoded_at_once_wait_for_their_turn(tmp_path: Path) -> None:
    with (
        workers_with(tmp_path, SPEECH_QUEUE_DEADLINE_S="30") as speaking,
        ExitStack() as stack,
        ThreadPoolExecutor(8) as pool,
    ):
        places = speaking.gateway.places
        readers = [slow_reader(stack, speaking.gateway) for _ in range(AT_ONCE)]
        assert [reader.recv(12) for reader in readers] == [b"HTTP/1.1 200"] * AT_ONCE
        answers = [pool.submit(speaking.post, input=f"{SENTENCE} {n}") for n in range(8)]
        assert eventually(lambda: places.waiting(ENCODERS) == 8, within_s=20)
        assert value(speaking, "speech_queue_depth", ENCODERS) == 8
        assert (places.held("magpie"), encoders(speaking.gateway)) == (0, AT_ONCE)
        for reader in readers:
            reader.close()
        assert [answer.result().status_code for answer in answers] == [200] * 8


def test_who_waits_for_a_service_takes_no_encoder_from_others(tmp_path: Path) -> None:
    with (
        workers_with(tmp_path, SPEECH_VOICE="true") as speaking,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        speaking.magpie.behave("hang")
        waiting = [pool.submit(speaking.post, input=f"{SENTENCE} {n}") for n in range(AT_ONCE)]
        assert eventually(lambda: speaking.magpie.working == AT_ONCE)
        answer = speaking.post(model="voice")
        assert (answer.status_code, answer.headers.get("x-served-by")) == (200, "voice")
        assert (speaking.gateway.places.held(ENCODERS), encoders(speaking.gateway)) == (0, 0)
        speaking.magpie.release.set()
        assert [one.result().status_code for one in waiting] == [200] * AT_ONCE


def test_a_service_that_hangs_in_the_middle_keeps_an_encoder_for_its_time_limit(
    tmp_path: Path,
) -> None:
    with (
        workers_with(tmp_path, SPEECH_TIME_LIMIT_FLOOR_S="4") as speaking,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        places = speaking.gateway.places

        def has(count: int) -> bool:
            return places.held(ENCODERS) == count

        speaking.magpie.behave("one_by_one")
        events: dict[str, Any] = {"input": TEN, "stream_format": "sse"}
        broken = [pool.submit(speaking.post, **events) for _ in range(AT_ONCE)]
        assert eventually(lambda: speaking.magpie.working == AT_ONCE)
        for number in range(1, 1 + AT_ONCE):  # the first piece of each, and no more
            speaking.magpie.steps.release()
            assert eventually(partial(has, number))
        for answer in broken:
            *_, last = filter(None, answer.result().content.split(b"\n"))
            assert json.loads(last[6:])["error"]["code"] == "time_limit"
        assert eventually(lambda: (places.held(ENCODERS), encoders(speaking.gateway)) == (0, 0))
        speaking.magpie.behave("ok")
        speaking.magpie.steps.release(AT_ONCE)
        assert speaking.post(response_format="mp3").ok


def test_no_other_service_is_asked_where_the_line_for_encoders_is_full(tmp_path: Path) -> None:
    with (
        workers_with(tmp_path, SPEECH_WAITING="1", SPEECH_QUEUE_DEADLINE_S="30") as speaking,
        ExitStack() as stack,
        ThreadPoolExecutor(1) as pool,
    ):
        speaking.register("kokoro")
        readers = [slow_reader(stack, speaking.gateway) for _ in range(AT_ONCE)]
        assert [reader.recv(12) for reader in readers] == [b"HTTP/1.1 200"] * AT_ONCE
        waits = pool.submit(speaking.post)
        assert eventually(lambda: speaking.gateway.places.waiting(ENCODERS) == 1)
        refused = speaking.post()
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert refused.json()["error"]["message"].startswith("speech encoding is busy: as many")
        assert eventually(
            lambda: '"service": "speech encoding"' in speaking.gateway.log.read_text()
        )
        (line,) = (
            json.loads(it)
            for it in speaking.gateway.log.read_text().splitlines()
            if '"service": "speech encoding"' in it
        )
        assert len(line["tried"]) == 1
        readers[0].close()
        assert waits.result().ok


def test_a_worker_takes_no_more_texts_than_uploads(tmp_path: Path) -> None:
    limits = {"SPEECH_WORKERS": "1", "SPEECH_MAX_UPLOADS": "1"}
    with workers_with(tmp_path, **limits) as speaking, ThreadPoolExecutor(1) as pool:
        speaking.magpie.behave("hang")
        first = pool.submit(speaking.post)
        assert speaking.magpie.started.wait(30)
        refused = speaking.post()
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
        assert refused.json()["error"]["code"] == "too_many_uploads"
        speaking.magpie.release.set()
        assert first.result().ok
        assert eventually(lambda: speaking.post().ok)
