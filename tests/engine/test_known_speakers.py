"""Known speakers get their names by their voices: real people, the real diarizer.

The conversation is joined of real recordings. No reference is from what is heard in it: Mary's is
of another meeting, Paul's and Jill's are of the other half of what they said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.data import test_data
from tests.engine.conftest import Running, start
from tests.engine.made_audio import RATE, silence, wav
from tests.engine.meetings import samples
from tests.engine.test_speakers_of_long_recordings import SPEAKERS, Samples, joined

NAMES, REFERENCES = "known_speaker_names[]", "known_speaker_references[]"
LOUDNESS = 0.06


@dataclass(frozen=True)
class People:
    """What they say in the conversation, and what their voices are known by."""

    mary: Samples
    paul: Samples
    jill: Samples
    of_mary: Samples
    of_mary_here: Samples
    of_paul: Samples
    of_jill: Samples
    of_stranger: Samples


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    """Three who speak, and one who does not."""
    scratch = tmp_path_factory.mktemp("people") / "part.wav"

    def part(name: str, *spans: tuple[float, float]) -> Samples:
        whole = samples(test_data("audio") / f"{name}.flac", scratch).astype(np.float32)
        cuts = [whole[round(start_s * RATE) : round(end_s * RATE)] for start_s, end_s in spans]
        cut = np.concatenate(cuts)
        return np.asarray(LOUDNESS / np.sqrt(np.square(cut).mean()) * cut, np.float32)

    return People(
        mary=part("ami-trn06", (19, 27)),
        paul=part("ami-trn03", (15, 23)),
        jill=part("ami-trn05", (19.6, 27)),
        of_mary=part("ami-trn09", (6.1, 12.8), (18.3, 21.5)),
        of_mary_here=part("ami-trn06", (13.6, 18.8)),
        of_paul=part("ami-trn03", (3, 11)),
        of_jill=part("ami-trn05", (10, 19)),
        of_stranger=part("ami-dev00", (1.6, 9.6)),
    )


@pytest.fixture(scope="module")
def conversation(people: People) -> tuple[bytes, list[float]]:
    """Mary, Paul and Jill; and where each begins, in seconds."""
    return joined(people.mary, people.paul, people.jill)


def as_wav(sound: Samples) -> bytes:
    return wav(np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16))


def ask(
    engine: Running,
    recording: bytes,
    known: Sequence[tuple[str, Samples | bytes]],
    **fields: str,
) -> requests.Response:
    """A request that names people."""
    sounds = [one if isinstance(one, bytes) else as_wav(one) for _name, one in known]
    files = [(REFERENCES, ("reference.wav", sound)) for sound in sounds]
    data = [*fields.items(), *((NAMES, name) for name, _sound in known)]
    files.append(("file", ("audio.wav", recording)))
    return requests.post(f"{engine.url}{SPEAKERS}", files=files, data=data, timeout=120)


def answer_of(response: requests.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def heard(body: dict[str, Any], offsets: Sequence[float]) -> list[str]:
    """Who speaks for most of each part."""
    ends = [*offsets[1:], body["duration"]]
    parts: list[dict[str, float]] = [{} for _ in offsets]
    for segment in body["segments"]:
        for part, start_s, end_s in zip(parts, offsets, ends, strict=True):
            both = min(end_s, segment["end_ms"] / 1000) - max(start_s, segment["start_ms"] / 1000)
            part[segment["speaker"]] = part.get(segment["speaker"], 0) + max(0, both)
    return [max(part, key=lambda name: part[name]) for part in parts]


def test_each_name_goes_to_its_voice_whatever_the_order(
    engine: Running, conversation: tuple[bytes, list[float]], people: People
) -> None:
    recording, offsets = conversation
    known = [("Jill", people.of_jill), ("Mary", people.of_mary), ("Paul", people.of_paul)]
    body = answer_of(ask(engine, recording, known))
    assert heard(body, offsets) == ["Mary", "Paul", "Jill"]
    assert "warnings" not in body
    assert body["speakers_detected"] == len({one["speaker"] for one in body["segments"]})


def test_swapped_names_are_swapped_in_the_answer(
    engine: Running, conversation: tuple[bytes, list[float]], people: People
) -> None:
    recording, offsets = conversation
    body = answer_of(ask(engine, recording, [("Paul", people.of_mary), ("Mary", people.of_paul)]))
    assert heard(body, offsets) == ["Paul", "Mary", "Speaker_0"]


def test_a_strangers_name_appears_nowhere(
    engine: Running, conversation: tuple[bytes, list[float]], people: People
) -> None:
    recording, offsets = conversation
    known = [("Stranger", people.of_stranger), ("Paul", people.of_paul)]
    body = answer_of(ask(engine, recording, known))
    assert heard(body, offsets) == ["Speaker_0", "Paul", "Speaker_1"]
    assert body["warnings"] == ["No voice in the recording was found to be 'Stranger'."]


def test_the_second_speaker_alone_may_be_known(
    engine: Running, conversation: tuple[bytes, list[float]], people: People
) -> None:
    recording, offsets = conversation
    body = answer_of(ask(engine, recording, [("Paul", people.of_paul)]))
    assert heard(body, offsets) == ["Speaker_0", "Paul", "Speaker_1"]


def test_of_a_short_reference_nothing_is_guessed(
    engine: Running, conversation: tuple[bytes, list[float]], people: People
) -> None:
    recording, offsets = conversation
    known = [("Mary", people.of_mary), ("Paul", people.of_paul[: round(3.5 * RATE)])]
    body = answer_of(ask(engine, recording, known))
    assert heard(body, offsets) == ["Mary", "Speaker_0", "Speaker_1"]
    (warning,) = body["warnings"]
    assert warning == (
        "'Paul' was not looked for: its reference is 3.5 s long, and 4 s are needed."
    )


def test_two_names_of_one_person_are_no_name_for_anybody_else(
    engine: Running, conversation: tuple[bytes, list[float]], people: People
) -> None:
    recording, offsets = conversation
    known = [("Mary", people.of_mary), ("Maria", people.of_mary_here), ("Paul", people.of_paul)]
    body = answer_of(ask(engine, recording, known))
    mary, paul, jill = heard(body, offsets)
    assert paul == "Paul"
    named = {one["speaker"] for one in body["segments"]} & {"Mary", "Maria"}
    assert named <= {mary}
    assert jill.startswith("Speaker_")


def test_a_reference_of_two_people_is_nobodys(
    engine: Running, conversation: tuple[bytes, list[float]], people: People
) -> None:
    recording, offsets = conversation
    both = np.concatenate((people.of_mary[: 5 * RATE], people.of_paul[: 5 * RATE]))
    body = answer_of(ask(engine, recording, [("Mary", both)]))
    assert "Mary" not in heard(body, offsets)
    assert "'Mary'" in body["warnings"][0]


def test_a_reference_without_speech_is_nobodys(
    engine: Running, conversation: tuple[bytes, list[float]]
) -> None:
    recording, offsets = conversation
    body = answer_of(ask(engine, recording, [("Nobody", silence(6))]))
    assert set(heard(body, offsets)) == {"Speaker_0", "Speaker_1", "Speaker_2"}
    assert "0.0 s of speech" in body["warnings"][0]


def test_a_name_that_looks_like_a_number_is_only_its_owners(
    engine: Running, conversation: tuple[bytes, list[float]], people: People
) -> None:
    recording, offsets = conversation
    body = answer_of(ask(engine, recording, [("Speaker_0", people.of_paul)]))
    assert heard(body, offsets) == ["Speaker_1", "Speaker_0", "Speaker_2"]


def test_two_chunks_of_one_recording_keep_their_people(engine: Running, people: People) -> None:
    known = [("Mary", people.of_mary), ("Paul", people.of_paul)]
    first, first_offsets = joined(people.mary, people.paul)
    second, second_offsets = joined(people.jill, people.paul, people.mary)
    body = answer_of(ask(engine, first, known))
    assert heard(body, first_offsets) == ["Mary", "Paul"]
    body = answer_of(ask(engine, second, known))
    assert heard(body, second_offsets) == ["Speaker_0", "Paul", "Mary"]


def test_a_stream_tells_the_same_names(
    engine: Running, conversation: tuple[bytes, list[float]], people: People
) -> None:
    recording, _offsets = conversation
    response = ask(engine, recording, [("Paul", people.of_paul)], stream="true")
    lines = [json.loads(line) for line in response.text.splitlines()]
    told = [
        segment["speaker"]
        for line in lines
        if line["type"] == "speakers"
        for segment in line["segments"]
    ]
    assert told == [segment["speaker"] for segment in lines[-1]["answer"]["segments"]]
    assert "Paul" in told


@pytest.fixture(scope="module")
def small_windows(
    engine_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """An engine that tells speakers apart in windows of 15 s."""
    folder = tmp_path_factory.mktemp("small-windows")
    running = start(engine_python, folder, {"ENGINE_WINDOW_S": "15"})
    try:
        running.wait_until("ready")
        yield running
    finally:
        running.stop()


def test_a_name_is_the_same_in_all_windows(small_windows: Running, people: People) -> None:
    said = (people.mary, people.paul, people.jill, people.mary, people.paul)
    recording, offsets = joined(*said)
    known = [("Mary", people.of_mary), ("Paul", people.of_paul)]
    response = ask(small_windows, recording, known, stream="true")
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert len([line for line in lines if line["type"] == "speakers"]) > 2
    assert heard(lines[-1]["answer"], offsets) == ["Mary", "Paul", "Speaker_0", "Mary", "Paul"]


def test_a_voice_is_told_with_the_model_that_made_it(engine: Running, people: People) -> None:
    known = [("Mary", people.of_mary)]
    bodies = [
        answer_of(ask(engine, joined(*said)[0], known, speaker_embeddings="true"))
        for said in ((people.mary, people.paul), (people.paul, people.mary))
    ]
    assert {body["embedding_model"] for body in bodies} == {bodies[0]["embedding_model"]}
    name, _at, version = bodies[0]["embedding_model"].partition("@")
    assert name
    assert version
    first, second = (
        {name: np.array(voice) for name, voice in body["speaker_embeddings"].items()}
        for body in bodies
    )
    assert set(first) == set(second) == {"Mary", "Speaker_0"}
    for voice in first.values():
        assert np.linalg.norm(voice) == pytest.approx(1, abs=1e-3)
    assert first["Mary"] @ second["Mary"] > 0.9
    assert first["Mary"] @ second["Speaker_0"] < 0.7


def test_voices_are_not_told_unasked(engine: Running, people: People) -> None:
    body = answer_of(ask(engine, as_wav(people.jill), []))
    assert not {"speaker_embeddings", "embedding_model"} & set(body)


VOICE = silence(5)


@pytest.mark.parametrize(
    ("known", "status", "param", "words"),
    [
        ([("Ann", VOICE), ("ANN", VOICE)], 400, "known_speaker_names", "the same"),
        ([("x" * 65, VOICE)], 400, "known_speaker_names", "65 characters"),
        ([(str(n), VOICE) for n in range(5)], 400, "known_speaker_references", "at most 4"),
        ([("Ann", b"no audio" * 100)], 400, "known_speaker_references", "text"),
        ([("Ann", silence(1.5))], 400, "known_speaker_references", "1.5 s long"),
        ([("Ann", silence(12))], 413, "known_speaker_references", "longer"),
        ([("Ann", bytes(9_000_000))], 413, "known_speaker_references", "larger than"),
    ],
)
def test_what_is_wrong_is_said_of_its_field(
    engine: Running, known: list[tuple[str, bytes]], status: int, param: str, words: str
) -> None:
    response = ask(engine, silence(2), known)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (status, param)
    assert words in error["message"]
    engine.wait_until_idle()
    assert not engine.left_files()


def test_a_name_without_a_voice_is_refused(engine: Running) -> None:
    response = engine.post(SPEAKERS, silence(2), known_speaker_names=["Ann"])
    assert (response.status_code, response.json()["error"]["param"]) == (
        400, "known_speaker_references"
    )  # fmt: skip


def test_pyannotes_voices_are_given_no_names_as_long_as_nobody_says_how_alike_they_must_be(
    pyannote_engine: Running, people: People
) -> None:
    pyannote_engine.wait_until("ready")
    body = answer_of(
        ask(
            pyannote_engine,
            as_wav(people.jill),
            [("Jill", people.of_jill)],
            speaker_embeddings="true",
        )
    )
    assert {one["speaker"] for one in body["segments"]} == {"Speaker_0"}
    assert "ENGINE_KNOWN_SPEAKER_COSINE" in body["warnings"][0]
    assert body["embedding_model"].startswith("pyannote-pipeline@")
