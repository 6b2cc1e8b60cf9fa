"""Proofs of docs/speech-to-text.md: what comes, and what does not go together."""

import json

from tests.api.field_lines import DIARIZER, REFERENCE, TEXT, Asking, proves
from tests.standins import upstream_whisperx

# Formats.


@proves("Formats", "`json`")
def _as_json(ask: Asking) -> None:
    answer = ask.post(response_format="json").json()
    assert answer == {
        "text": TEXT,
        "languages": [{"code": "en"}],
        "usage": {"type": "duration", "seconds": 5},
    }


@proves("Formats", "`text`")
def _as_text(ask: Asking) -> None:
    assert ask.post(response_format="text", model="gpt-4o-transcribe").text == f"{TEXT}\n"


@proves("Formats", "`srt`")
def _as_srt(ask: Asking) -> None:
    assert "Speaker_0: Hello." in ask.post(response_format="srt", model=DIARIZER).text
    assert "Speaker" not in ask.post(response_format="srt", model="gpt-4o-transcribe").text


@proves("Formats", "`vtt`")
def _as_vtt(ask: Asking) -> None:
    assert "<v Speaker_0>Hello." in ask.post(response_format="vtt", model=DIARIZER).text
    assert "<v" not in ask.post(response_format="vtt", model="gpt-4o-transcribe").text


@proves("Formats", "`verbose_json`")
def _as_verbose_json(ask: Asking) -> None:
    answer = ask.post(
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
        response_format="verbose_json",
        model="gpt-4o-transcribe",
    ).json()
    assert {"text", "language", "duration", "segments", "words", "usage"} <= set(answer)
    assert answer["usage"] == {"type": "duration", "seconds": 5}


@proves("Formats", "`diarized_json`")
def _as_diarized_json(ask: Asking) -> None:
    answer = ask.post(response_format="diarized_json", model="whisper-1").json()
    assert [segment["speaker"] for segment in answer["segments"]] == ["A", "B"]


@proves("Formats", "`rttm`")
def _as_rttm(ask: Asking) -> None:
    rows = ask.post(response_format="rttm").text.splitlines()
    assert [row.split()[7] for row in rows] == ["Speaker_0", "Speaker_1"]


# What does not go together.

TOGETHER = "What does not go together"


@proves(TOGETHER, "`prompt` and a model named `diarize`")
def _prompt_and_diarizer(ask: Asking) -> None:
    error = ask.refused("prompt", prompt="About Sparks.", model=DIARIZER)
    assert error["message"].startswith("Prompt is not supported for diarization models")
    assert error["code"] == "invalid_value"


@proves(TOGETHER, "`include[]=logprobs` and a model named `diarize`")
def _logprobs_and_diarizer(ask: Asking) -> None:
    error = ask.refused("include[]", ("include[]", "logprobs"), model=DIARIZER)
    assert error["message"].startswith("Logprobs are not supported for diarization models")


@proves(TOGETHER, "`include[]=logprobs` and another format than `json`")
def _logprobs_and_format(ask: Asking) -> None:
    for format_ in ("text", "srt", "vtt", "verbose_json", "diarized_json", "rttm"):
        error = ask.refused("include[]", ("include[]", "logprobs"), response_format=format_)
        assert error["code"] == "unsupported_value"


@proves(TOGETHER, "`include[]=logprobs` and no WhisperX server that has them")
def _no_logprobs(ask: Asking) -> None:
    ask.standin.behave("ok", upstream_whisperx.transcription())
    response = ask.post(("include[]", "logprobs"))
    assert (response.status_code, "logprobs" in response.json()) == (503, False)


@proves(TOGETHER, "`stream=true` and `verbose_json`, `srt`, `vtt` or `rttm`")
def _unstreamed(ask: Asking) -> None:
    for format_ in ("verbose_json", "srt", "vtt", "rttm"):
        error = ask.refused("stream", stream="true", response_format=format_)
        assert error["code"] == "unsupported_value"


@proves(TOGETHER, "`stream=true` and `whisper-1`")
def _whisper_1(ask: Asking) -> None:
    for format_ in ("json", "verbose_json"):
        response = ask.post(stream="true", model="whisper-1", response_format=format_)
        assert response.json()["text"] == TEXT


@proves(TOGETHER, "a model named `diarize` without `chunking_strategy`")
def _no_chunking(ask: Asking) -> None:
    assert ask.post(model=DIARIZER, response_format="diarized_json").json()["segments"]


@proves(TOGETHER, "known speakers where no speakers are told")
def _known_and_no_speakers(ask: Asking) -> None:
    ask.more = [("known_speaker_references[]", REFERENCE)]
    error = ask.refused("known_speaker_names", ("known_speaker_names[]", "Ann"))
    assert error["code"] == "unsupported_value"


@proves(TOGETHER, "known speakers in JSON")
def _known_in_json(ask: Asking) -> None:
    names = {"input_audio": ask.audio(), "model": DIARIZER, "known_speaker_names": ["Ann"]}
    voice = f"data:audio/wav;base64,{ask.audio()['data']}"
    assert ask.json(**names, known_speaker_references=[voice]).ok
    assert ask.standin.received[-1].form()[0].getlist("known_speaker_names[]") == ["Ann"]
    refused = ask.json(**names, known_speaker_references=[5])
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "invalid_type")
    assert error["param"] == "known_speaker_references"


# Streams; tests/api/test_streams.py has the rest, and the comments' times.


@proves("Streams", "`transcript.text.delta`")
def _deltas(ask: Asking) -> None:
    events = [json.loads(line[6:]) for line in ask.events() if line.startswith(b"data: {")]
    deltas = [event for event in events if event["type"] == "transcript.text.delta"]
    assert "".join(event["delta"] for event in deltas) == TEXT
    assert all(set(event) == {"type", "delta"} for event in deltas)


@proves("Streams", "`transcript.text.segment`")
def _segments(ask: Asking) -> None:
    seen = b"".join(ask.events(response_format="diarized_json", model=DIARIZER))
    assert seen.count(b"transcript.text.segment") == 2
    assert b"transcript.text.segment" not in b"".join(ask.events(model=DIARIZER))


@proves("Streams", "`transcript.text.done`")
def _done(ask: Asking) -> None:
    done = json.loads(ask.events()[-2][6:])
    assert done == {
        "type": "transcript.text.done",
        "text": TEXT,
        "languages": [{"code": "en"}],
    }


@proves("Streams", "`[DONE]`")
def _the_end(ask: Asking) -> None:
    assert ask.events()[-1] == b"data: [DONE]"
    ask.standin.behave("cut", upstream_whisperx.stream(speakers=False)[:3])
    assert b"data: [DONE]" not in ask.events()


@proves("Streams", "a comment")
def _comment(ask: Asking) -> None:
    # tests/api/test_streams.py waits for some, with a shorter time.
    assert [line for line in ask.events() if line.startswith(b":")] == []
    ask.standin.behave("cut", upstream_whisperx.stream(speakers=False)[:1])
    response = ask.post(stream="true")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "upstream_unavailable")


@proves("Streams", "`error`")
def _error(ask: Asking) -> None:
    ask.standin.behave("cut", upstream_whisperx.stream(speakers=False)[:3])
    error = json.loads(ask.events()[-1][6:])["error"]
    assert error["code"] == "upstream_unavailable"
