"""Which services answer a request for speakers: WhisperX, or Parakeet and Sortformer together."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.conftest import eventually
from tests.api.recordings import encoded
from tests.api.routed import (
    AUDIO,
    DURATION_S,
    LOADING,
    OPENAI,
    PAIR,
    PATH,
    WORDS,
    Routed,
    segments,
)
from tests.standins.blips import dialogue, heard, recording

_NO_LOGPROBS = (400, "unsupported_value", "include[]")


def test_whisperx_answers_while_its_diarizer_is_loaded(routed: Routed) -> None:
    response = routed.gateway.transcribe(AUDIO, PATH)
    assert (response.status_code, response.headers["x-served-by"]) == (200, "whisperx")
    assert routed.uploads() == [1, 0, 0]


def test_while_it_is_not_the_others_answer_together_in_the_same_shape(routed: Routed) -> None:
    whole = routed.gateway.transcribe(AUDIO, PATH).json()
    routed.register("whisperx")
    routed.whisperx.health = LOADING
    response = routed.gateway.transcribe(AUDIO, PATH)
    assert (response.status_code, response.headers["x-served-by"]) == (200, PAIR)
    answer = response.json()
    assert list(answer) == list(whole)
    assert answer == {
        "duration": DURATION_S,
        "language": "en",
        "speakers_detected": 2,
        "segments": segments(WORDS),
        "models": {
            "transcription": "stand-in parakeet",
            "diarization": "stand-in sortformer (tells at most 4 people apart)",
        },
    }
    assert routed.uploads() == [1, 1, 1]


def test_removing_the_registration_is_all_it_takes_and_so_is_putting_it_back(
    routed: Routed,
) -> None:
    assert routed.gateway.transcribe(AUDIO, PATH).headers["x-served-by"] == "whisperx"
    routed.unregister("whisperx")
    assert routed.gateway.transcribe(AUDIO, PATH).headers["x-served-by"] == PAIR
    routed.register("whisperx")
    assert routed.gateway.transcribe(AUDIO, PATH).headers["x-served-by"] == "whisperx"


def test_removing_the_container_is_all_it_takes(routed: Routed) -> None:
    routed.stop("whisperx")
    response = routed.gateway.transcribe(AUDIO, PATH)
    assert (response.status_code, response.headers["x-served-by"]) == (200, PAIR)


@pytest.mark.parametrize("missing", ["parakeet", "sortformer"])
def test_one_of_the_two_alone_is_no_way(routed: Routed, missing: str) -> None:
    routed.unregister("whisperx")
    routed.unregister(missing)
    response = routed.gateway.transcribe(AUDIO, PATH)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "no_service")
    assert response.headers["Retry-After"] == "60"
    assert routed.uploads() == [0, 0, 0]


@pytest.mark.parametrize(
    ("path", "fields", "refused"),
    [
        (OPENAI, {"include[]": "logprobs"}, _NO_LOGPROBS),
        (OPENAI, {"include[]": "logprobs", "stream": "true"}, _NO_LOGPROBS),
        ("/v1/audio/jobs", {"include[]": "logprobs"}, _NO_LOGPROBS),
        ("/v1/audio/translations", {}, (503, "no_service", None)),
    ],
)
def test_what_whisperx_alone_does_is_not_tried_again_where_none_is_registered(
    routed: Routed, path: str, fields: dict[str, str], refused: tuple[int, str, str | None]
) -> None:
    routed.unregister("whisperx")
    response = routed.gateway.transcribe(AUDIO, path, **fields)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == refused
    assert "need" in error["message"]
    assert "WhisperX server" in error["message"]
    assert response.headers["x-should-retry"] == "false"
    assert "Retry-After" not in response.headers
    routed.stop("whisperx")
    response = routed.gateway.transcribe(AUDIO, path, **fields)
    if path != "/v1/audio/jobs":  # those wait
        assert (response.status_code, response.headers["Retry-After"]) == (503, "60")


@pytest.mark.parametrize("path", [PATH, "/v1/audio/transcriptions"])
@pytest.mark.parametrize("stream", ["false", "true"])
def test_with_no_way_ready_the_answer_is_503_at_once_and_nobody_gets_the_recording(
    routed: Routed, path: str, stream: str
) -> None:
    routed.whisperx.health = LOADING
    routed.sortformer.health = (503, {"status": "loading", "detail": "Fetching the model."})
    response = routed.gateway.transcribe(
        b"whatever it is", path, stream=stream, response_format="diarized_json"
    )
    assert response.status_code == 503
    assert (response.headers["Retry-After"], response.headers["retry-after-ms"]) == ("60", "59000")
    error = response.json()["error"]
    assert error["code"] == "upstream_unavailable"
    assert "whisperx is warming" in error["message"]
    assert "sortformer is warming: Fetching the model." in error["message"]
    assert routed.uploads() == [0, 0, 0]


def test_a_parakeet_without_a_health_page_is_used(routed: Routed) -> None:
    routed.unregister("whisperx")
    routed.parakeet.health = (404, {"detail": "Not Found"})
    assert routed.gateway.transcribe(AUDIO, PATH).json()["segments"] == segments(WORDS)


def test_services_are_not_asked_how_they_are_for_every_request(routed: Routed) -> None:
    routed.whisperx.health = LOADING
    for _ in range(40):
        assert routed.gateway.transcribe(recording([], 1), PATH).status_code == 200
    # Each of two workers asks every five seconds; the rest is for a machine that is busy.
    assert all(0 < standin.asked <= 20 for standin in routed.standins.values())


def test_whisperx_alone_is_not_asked_how_it_is(routed: Routed) -> None:
    routed.unregister("parakeet")
    routed.whisperx.health = LOADING
    assert routed.gateway.transcribe(AUDIO, PATH).headers["x-served-by"] == "whisperx"
    assert routed.whisperx.asked == 0


@pytest.mark.parametrize(
    ("fields", "speakers"),
    [
        ({"response_format": "diarized_json"}, True),
        ({"response_format": "srt", "model": "diarize"}, True),
        ({"response_format": "json"}, False),
    ],
)
def test_openais_path_goes_the_same_ways_where_speakers_are_wanted(
    routed: Routed, fields: dict[str, str], speakers: bool
) -> None:
    routed.whisperx.health = LOADING
    response = routed.gateway.transcribe(AUDIO, **fields)
    assert response.headers["x-served-by"] == (PAIR if speakers else "parakeet")
    assert WORDS[-1].text in response.text


def test_readyz_is_content_with_either_way(routed: Routed) -> None:
    routed.whisperx.health = LOADING
    assert routed.gateway.get("/readyz").status_code == 200
    routed.sortformer.health = (503, {"detail": "Fetching the model."})
    routed.register("sortformer")
    response = routed.gateway.get("/readyz")
    assert response.status_code == 503
    assert response.text.startswith("whisperx is warming")
    assert "sortformer is warming: Fetching the model." in response.text


def test_what_has_no_effect_is_said(routed: Routed) -> None:
    routed.unregister("whisperx")
    answer = routed.gateway.transcribe(
        AUDIO, PATH, num_speakers="6", prompt="Names", keywords="GB10"
    ).json()
    about_speakers, about_prompt, about_keywords = answer["warnings"]
    assert "at most 4 people" in about_speakers
    assert "`prompt` had no effect" in about_prompt
    assert "`keywords` had no effect" in about_keywords


def test_any_recording_will_do_and_its_length_is_the_true_one(routed: Routed) -> None:
    routed.unregister("whisperx")
    answer = routed.gateway.transcribe(encoded("libopus", "webm", silence=True), PATH).json()
    assert answer["duration"] == pytest.approx(2.0, abs=0.1)
    assert (answer["segments"], answer["speakers_detected"]) == ([], 0)


def test_a_short_recording_is_padded_for_both(routed: Routed) -> None:
    routed.unregister("whisperx")
    assert routed.gateway.transcribe(recording([], 0.25), PATH).json()["duration"] == 0.25
    for standin in (routed.parakeet, routed.sortformer):
        assert len(standin.received[0].form()[1]) == 44 + 32_000


def test_a_long_recording_is_cut_at_silences_and_no_word_is_lost_doubled_or_moved(
    routed: Routed,
) -> None:
    words = dialogue(90, every_s=0.6)
    routed.unregister("whisperx")
    routed.register("parakeet", max_audio_s=10)
    answer = routed.gateway.transcribe(recording(words, 55.0), PATH).json()
    assert answer["segments"] == segments(words)
    wavs = [received.form()[1] for received in routed.parakeet.received]
    assert len(wavs) >= 6
    assert all(len(wav) <= 44 + 10 * 32_000 for wav in wavs)
    assert sum(len(wav) - 44 for wav in wavs) == 55 * 32_000, (
        "pieces overlap, or leave something out"
    )
    assert sum(len(heard(wav)) for wav in wavs) == len(words), "a word was cut"
    assert len(routed.sortformer.received) == 1, "the diarizer's labels hold for one request only"


def test_words_have_the_times_of_the_whole_recording(routed: Routed) -> None:
    words = dialogue(30, every_s=0.6)
    routed.unregister("whisperx")
    routed.register("parakeet", max_audio_s=10)
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    answer = routed.gateway.transcribe(recording(words, 20.0), model="diarize", **fields).json()
    found = [(word["word"], word["start"], word["end"]) for word in answer["words"]]
    assert found == [(word.text, word.start, word.end) for word in words]


def test_beyond_the_diarizers_limit_the_answer_is_413_with_the_reason_and_nobody_works(
    routed: Routed,
) -> None:
    routed.whisperx.health = LOADING
    routed.sortformer.health = (200, {"model": "nvidia/diar_sortformer_4spk-v1", "max_seconds": 6})
    response = routed.gateway.transcribe(AUDIO, PATH)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (413, "audio_too_long", "file")
    assert "sortformer, which tells the speakers apart, takes at most 6 s" in error["message"]
    assert "whisperx is warming" in error["message"]
    assert routed.uploads() == [0, 0, 0]


def test_a_diarizers_limit_is_none_for_whisperx(routed: Routed) -> None:
    routed.register("sortformer", max_audio_s=10)
    response = routed.gateway.transcribe(recording([], 12), PATH)
    assert (response.status_code, response.headers["x-served-by"]) == (200, "whisperx")


def test_a_limit_that_whisperx_is_registered_with_sends_longer_ones_to_the_others(
    routed: Routed,
) -> None:
    routed.register("whisperx", max_audio_s=10)
    assert routed.gateway.transcribe(AUDIO, PATH).headers["x-served-by"] == "whisperx"
    longer = recording(WORDS, 12)
    assert routed.gateway.transcribe(longer, PATH).headers["x-served-by"] == PAIR
    routed.unregister("parakeet")
    assert routed.gateway.transcribe(longer, PATH).status_code == 413


def test_a_service_gets_its_registered_model_the_language_and_no_other_services_key(
    routed: Routed,
) -> None:
    routed.unregister("whisperx")
    routed.register("parakeet", model="nvidia/parakeet-tdt-0.6b-v3", api_key_file="parakeet.key")
    routed.file("parakeet").with_suffix(".key").write_text("hunter2\n")
    assert routed.gateway.transcribe(AUDIO, PATH, language="English").status_code == 200
    (asked,), (diarized,) = routed.parakeet.received, routed.sortformer.received
    fields, _wav = asked.form()
    assert (fields["model"], fields["language"]) == ("nvidia/parakeet-tdt-0.6b-v3", "en")
    assert fields["response_format"] == "verbose_json"
    assert fields.getlist("timestamp_granularities[]") == ["segment", "word"]
    assert asked.headers["authorization"] == "Bearer hunter2"
    assert "authorization" not in diarized.headers


def test_subtitles_will_do_for_an_answer(routed: Routed) -> None:
    routed.unregister("whisperx")
    cue = "00:00:00,100 --> 00:00:02,500\nw0 w1 w2 w3 w4\n"
    routed.parakeet.behave("ok", f"1\n{cue}\n".encode())
    (segment,) = routed.gateway.transcribe(AUDIO, PATH).json()["segments"]
    assert segment["text"] == "w0 w1 w2 w3 w4"


def test_the_diarizer_gets_no_more_at_once_than_it_lets_wait(routed: Routed) -> None:
    routed.unregister("whisperx")
    with ThreadPoolExecutor(8) as pool:
        routed.sortformer.behave("hang")
        jobs = [
            pool.submit(routed.gateway.transcribe, AUDIO, PATH, prompt=str(n)) for n in range(8)
        ]
        assert eventually(lambda: routed.sortformer.working == 5)
        assert eventually(lambda: len(routed.parakeet.received) == 8)
        routed.sortformer.release.set()
        assert [job.result().status_code for job in jobs] == [200] * 8
    assert routed.sortformer.most_at_once == 5
