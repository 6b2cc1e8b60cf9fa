"""Text to speech that is cut short, fails, has too much to do, or whose client leaves."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from proxy_app.access.keys import Keys
from proxy_app.store import Store
from tests.api.conftest import eventually, free_port, running
from tests.api.speaking import (
    JSON,
    SENTENCE,
    TEN,
    Speaking,
    probed,
)
from tests.standins.upstream_speech import Kokoro, Magpie

# What a voice does wrong.


def test_a_piece_that_was_cut_short_is_made_again_once(speaking: Speaking) -> None:
    speaking.magpie.cut_short = 1
    answer = speaking.post(response_format="wav")
    assert speaking.magpie.texts == [SENTENCE] * 2
    assert probed(answer.content)[1] == pytest.approx(0.06 * len(SENTENCE), abs=0.01)


@pytest.mark.parametrize("part", [0.02, 0.3, 0.45])
def test_a_piece_that_is_cut_short_twice_is_no_answer(speaking: Speaking, part: float) -> None:
    speaking.magpie.part = part
    answer = speaking.post(model="magpie", response_format="wav")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "upstream_unavailable"
    assert "ended too soon" in answer.json()["error"]["message"]
    assert speaking.magpie.texts == [SENTENCE] * 2


@pytest.mark.parametrize(("part", "status"), [(0.45, 503), (0.6, 503), (0.8, 200)])
def test_a_voice_is_known_by_its_own_pace(speaking: Speaking, part: float, status: int) -> None:
    assert speaking.post(model="magpie", input=TEN).ok
    speaking.magpie.asked_for.clear()
    speaking.magpie.part = part
    assert speaking.post(model="magpie", response_format="wav").status_code == status
    assert speaking.magpie.texts == [SENTENCE] * 2  # made again; what is said so twice may be whole


@pytest.mark.parametrize("word", ["Hello.", "Yes.", "No"])
def test_a_word_that_is_cut_to_a_click_is_no_answer(speaking: Speaking, word: str) -> None:
    assert speaking.post(model="magpie", input=word, response_format="wav").ok
    speaking.magpie.part = 0.25
    answer = speaking.post(model="magpie", input=word, response_format="wav")
    assert answer.status_code == 503


def test_another_service_says_what_one_cuts_short(speaking: Speaking) -> None:
    speaking.register("kokoro")
    speaking.magpie.part = 0.3
    answers = [speaking.post(response_format="wav", input=f"{SENTENCE} {n}") for n in range(2)]
    assert [answer.headers["x-served-by"] for answer in answers] == ["kokoro"] * 2
    speaking.magpie.part, speaking.kokoro.part = 1.0, 0.3
    answers = [speaking.post(response_format="wav", input=f"{SENTENCE} {n}") for n in range(2)]
    assert [answer.headers["x-served-by"] for answer in answers] == ["magpie"] * 2


def test_a_piece_cut_short_in_the_middle_of_an_answer_breaks_it_off(speaking: Speaking) -> None:
    ways: list[dict[str, Any]] = [{}, {"stream_format": "sse"}]
    for asked in ways:
        speaking.magpie.behave("one_by_one")
        speaking.magpie.part = 1.0
        speaking.magpie.steps.release()
        with speaking.post(model="magpie", input=TEN, stream=True, **asked) as answer:
            parts = answer.iter_lines() if asked else answer.iter_content(None)
            next(parts)
            speaking.magpie.part = 0.3
            for _ in range(20):
                speaking.magpie.steps.release()
            if asked:
                *_, last = filter(None, parts)
                assert "ended too soon" in json.loads(last[6:])["error"]["message"]
            else:
                with pytest.raises(requests.exceptions.ChunkedEncodingError):
                    list(parts)


def test_what_still_runs_into_the_end_is_cut_again_and_checked(speaking: Speaking) -> None:
    long = "We went up the long hill, and down on the other side, and on through the village, " * 2
    speaking.magpie.seconds_per_character = 0.4
    answer = speaking.post(model="magpie", response_format="wav", input=long)
    assert probed(answer.content)[1] > 0.4 * (len(long) - 30)
    speaking.magpie.seconds_per_character = 4.0
    asked = len(speaking.magpie.texts)
    answer = speaking.post(model="magpie", response_format="wav", input=long)
    assert answer.status_code == 503
    assert len(speaking.magpie.texts) - asked < 10


def test_a_voice_too_slow_for_its_twenty_seconds_is_given_less_at_once(speaking: Speaking) -> None:
    speaking.magpie.seconds_per_character = 0.15
    long = "We went up the long hill, and down on the other side, and on through the village, " * 2
    answer = speaking.post(response_format="wav", input=long)
    assert probed(answer.content)[1] > 0.15 * (len(long) - 20)
    texts = speaking.magpie.texts
    assert len(texts[0]) > len(texts[1])


def test_a_failure_is_a_503_that_says_when_to_come_back(speaking: Speaking) -> None:
    speaking.magpie.behave("500", {"error": "CUDA error: device-side assert"})
    answer = speaking.post(model="magpie")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "60"
    assert answer.headers["x-served-by"] == "magpie"
    assert "CUDA" not in answer.text
    failure = speaking.gateway.reports.last_failure("magpie")
    assert failure is not None
    assert failure.status == 500


def test_another_voice_takes_over_before_the_first_byte(speaking: Speaking) -> None:
    speaking.register("kokoro")
    speaking.register("magpie", free_port())
    assert speaking.post().headers["x-served-by"] == "kokoro"
    speaking.kokoro.behave("500")
    answer = speaking.post()
    assert answer.status_code == 503
    assert answer.headers["x-served-by"] in ("kokoro", "magpie")


def test_requests_are_shared_by_all_that_speak(speaking: Speaking) -> None:
    with Magpie() as other, ThreadPoolExecutor(4) as pool:
        speaking.register("a-first", other.port)
        both = (other, speaking.magpie)
        for standin in both:
            standin.behave("hang")
        jobs = []
        for number in range(4):
            jobs.append(pool.submit(speaking.post))
            assert eventually(lambda: other.working + speaking.magpie.working == number + 1)  # noqa: B023
        assert [standin.working for standin in both] == [2, 2]
        for standin in both:
            standin.release.set()
        served_by = [job.result().headers["x-served-by"] for job in jobs]
    assert served_by == ["a-first", "magpie"] * 2


def test_a_voice_of_the_same_kind_takes_over_and_the_sound_is_whole(speaking: Speaking) -> None:
    with Magpie() as other:
        speaking.register("a-first", other.port)
        other.behave("reset")
        answer = speaking.post(response_format="wav")
        assert (answer.status_code, answer.headers["x-served-by"]) == (200, "magpie")
        assert answer.content[:4] == b"RIFF"
        assert speaking.magpie.texts == [SENTENCE]


def test_what_breaks_in_the_middle_breaks_the_connection(speaking: Speaking) -> None:
    speaking.magpie.behave("one_by_one")
    speaking.magpie.steps.release()
    with speaking.post(input=TEN, stream=True) as answer:
        parts = answer.iter_content(None)
        next(parts)
        speaking.magpie.behave("500")
        speaking.magpie.steps.release()
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            list(parts)
    speaking.magpie.behave("one_by_one")
    speaking.magpie.steps.release()
    with speaking.post(input=TEN, stream=True, stream_format="sse") as events:
        lines = events.iter_lines()
        assert b"speech.audio.delta" in next(lines)
        speaking.magpie.behave("500")
        speaking.magpie.steps.release()
        *_, last = filter(None, lines)
    assert json.loads(last[6:])["error"]["code"] == "upstream_unavailable"


def test_a_text_that_fails_twice_is_to_blame(speaking: Speaking) -> None:
    speaking.magpie.behave("500")
    assert speaking.post(model="magpie").status_code == 503
    speaking.magpie.behave("ok")
    assert speaking.post(model="magpie", input="Another text, which is fine.").ok
    speaking.magpie.behave("500")
    answer = speaking.post(model="magpie")
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "upstream_rejected_text"
    assert answer.headers["x-should-retry"] == "false"


def test_nonsense_for_a_sound_is_no_answer(speaking: Speaking) -> None:
    speaking.magpie.answer = b"<html>"
    answer = speaking.post(model="magpie")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "upstream_unavailable"


def test_a_client_that_leaves_ends_the_work(speaking: Speaking) -> None:
    speaking.magpie.behave("hang")
    connection = http.client.HTTPConnection("127.0.0.1", speaking.gateway.port, timeout=30)
    body = json.dumps({"input": TEN, "voice": "alloy"})
    connection.request("POST", "/v1/audio/speech", body, JSON)
    assert speaking.magpie.started.wait(30)
    connection.close()
    assert speaking.magpie.hung_up.wait(30)


def test_a_client_that_leaves_before_the_first_event_is_no_error_of_the_server(
    speaking: Speaking,
) -> None:
    log = speaking.gateway.log
    for asked in ({"stream_format": "sse"}, {"stream_format": "audio"}):
        speaking.magpie.behave("hang")
        before = len(log.read_bytes())
        connection = http.client.HTTPConnection("127.0.0.1", speaking.gateway.port, timeout=30)
        body = json.dumps({"input": TEN, "voice": "alloy"} | asked)
        connection.request("POST", "/v1/audio/speech", body, JSON)
        assert speaking.magpie.started.wait(30)
        connection.close()
        assert eventually(lambda: b'"route": "/v1/audio/speech"' in log.read_bytes()[before:])  # noqa: B023
        told = log.read_bytes()[before:].decode()
        assert '"status": 499' in told
        assert "Traceback" not in told


def test_four_are_worked_on_at_once_and_more_wait(speaking: Speaking) -> None:
    speaking.magpie.behave("hang")
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(speaking.post, response_format="wav") for _ in range(6)]
        assert eventually(lambda: speaking.magpie.working == 4, within_s=30)
        speaking.magpie.release.set()
        assert [answer.result().status_code for answer in answers] == [200] * 6
    assert speaking.magpie.most_at_once == 4


def test_a_client_that_leaves_a_wav_ends_the_work(speaking: Speaking) -> None:
    speaking.magpie.behave("hang")
    connection = http.client.HTTPConnection("127.0.0.1", speaking.gateway.port, timeout=30)
    body = json.dumps({"input": TEN, "voice": "alloy", "response_format": "wav"})
    connection.request("POST", "/v1/audio/speech", body, JSON)
    assert speaking.magpie.started.wait(30)
    connection.close()
    assert speaking.magpie.hung_up.wait(30)


@pytest.mark.parametrize("name", ["pcm", "mp3"])
def test_who_reads_slowly_keeps_nobody_waiting(speaking: Speaking, name: str) -> None:
    long = " ".join([TEN] * 7)
    asked = {"model": "tts-1", "voice": "alloy", "input": long, "response_format": name}
    body = json.dumps(asked | {"speed": 0.25}).encode()
    head = "POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with ExitStack() as stack:
        for _ in range(4):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            reader.connect(("127.0.0.1", speaking.gateway.port))
            reader.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert reader.recv(12) == b"HTTP/1.1 200"
        assert eventually(lambda: speaking.gateway.places.held("magpie") == 0, within_s=30)
        answer = speaking.post(model="magpie", response_format="wav")
        assert answer.status_code == 200
        assert speaking.magpie.most_at_once <= 4
    log = speaking.gateway.log
    gone = f'"bytes_in": {len(body)},'
    assert eventually(lambda: log.read_text().count(gone) >= 4)
    assert "GreenletExit" not in log.read_text()


def test_another_voice_takes_over_where_one_has_too_much_to_do(speaking: Speaking) -> None:
    speaking.register("kokoro")
    for busy, other in ((speaking.magpie, "kokoro"), (speaking.kokoro, "magpie")):
        busy.behave("429", {})
        answers = [speaking.post(response_format="wav") for _ in range(2)]
        assert [answer.headers["x-served-by"] for answer in answers] == [other] * 2
        busy.behave("ok")


@pytest.mark.parametrize(
    ("sent", "told"), [({}, "10"), ({"Retry-After": "7"}, "7"), ({"Retry-After": "Mon, 23"}, "10")]
)
def test_without_another_one_it_is_told_when_to_come_back(
    speaking: Speaking, sent: dict[str, str], told: str
) -> None:
    speaking.magpie.behave("429", {})
    speaking.magpie.headers = sent
    answer = speaking.post(model="magpie")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, told)


def test_the_four_places_are_those_of_all_workers(tmp_path: Path) -> None:
    settings = {"WHISPERX_HOST": "", "SPEECH_VOICE": "true", "SPEECH_WORKERS": "2"}
    with Magpie() as magpie, Kokoro() as kokoro, running(tmp_path, 1, **settings) as gateway:
        speaking = Speaking(gateway, magpie, kokoro)
        speaking.register("magpie")
        assert eventually(lambda: len(gateway.workers()) == 2)
        magpie.behave("hang")
        with ThreadPoolExecutor(10) as pool:
            formats = ["wav", "mp3"] * 5
            answers = [pool.submit(speaking.post, response_format=it) for it in formats]
            assert eventually(lambda: magpie.working == 4, within_s=30)
            magpie.release.set()
            assert [answer.result().status_code for answer in answers] == [200] * 10
        assert magpie.most_at_once == 4


@pytest.mark.parametrize("name", ["wav", "pcm"])
def test_what_is_said_for_a_key_ends_soon_after_it_was_revoked(
    speaking: Speaking, name: str
) -> None:
    speaking.magpie.behave("hang")
    with contextlib.closing(Store(None, speaking.gateway.state)) as store:
        key, known = Keys(store).make(f"to be revoked {name}")
        by_key = {"Authorization": f"Bearer {key}"}
        assert eventually(lambda: speaking.gateway.get("/v1/models", **by_key).ok)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(speaking.post, headers=by_key, response_format=name)
            assert speaking.magpie.started.wait(30)
            Keys(store).revoke(known.id)
            assert speaking.magpie.hung_up.wait(10), "it is said to the end"
            error = answer.result().json()["error"]
    assert (answer.result().status_code, error["code"]) == (401, "invalid_api_key")
