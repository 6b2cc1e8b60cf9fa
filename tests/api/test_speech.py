"""Text to speech through the gateway: what comes out of it."""

from __future__ import annotations

import base64
import io
import json
import wave
from array import array
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import av
import pytest

from tests.api.conftest import eventually
from tests.api.openai_document import problems
from tests.api.speaking import (
    FORMATS,
    SENTENCE,
    TEN,
    Speaking,
    probed,
)
from tests.standins.magpie.serve import tone
from tests.standins.upstream_speech import ARIA, CALM, MIA

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
        assert len(speaking.magpie.texts) <= 2, "the first is there, the second waits"
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


@pytest.mark.parametrize("name", ["wav", "flac"])
def test_a_text_of_pictures_is_a_short_silence_of_nobodys(speaking: Speaking, name: str) -> None:
    headers = {"x-request-id": f"pictures-{name}"}
    answer = speaking.post(input="\U0001f44d", response_format=name, headers=headers)
    assert probed(answer.content)[1] == 0.25
    assert speaking.magpie.texts == []
    assert "x-served-by" not in answer.headers
    assert "x-upstream-state" not in answer.headers
    log = speaking.gateway.log
    written = f'"request_id": "pictures-{name}"'
    assert eventually(lambda: written in log.read_text())
    (line,) = (it for it in log.read_text().splitlines() if written in it)
    assert json.loads(line)["service"] is None


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
