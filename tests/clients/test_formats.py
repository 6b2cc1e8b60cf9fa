"""Every format of the embedded voice, as ffprobe sees it, and its words, as they are heard."""

from __future__ import annotations

import io
import wave

import pytest

from proxy_app.watch.words import words
from tests.clients.home import Home
from tests.clients.probed import FORMATS

TEXT = (
    "Good morning, everybody. Please transcribe this sentence, and send it to my office. "
    "Thank you very much for your help."
)
VOICE = "en-us"
WORST_WER = 0.1
"""Of 20 words two may be misheard: it is a robot's voice and the smallest model."""
SECONDS = (6.0, 9.0)


def word_error_rate(said: str, heard: str) -> float:
    """Words that are wrong, missing or too many, by the words that were said."""
    wanted, got = words(said), words(heard)
    row = list(range(len(got) + 1))
    for done, word in enumerate(wanted, 1):
        above, row[0] = row[0], done
        for column, other in enumerate(got, 1):
            cost = above + (word != other)
            above = row[column]
            row[column] = min(cost, above + 1, row[column - 1] + 1)
    return row[-1] / len(wanted)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_said_in_a_format_is_that_format_and_is_heard_again(at: Home, name: str) -> None:
    asked = {"model": "tts-1", "voice": VOICE, "input": TEXT, "response_format": name}
    made = at.post("/audio/speech", json=asked)
    assert made.headers["x-served-by"] == "voice"  # as eSpeak NG is registered
    assert made.headers["Content-Type"] == FORMATS[name].content_type
    FORMATS[name].check(made.content, at_least_s=SECONDS[0], at_most_s=SECONDS[1])
    file = as_wav(made.content) if name == "pcm" else made.content
    answer = at.post(
        "/audio/transcriptions",
        data={"model": "whisper-1", "response_format": "text"},
        files={"file": (f"speech.{name}", file, "application/octet-stream")},
    )
    assert word_error_rate(TEXT, answer.text) <= WORST_WER, answer.text


def as_wav(samples: bytes) -> bytes:
    """Raw samples as the file that a client makes of them."""
    output = io.BytesIO()
    with wave.open(output, "wb") as file:
        file.setframerate(24_000)
        file.setsampwidth(2)
        file.setnchannels(1)
        file.writeframes(samples)
    return output.getvalue()


def test_speed_changes_the_length_and_keeps_the_words(at: Home) -> None:
    asked = {"voice": VOICE, "input": TEXT, "response_format": "wav"}
    lengths = []
    for speed in (1.0, 1.5):
        made = at.post("/audio/speech", json=asked | {"speed": speed})
        lengths.append(FORMATS["wav"].check(made.content, at_least_s=1.0).seconds)
    assert lengths[0] / lengths[1] == pytest.approx(1.5, rel=0.05)
    files = {"file": ("speech.wav", made.content)}
    answer = at.post("/audio/transcriptions", data={"response_format": "text"}, files=files)
    assert word_error_rate(TEXT, answer.text) <= WORST_WER, answer.text


def test_the_error_rate_counts_what_is_wrong_missing_and_too_many() -> None:
    assert word_error_rate("a b c d", "a b c d") == 0
    assert word_error_rate("a b c d", "a x c") == 0.5
    assert word_error_rate("a b c d", "a b c d e f") == 0.5
