"""The deep probe against stand-ins of every kind: what is good, bad, late, busy or refused."""

import threading
from array import array
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from proxy_app.audio.wav import find_canonical
from proxy_app.services import Service
from proxy_app.upstreams import Client
from proxy_app.watch.clip import CLIP, SPOKEN
from proxy_app.watch.probing import PROBE_HEADERS, Found, Prober
from proxy_app.watch.words import ENOUGH, likeness
from tests.jobs.web import free_port
from tests.standins.engine_process import conversation
from tests.standins.magpie import serve
from tests.standins.upstream_parakeet import Parakeet, Sortformer
from tests.standins.upstream_whisperx import StandIn

KINDS = {"whisperx": "speakers", "parakeet": "asr", "sortformer": "diarize", "magpie": "tts"}


def service(api: str, port: int, **fields: Any) -> Service:  # noqa: ANN401
    kind = KINDS.get(api, "llm")
    return Service(api, api.title(), kind, api, f"http://127.0.0.1:{port}", "spark1", **fields)


@pytest.fixture(scope="session")
def client() -> Client:
    return Client(PROBE_HEADERS)


@pytest.fixture
def prober(client: Client) -> Prober:
    return Prober(client, limit_s=10)


@pytest.fixture
def whisperx() -> Iterator[StandIn]:
    with StandIn() as standin:
        standin.behave("ok", conversation(SPOKEN))
        yield standin
        standin.release.set()


def test_the_clip_is_what_the_readme_says() -> None:
    pcm = find_canonical(CLIP)
    assert pcm is not None
    assert (pcm.offset, pcm.size // 32_000) == (44, 6)
    assert SPOKEN in CLIP.with_name("README.md").read_text()


@pytest.mark.parametrize(
    ("heard", "is_enough"),
    [
        (SPOKEN.upper(), True),
        ("good morning the weather is very nice today, thank you very much for your help", True),
        ("Good morning, but weather is very high today. And you very much for your help.", True),
        ("Good morning.", False),
        ("", False),
        ("la " * 15, False),
        ("Thank you very much for your help. " * 5, False),
        (f"{SPOKEN} {'Thanks for watching! ' * 10}", False),
    ],
)
def test_words_are_compared_and_not_letters(heard: str, *, is_enough: bool) -> None:
    assert (likeness(SPOKEN, heard) >= ENOUGH) is is_enough


def test_whisperx_has_to_hear_the_words_and_a_speaker(prober: Prober, whisperx: StandIn) -> None:
    found = prober(service("whisperx", whisperx.port))
    assert (found.found, found.heard, found.expected) == (Found.GOOD, SPOKEN, SPOKEN)
    (received,) = whisperx.received
    fields, wav = received.form()
    assert (fields["language"], wav) == ("en", CLIP.read_bytes())
    assert received.headers["x-speech-probe"] == "1"
    nobody: Any = conversation(SPOKEN)
    del nobody["segments"][0]["speaker"]
    whisperx.behave("ok", nobody)
    assert prober(service("whisperx", whisperx.port)).found is Found.BAD


def test_other_words_are_bad_and_are_told(prober: Prober, whisperx: StandIn) -> None:
    whisperx.behave("ok", conversation("You you you you."))
    found = prober(service("whisperx", whisperx.port))
    assert (found.found, found.heard) == (Found.BAD, "You you you you.")


def test_a_text_that_has_a_part_of_the_words_is_bad(prober: Prober, whisperx: StandIn) -> None:
    heard = "Good morning. The weather was a matter of much talk in this house."
    assert 0.3 < likeness(SPOKEN, heard) < ENOUGH
    whisperx.behave("ok", conversation(heard))
    found = prober(service("whisperx", whisperx.port))
    assert (found.found, found.heard) == (Found.BAD, heard)
    with Parakeet() as parakeet:
        parakeet.behave("ok", {"text": heard})
        assert prober(service("parakeet", parakeet.port)).found is Found.BAD


@pytest.mark.parametrize(
    ("behaviour", "found"),
    [
        ("500", Found.BAD), ("503", Found.BAD), ("half", Found.SILENT), ("reset", Found.SILENT),
        ("429", Found.BUSY), ("400", Found.REFUSED), ("401", Found.REFUSED), ("404", Found.REFUSED),
    ],
)  # fmt: skip
def test_a_failure_is_told_from_a_refusal(
    prober: Prober, whisperx: StandIn, behaviour: str, found: Found
) -> None:
    whisperx.behave(behaviour, {})
    assert prober(service("whisperx", whisperx.port)).found is found


def test_models_that_were_dropped_to_save_memory_are_no_failure(
    prober: Prober, whisperx: StandIn
) -> None:
    whisperx.behave("409", {"error": {"message": "not loaded", "code": "unloaded"}})
    assert prober(service("whisperx", whisperx.port)).found is Found.BUSY


def test_no_answer_in_time_is_late(client: Client, whisperx: StandIn) -> None:
    whisperx.behave("hang")
    assert Prober(client, limit_s=0.3)(service("whisperx", whisperx.port)).found is Found.LATE


def test_nobody_there_is_silent(prober: Prober) -> None:
    assert prober(service("whisperx", free_port())).found is Found.SILENT


def test_parakeet_has_to_hear_the_words(prober: Prober) -> None:
    with Parakeet() as parakeet:
        parakeet.behave("ok", {"text": SPOKEN})
        assert prober(service("parakeet", parakeet.port)).found is Found.GOOD
        parakeet.behave("ok", {"text": ""})
        assert prober(service("parakeet", parakeet.port)).found is Found.BAD


def test_a_diarizer_has_to_find_most_of_the_voice(prober: Prober) -> None:
    with Sortformer() as sortformer:
        turn = {"start": 0.1, "end": 5.7, "speaker": "speaker_0"}
        sortformer.behave("ok", {"segments": [turn], "model": "stand-in"})
        found = prober(service("sortformer", sortformer.port))
        assert (found.found, found.heard) == (Found.GOOD, "1 voice(s), 5.6 s")
        sortformer.behave("ok", {"segments": [], "model": "stand-in"})
        assert prober(service("sortformer", sortformer.port)).found is Found.BAD


@pytest.fixture
def magpie() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), serve.Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("seconds_per_character", "found"), [(0.06, Found.GOOD), (0.002, Found.BAD), (0.5, Found.BAD)]
)
def test_a_voice_has_to_take_about_as_long_as_the_sentences_do(
    prober: Prober,
    magpie: int,
    monkeypatch: pytest.MonkeyPatch,
    seconds_per_character: float,
    found: Found,
) -> None:
    monkeypatch.setattr(serve, "SECONDS_PER_CHARACTER", seconds_per_character)
    assert prober(service("magpie", magpie)).found is found


