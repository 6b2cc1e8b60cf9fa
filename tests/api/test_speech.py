"""Text to speech through the gateway: Magpie and Kokoro as stand-ins, eSpeak NG as it is."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import wave
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import av
import openai
import pytest
import requests

from tests.api.conftest import Gateway, eventually, free_port, running
from tests.api.openai_document import problems
from tests.standins.magpie.serve import tone
from tests.standins.upstream_speech import ARIA, CALM, MIA, Kokoro, Magpie

FORMATS = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
SENTENCE = "This is a sentence with some words in it."
TEN = " ".join(f"Here comes sentence {name}, with some words in it." for name in "abcdefghij")
JSON = {"Content-Type": "application/json"}
_numbers = count()


@dataclass
class Speaking:
    """The gateway and the voices behind it; that without a server is always there."""

    gateway: Gateway
    magpie: Magpie
    kokoro: Kokoro

    def register(self, name: str, port: int | None = None, **fields: object) -> None:
        """As a playbook does; with a number, so that nothing is remembered of one before."""
        known = {"kokoro": (self.kokoro, "openai")}
        standin, api = known.get(name, (self.magpie, "magpie"))
        registration = {
            "kind": "tts",
            "api": api,
            "base_url": f"http://127.0.0.1:{port or standin.port}",
            "host": f"spark{next(_numbers)}",
            **fields,
        }
        folder = self.gateway.state / "services.d"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.new").write_text(json.dumps(registration))
        (folder / f"{name}.new").replace(folder / f"{name}.json")

    def reset(self) -> None:
        for standin in (self.magpie, self.kokoro):
            standin.reset()
        for file in (self.gateway.state / "services.d").glob("*.json"):
            file.unlink()
        for note in (self.gateway.state / "suspects").iterdir():
            note.unlink()
        self.register("magpie")

    def post(self, *, stream: bool = False, **asked: Any) -> requests.Response:  # noqa: ANN401 - JSON
        body = {"model": "tts-1", "voice": "alloy", "input": SENTENCE} | asked
        url = f"{self.gateway.url}/v1/audio/speech"
        return requests.post(url, json=body, timeout=60, stream=stream)

    def refused(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        answer = self.post(**asked)
        assert answer.status_code == 400, answer.text
        error: dict[str, Any] = answer.json()["error"]
        assert error["type"] == "invalid_request_error"
        return error


@pytest.fixture(scope="module")
def module_speaking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Speaking]:
    state = tmp_path_factory.mktemp("speaking")
    settings = {"WHISPERX_HOST": "", "SPEECH_VOICE": "true", "SPEECH_WORKERS": "1"}
    with (
        Magpie() as magpie,
        Kokoro() as kokoro,
        running(state, 1, **settings) as gateway,
    ):
        yield Speaking(gateway, magpie, kokoro)


@pytest.fixture
def speaking(module_speaking: Speaking) -> Iterator[Speaking]:
    """Magpie is registered; every test leaves the spool empty and no child process."""
    module_speaking.reset()
    yield module_speaking
    for standin in (module_speaking.magpie, module_speaking.kokoro):
        standin.release.set()
    left = module_speaking.gateway.files
    assert eventually(lambda: not left()), left()
    (worker,) = module_speaking.gateway.workers()
    with open(f"/proc/{worker}/task/{worker}/children") as children:  # noqa: PTH123
        assert eventually(lambda: children.seek(0) == 0 and not children.read())


@pytest.fixture(scope="module")
def client(module_speaking: Speaking) -> Iterator[openai.OpenAI]:
    url = f"{module_speaking.gateway.url}/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=60) as made:
        yield made


def probed(data: bytes) -> tuple[str, float]:
    """What FFmpeg finds in a file: its container, and its length in seconds."""
    with av.open(io.BytesIO(data), "r") as file:
        samples = sum(frame.samples for frame in file.decode(audio=0))
        return file.format.name, samples / file.streams.audio[0].codec_context.sample_rate


# What comes out.


@pytest.mark.parametrize(("name", "kind"), FORMATS.items())
def test_every_format_is_what_it_says(speaking: Speaking, name: str, kind: str) -> None:
    answer = speaking.post(response_format=name)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].partition(";")[0] == kind
    assert answer.headers["x-served-by"] == "magpie"
    seconds = len(SENTENCE) * speaking.magpie.seconds_per_character
    if name == "pcm":
        assert answer.headers["Content-Type"] == "audio/pcm;rate=24000;channels=1"
        assert len(answer.content) / 2 / 24_000 == pytest.approx(seconds, abs=0.05)
        return
    container, found = probed(answer.content)
    assert container == {"opus": "ogg"}.get(name, name)
    assert found == pytest.approx(seconds, abs=0.15)


def test_mp3_is_what_comes_without_a_word_about_it(speaking: Speaking) -> None:
    answer = speaking.post(response_format=None)
    assert answer.headers["Content-Type"] == "audio/mpeg"
    assert probed(answer.content)[0] == "mp3"


def test_a_wav_of_one_piece_is_magpies_own(speaking: Speaking) -> None:
    answer = speaking.post(response_format="wav", voice=MIA)
    assert answer.content == tone(len(SENTENCE) * speaking.magpie.seconds_per_character)
    assert speaking.magpie.asked_for == [
        {
            "text": SENTENCE,
            "language": "en-US",
            "voice": MIA,
            "sample_rate_hz": "22050",
            "encoding": "LINEAR_PCM",
        }
    ]


def test_a_wav_of_many_pieces_has_true_sizes(speaking: Speaking) -> None:
    answer = speaking.post(response_format="wav", input=TEN)
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert len(speaking.magpie.texts) > 2
    with wave.open(io.BytesIO(answer.content)) as file:
        seconds = file.getnframes() / file.getframerate()
        assert file.readframes(file.getnframes() + 1) == answer.content[44:]
    assert seconds > 0.06 * (len(TEN) - 10)


def test_speed_is_heard_in_the_length(speaking: Speaking) -> None:
    seconds = len(SENTENCE) * speaking.magpie.seconds_per_character
    answer = speaking.post(response_format="wav", speed=2)
    assert probed(answer.content)[1] == pytest.approx(seconds / 2, rel=0.1)


def test_the_first_bytes_come_before_the_last_sentence_is_made(speaking: Speaking) -> None:
    speaking.magpie.behave("one_by_one")
    speaking.magpie.steps.release()
    with speaking.post(input=TEN, stream=True) as answer:
        sound = answer.iter_content(None)
        first = next(sound)
        assert len(first) > 1000
        assert len(speaking.magpie.texts) == 1
        speaking.magpie.behave("ok")
        for _ in range(20):
            speaking.magpie.steps.release()
        rest = b"".join(sound)
    assert probed(first + rest)[1] > 0.06 * (len(TEN) - 10)
    assert speaking.magpie.texts[0] == "Here comes sentence a, with some words in it."
    assert " ".join(speaking.magpie.texts) == TEN


@pytest.mark.parametrize("name", ["mp3", "wav"])
def test_events_carry_the_same_sound(speaking: Speaking, name: str) -> None:
    plain = speaking.post(input=TEN, response_format=name).content
    answer = speaking.post(input=TEN, response_format=name, stream_format="sse")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line[:6] == "data: "]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert events[-1]["type"] == "speech.audio.done"
    assert set(events[-1]["usage"]) == {"input_tokens", "output_tokens", "total_tokens"}
    assert b"".join(base64.b64decode(event["audio"]) for event in events[:-1]) == plain


def test_events_are_as_openais_document_has_them(
    speaking: Speaking, schema: dict[str, Any]
) -> None:
    answer = speaking.post(stream_format="sse")
    for line in answer.text.split("\n\n")[:-1]:
        event = json.loads(line[6:])
        name = "SpeechAudioDeltaEvent" if "audio" in event else "SpeechAudioDoneEvent"
        assert list(problems(schema, name, event)) == []


@pytest.mark.parametrize("name", ["wav", "flac", "pcm"])
def test_pieces_are_joined_without_a_click(speaking: Speaking, name: str) -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as loud:
        loud.setnchannels(1)
        loud.setsampwidth(2)
        loud.setframerate(22_050)
        loud.writeframes((20_000).to_bytes(2, "little") * 22_050 * 9)
    speaking.magpie.answer = file.getvalue()
    data = speaking.post(input=TEN, response_format=name).content
    assert len(speaking.magpie.received) > 2
    if name != "pcm":
        with av.open(io.BytesIO(data), "r") as made:
            data = b"".join(
                bytes(frame.planes[0])[: frame.samples * 2] for frame in made.decode(audio=0)
            )
    samples = array("h", data)
    assert max(samples) > 19_000
    assert max(abs(one - other) for one, other in pairwise(samples)) < 1000
    assert abs(samples[0]) < 1000


def test_events_tell_that_it_is_at_work(speaking: Speaking) -> None:
    speaking.magpie.behave("hang")
    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(speaking.post, response_format=name, stream_format="sse", stream=True)
            for name in ("mp3", "wav")
        ]
        for answer in (it.result() for it in asked):
            assert answer.status_code == 200, answer.text
            assert answer.headers["X-Accel-Buffering"] == "no"
            lines = answer.iter_lines()
            assert next(lines) == b": ping"
            speaking.magpie.release.set()
            *_, last = filter(None, lines)
            assert json.loads(last[6:])["type"] == "speech.audio.done"


def test_a_missing_mood_is_told(speaking: Speaking) -> None:
    answer = speaking.post(voice="Mia.Happy", response_format="wav")
    assert answer.headers["x-voice"] == MIA


# What goes in.


def test_markdown_addresses_and_emoji_are_not_said(speaking: Speaking) -> None:
    speaking.post(
        input="# So\nThis **is** [it](https://a.b/c) \U0001f600, at https://d.e/f or not."
    )
    assert speaking.magpie.texts == ["So. This is it, at or not."]


def test_a_text_of_pictures_is_a_short_silence(speaking: Speaking) -> None:
    answer = speaking.post(input="\U0001f44d", response_format="wav")
    assert probed(answer.content)[1] == 0.25
    assert speaking.magpie.texts == []


@pytest.mark.parametrize(
    ("voice", "found", "language"),
    [
        ("alloy", CALM, "en-US"),
        ("nova", MIA, "en-US"),
        ({"id": ARIA}, ARIA, "de-DE"),
        ("aria", ARIA, "de-DE"),
    ],
)
def test_voices_go_by_many_names(
    speaking: Speaking, voice: object, found: str, language: str
) -> None:
    assert speaking.post(voice=voice, response_format="pcm").ok
    (asked,) = speaking.magpie.asked_for
    assert (asked["voice"], asked["language"]) == (found, language)


def test_fields_that_nobody_knows_are_passed_over(speaking: Speaking) -> None:
    assert speaking.post(backend="openai", lang_code="e", response_format="wav").ok


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
    for asked in ({}, {"stream_format": "sse"}):
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


# Other services.


def test_a_server_with_openais_api_speaks_as_well(speaking: Speaking) -> None:
    speaking.register("kokoro", model="kokoro-v1")
    answer = speaking.post(
        model="kokoro", voice="af_bella", response_format="wav", instructions="Whisper."
    )
    assert answer.headers["x-served-by"] == "kokoro"
    assert probed(answer.content)[1] == pytest.approx(0.06 * len(SENTENCE), abs=0.01)
    (asked,) = speaking.kokoro.asked_for
    assert asked == {
        "model": "kokoro-v1",
        "input": SENTENCE,
        "voice": "af_bella",
        "response_format": "wav",
        "instructions": "Whisper.",
    }


def test_a_voice_that_only_one_service_has_goes_there(speaking: Speaking) -> None:
    speaking.register("kokoro")
    assert speaking.post(voice="bm_george").headers["x-served-by"] == "kokoro"
    assert speaking.post(voice=MIA, response_format="wav").headers["x-served-by"] == "magpie"
    assert speaking.post(voice="de+f3", response_format="wav").headers["x-served-by"] == "voice"


def test_a_server_without_a_list_is_asked_for_any_voice(speaking: Speaking) -> None:
    speaking.kokoro.lists.clear()
    speaking.register("kokoro")
    assert speaking.post(model="kokoro", voice="my_own", response_format="pcm").ok
    assert speaking.kokoro.asked_for[0]["voice"] == "my_own"


def test_without_any_server_espeak_speaks(speaking: Speaking) -> None:
    (speaking.gateway.state / "services.d/magpie.json").unlink()
    lengths = []
    for voice, speed in (("en-GB", 1), ("fr", 2), ("alloy", 1)):
        answer = speaking.post(voice=voice, speed=speed, response_format="wav")
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-served-by"] == "voice"
        lengths.append(probed(answer.content)[1])
    assert lengths[0] > lengths[1] > 0.5


# What there is.


def test_voices_are_listed_as_clients_read_them(speaking: Speaking) -> None:
    speaking.register("kokoro")
    listed = speaking.gateway.get("/v1/audio/voices").json()["voices"]
    by_id = {voice["id"]: voice for voice in listed}
    assert len(by_id) == len(listed)
    assert by_id[CALM] == {
        "id": CALM, "name": "Mia, calm (en-US)", "language": "en-US", "service": "magpie"
    }  # fmt: skip
    assert by_id["af_bella"]["service"] == "kokoro"
    assert by_id["de"]["name"] == "German"
    assert {"alloy", "shimmer"} <= by_id.keys()
    assert listed[0]["service"] != "voice"


def test_a_service_that_does_not_answer_hides_no_other_voices(speaking: Speaking) -> None:
    speaking.register("kokoro", free_port())
    ids = {voice["id"] for voice in speaking.gateway.get("/v1/audio/voices").json()["voices"]}
    assert MIA in ids
    assert "af_bella" not in ids


def test_models_are_listed_as_clients_read_them(speaking: Speaking) -> None:
    speaking.register("magpie", model="magpie-tts-multilingual")
    listed = [model["id"] for model in speaking.gateway.get("/v1/audio/models").json()["models"]]
    assert listed[:2] == ["tts-1", "tts-1-hd"]
    assert {"magpie", "magpie-tts-multilingual", "voice"} <= set(listed)
    assert speaking.post(model="magpie-tts-multilingual", response_format="pcm").ok


def test_a_voice_may_be_chosen_from_the_list_of_models(speaking: Speaking) -> None:
    listed = {it["id"]: it["served_by"] for it in speaking.gateway.get("/v1/models").json()["data"]}
    assert listed[ARIA] == ["magpie"]
    assert listed["tts-1"] == ["magpie", "voice"]
    assert "de" not in listed  # eSpeak NG's hundred languages
    assert speaking.post(model=ARIA, response_format="pcm").ok
    assert speaking.post(model=ARIA, voice=MIA, response_format="pcm").ok
    assert [asked["voice"] for asked in speaking.magpie.asked_for] == [ARIA, MIA]


# What is wrong with a request.


@pytest.mark.parametrize(
    ("asked", "param", "code", "says"),
    [
        ({"input": ""}, "input", "empty_string", "empty string"),
        ({"input": " \n"}, "input", "empty_string", "empty string"),
        ({"input": None}, "input", "missing_required_parameter", "Missing required"),
        ({"input": 5}, "input", "invalid_type", "expected a string, but got an integer"),
        (
            {"input": "x" * 5000}, "input", "string_above_max_length",
            "maximum length 4096, but got a string with length 5000",
        ),
        ({"voice": None}, "voice", "missing_required_parameter", "Missing required"),
        ({"voice": {}}, "voice.id", "missing_required_parameter", "Missing required"),
        ({"voice": "bob"}, "voice", "invalid_value", f"'shimmer', 'verse', '{ARIA}', '{MIA}'"),
        ({"speed": 9}, "speed", "decimal_above_max_value", "Expected a value <= 4, but got 9"),
        ({"speed": 0.1}, "speed", "decimal_below_min_value", "Expected a value >= 0.25"),
        ({"speed": "fast"}, "speed", "invalid_type", "expected a decimal"),
        ({"speed": True}, "speed", "invalid_type", "got a boolean"),
        ({"response_format": "ogg"}, "response_format", "invalid_value", "'mp3', 'opus', 'aac'"),
        ({"stream_format": "ndjson"}, "stream_format", "invalid_value", "'audio', 'sse'"),
        ({"instructions": 1}, "instructions", "invalid_type", "expected a string"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_openais_words(
    speaking: Speaking, asked: dict[str, Any], param: str, code: str, says: str
) -> None:
    error = speaking.refused(**asked)
    assert (error["param"], error["code"]) == (param, code)
    assert says in error["message"]
    assert speaking.magpie.texts == []


def test_an_unknown_model_is_told_which_there_are(speaking: Speaking) -> None:
    answer = speaking.post(model="tts-9")
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert "'tts-1', 'tts-1-hd'" in error["message"]
    assert "'magpie'" in error["message"]


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ({"files": {"input": (None, "Hi.")}}, 415, "unsupported_content_type"),
        ({"data": {"input": "Hi."}}, 415, "unsupported_content_type"),
        ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, "invalid_json"),
        (
            {"data": b"[" * 9999, "headers": {"Content-Type": "application/json"}},
            400,
            "invalid_json",
        ),
        ({"json": ["Hi."]}, 400, "invalid_json"),
        ({"json": {"input": "x" * 400_000}}, 413, "request_too_large"),
    ],
)
def test_what_is_no_json_object_is_refused(
    speaking: Speaking, how: dict[str, Any], status: int, code: str
) -> None:
    answer = requests.post(f"{speaking.gateway.url}/v1/audio/speech", timeout=30, **how)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_over_the_limit_is_refused_however_it_comes(
    speaking: Speaking, *, is_chunked: bool
) -> None:
    body = json.dumps({"voice": "alloy", "input": "x" * 400_000}).encode()
    url = f"{speaking.gateway.url}/v1/audio/speech"
    data: Any = (body[at : at + 10_000] for at in range(0, len(body), 10_000))
    answer = requests.post(url, data if is_chunked else body, headers=JSON, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("name", ["input", "voice", "model", "response_format", "instructions"])
def test_half_a_character_is_refused(speaking: Speaking, name: str) -> None:
    error = speaking.refused(**{name: "a\ud83d"})  # json.dumps escapes it
    assert error["param"] == name
    assert speaking.refused(voice={"id": "\udc00"})["param"] == "voice.id"
    assert speaking.magpie.texts == []


# OpenAI's own client.


def test_openais_client_hears_the_beginning_before_the_end(
    speaking: Speaking, client: openai.OpenAI
) -> None:
    speaking.magpie.behave("one_by_one")
    speaking.magpie.steps.release()
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input=TEN, response_format="pcm"
    ) as streamed:
        pieces = streamed.iter_bytes()
        assert next(pieces)  # of one text: the answer to another one would wait
        speaking.magpie.behave("ok")
        for _ in range(20):
            speaking.magpie.steps.release()
        assert len(b"".join(pieces)) > 24_000


def test_openais_client_raises_what_is_wrong(speaking: Speaking, client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="Supported values are") as raised:
        client.audio.speech.create(model="tts-1", voice="bob", input=SENTENCE)
    assert (raised.value.param, raised.value.code) == ("voice", "invalid_value")
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.audio.speech.create(model="tts-9", voice="alloy", input=SENTENCE)
    speaking.magpie.behave("500")
    with pytest.raises(openai.InternalServerError) as failed:
        client.audio.speech.create(model="magpie", voice="alloy", input=SENTENCE)
    assert failed.value.status_code == 503
