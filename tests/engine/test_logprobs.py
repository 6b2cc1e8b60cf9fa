"""include[]=logprobs: Whisper's own probabilities of what it wrote."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.whisperx.app.transcription.weighing import logprob, with_logprobs
from proxy_app.speech import Logprob, Token
from tests.engine.conftest import Running
from tests.engine.made_audio import silence

TRANSCRIPTIONS = "/v1/audio/transcriptions"
WORDS = st.lists(
    st.sampled_from([" Hello", ",", " it", "'s", "日", "本", " 👍", " ", "é"]), max_size=9
)


@given(WORDS, st.data())
def test_every_token_goes_with_the_word_that_it_begins_in(
    texts: list[str], data: st.DataObject
) -> None:
    words = [Token(text, 0.0, 1.0) for text in texts]
    spelt = "".join(texts).encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(spelt)))) | {0, len(spelt)})
    tokens = [Logprob(spelt[start:end], -1.0) for start, end in pairwise(cuts)]
    found = with_logprobs(words, tokens)
    assert [word.text for word in found] == texts
    assert [each for word in found for each in word.logprobs] == (tokens if words else [])


def test_tokens_of_whole_words_are_those_words_tokens() -> None:
    words = [Token(" new", 0.0, 1.0), Token(" Jersey.", 1.0, 2.0)]
    tokens = [Logprob(text, -1.0) for text in (b" new", b" Jer", b"sey", b".")]
    first, second = with_logprobs(words, tokens)
    assert first.logprobs == (tokens[0],)
    assert second.logprobs == tuple(tokens[1:])


@pytest.mark.parametrize(
    ("spelt", "data"), [("ĠHello", b" Hello"), ("Ċ", b"\n"), ("æĹ¥", "日".encode()), ("Ã", b"\xc3")]
)
def test_a_token_is_the_bytes_that_the_vocabulary_spells(spelt: str, data: bytes) -> None:
    assert logprob(spelt, 0.5) == Logprob(data, math.log(0.5))
    assert math.isfinite(logprob(spelt, 0.0).logprob)


def test_the_tokens_of_an_answer_spell_its_text(engine: Running, short_wav: bytes) -> None:
    answer = engine.post(TRANSCRIPTIONS, short_wav, **{"include[]": "logprobs"})
    body = answer.json()
    spelt = b"".join(bytes(each["bytes"]) for each in body["logprobs"]).decode()
    assert spelt.strip() == body["text"]
    assert "".join(each["token"] for each in body["logprobs"]) == spelt
    values = [each["logprob"] for each in body["logprobs"]]
    assert all(value <= 0 for value in values)
    assert len(set(values)) > len(values) / 2  # each has its own
    assert sum(values) / len(values) > -1.0  # of what it chose itself the model is rather sure


def test_they_are_those_that_the_whole_text_is_judged_by(engine: Running, short_wav: bytes) -> None:
    fields = {"response_format": "verbose_json", "include[]": "logprobs"}
    segments = engine.post(TRANSCRIPTIONS, short_wav, **fields).json()["segments"]
    values = [each["logprob"] for segment in segments for each in segment["logprobs"]]
    # Whisper's own average was taken while it chose, and has the end of the text in it.
    assert sum(values) / (len(values) + 1) == pytest.approx(segments[0]["avg_logprob"], abs=0.1)
    for segment in segments:
        spelt = "".join(each["token"] for each in segment["logprobs"])
        assert spelt.strip() == segment["text"]


def test_a_stream_has_those_of_each_segment(engine: Running, short_wav: bytes) -> None:
    fields = {"response_format": "verbose_json", "include[]": "logprobs"}
    answer = engine.post(TRANSCRIPTIONS, short_wav, stream="true", **fields)
    lines = [json.loads(line) for line in answer.text.splitlines()]
    heard = [each for line in lines if line["type"] == "segments" for each in line["segments"]]
    assert heard
    assert [each["logprobs"] for each in heard] == [
        each["logprobs"] for each in lines[-1]["answer"]["segments"]
    ]
    assert all(each["logprobs"] for each in heard)


def test_without_the_field_there_are_none_and_of_silence_neither(
    engine: Running, short_wav: bytes, tmp_path: Path
) -> None:
    assert "logprobs" not in engine.post(TRANSCRIPTIONS, short_wav).json()
    answer = engine.post(TRANSCRIPTIONS, silence(3), **{"include[]": "logprobs"}).json()
    assert answer["logprobs"] == []


def test_an_include_that_is_not_known_is_refused(engine: Running) -> None:
    answer = engine.post(TRANSCRIPTIONS, silence(1), **{"include[]": "tokens"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "include")