@pytest.mark.parametrize(
    ("loudest", "found"), [(0, Found.BAD), (100, Found.BAD), (300, Found.GOOD)]
)
def test_a_voice_has_to_be_heard(
    prober: Prober, magpie: int, monkeypatch: pytest.MonkeyPatch, loudest: int, found: Found
) -> None:
    """A noise that is not nothing is silence, too: at 100 of 32768 it is below -50 dB."""
    tone = serve.tone
    monkeypatch.setattr(serve, "tone", lambda seconds: _as_loud(tone(seconds), loudest))
    check = prober(service("magpie", magpie))
    sound = "sound" if found is Found.GOOD else "silence"
    assert (check.found, check.heard) == (found, f"4.8 s of {sound}")


def _as_loud(wav: bytes, loudest: int) -> bytes:
    samples = array("h", wav[44:])
    most = max(map(abs, samples))
    return wav[:44] + array("h", (sample * loudest // most for sample in samples)).tobytes()


def test_espeak_is_probed_as_all_voices_are(prober: Prober) -> None:
    voice = Service("voice", "eSpeak NG", "tts", "espeak", "espeak-ng", "127.0.0.1")
    found = prober(voice)
    assert found.found is Found.GOOD
    assert found.heard.endswith(" s of sound")


def test_what_has_no_voice_by_its_api_is_refused(prober: Prober) -> None:
    found = prober(Service("odd", "Odd", "tts", "parakeet", "http://127.0.0.1:1", "spark1"))
    assert found.found is Found.REFUSED


def test_a_language_model_has_to_list_its_models(prober: Prober, whisperx: StandIn) -> None:
    whisperx.health_path = "/v1/models"
    whisperx.health = (200, {"data": [{"id": "llama"}]})
    found = prober(service("openai", whisperx.port))
    assert (found.found, found.heard) == (Found.GOOD, "llama")
    whisperx.health = (200, {"data": []})
    assert prober(service("openai", whisperx.port)).found is Found.BAD


def test_nothing_of_a_probe_stays_on_the_disk(
    prober: Prober, magpie: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    prober(service("magpie", magpie))
    assert list(tmp_path.iterdir()) == []
