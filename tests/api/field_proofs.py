"""Proofs of docs/speech-to-text.md: what is sent, and the fields of each path."""

import gzip
import json

import requests
from requests_toolbelt import MultipartEncoder

from tests.api.field_lines import DIARIZER, REFERENCE, SERVER_VAD, SPEAKERS, TEXT, Asking, proves
from tests.api.recordings import canonical_wav, encoded

# What is sent.


@proves("What is sent", "multipart/form-data")
def _form(ask: Asking) -> None:
    for kind, name in (("application/octet-stream", "blob"), ("text/html", "x.exe"), ("", "a.mp3")):
        body = MultipartEncoder([("file", (name, canonical_wav(5), kind)), ("model", DIARIZER)])
        headers = {"Content-Type": body.content_type}
        url = ask.gateway.url + ask.path
        response = requests.post(url, data=body, headers=headers, timeout=20)
        assert response.json()["text"] == TEXT
        assert ask.standin.received[-1].path == SPEAKERS, "a model after the file was not read"


@proves("What is sent", "another file than the recording and the references")
def _another_file(ask: Asking) -> None:
    ask.more = [(f"other{number}", ("x.bin", b"\0" * 1000, "audio/wav")) for number in range(20)]
    assert ask.post().json()["text"] == TEXT
    ask.more = [("file", ("b.wav", canonical_wav(5), "audio/wav"))]
    ask.refused("file")
    reference = ("known_speaker_references[]", ("r.wav", canonical_wav(5), "audio/wav"))
    ask.more = [reference] * 5
    ask.refused("known_speaker_references")


@proves("What is sent", "the recording as a text")
def _recording_as_a_text(ask: Asking) -> None:
    for size in (9, 400_000):
        body = MultipartEncoder([("file", "x" * size)])
        headers = {"Content-Type": body.content_type}
        url = ask.gateway.url + ask.path
        error = requests.post(url, data=body, headers=headers, timeout=20).json()["error"]
        assert (error["code"], error["param"]) == ("missing_file", "file")


@proves("What is sent", "a text as a file")
def _text_as_a_file(ask: Asking) -> None:
    for name in (
        "model",
        "response_format",
        "timestamp_granularities[]",
        "chunking_strategy[type]",
    ):
        ask.more = [(name, ("blob", b"text", "text/plain"))]
        ask.refused(name.partition("[")[0])
    ask.more = [("user", ("blob", b"text", "text/plain"))]
    assert ask.post().ok
    ask.more = [("output", ("blob", b"srt", "text/plain"))]
    assert ask.post().ok
    asr(ask).refused("output")


@proves("What is sent", "a form that is broken")
def _broken(ask: Asking) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    head = 'Content-Disposition: form-data; name="file"'
    for body, why in (
        ("--c\r\n", "the boundary"),
        (f"--b\r\n{head}\r\n\r\nRIFF", "the body breaks off"),
        (f"--b\r\n{head};\r\n filename=a.wav\r\n\r\nRIFF\r\n--b--", "the headers of part 1"),
    ):
        response = requests.post(ask.gateway.url + ask.path, body, headers=headers, timeout=20)
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (400, "broken_body"), body
        assert f"The multipart body is malformed: {why}" in error["message"]


@proves("What is sent", "JSON with `input_audio`")
def _json(ask: Asking) -> None:
    more = {"model": "whisper-1", "language": "de", "keywords": ["Spark", "GB10"], "stream": False}
    response = ask.json(
        input_audio=ask.audio() | {"format": "mp3"},
        **more,
        temperature=0.4,
        chunking_strategy=SERVER_VAD,
        prompt=None,
    )
    assert response.json()["text"] == TEXT, response.text
    fields, wav = ask.standin.received[-1].form()
    assert wav == canonical_wav(5)
    assert (fields["language"], fields["temperature"]) == ("de", "0.4")
    assert fields.getlist("keywords[]") == ["Spark", "GB10"]
    assert fields["vad_threshold"] == "0.6"
    wrong = ask.json(input_audio=ask.audio(), response_format="docx")
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "response_format")


@proves("What is sent", "a member that comes twice in JSON")
def _member_twice(ask: Asking) -> None:
    last = {"input_audio": ask.audio(), "response_format": "text", "language": "de"}
    body = json.dumps(last)
    first = '{"response_format": "docx", "language": "klingon", "input_audio": 1, '
    headers = {"Content-Type": "application/json"}
    url = ask.gateway.url + ask.path
    response = requests.post(url, data=first + body[1:], headers=headers, timeout=20)
    assert (response.status_code, response.text.strip()) == (200, TEXT)
    fields, _wav = ask.standin.received[-1].form()
    assert fields["language"] == "de"


@proves("What is sent", "other JSON")
def _other_json(ask: Asking) -> None:
    for body, code in (
        ({"file": "x"}, "missing_file"),
        ({"input_audio": {"format": "wav"}}, "missing_file"),
        ({"input_audio": {"data": 5}}, "missing_file"),
        ({"input_audio": "UklGRg=="}, "invalid_type"),
        ([], "invalid_json"),
    ):
        response = requests.post(ask.gateway.url + ask.path, json=body, timeout=20)
        assert (response.status_code, response.json()["error"]["code"]) == (400, code), body
        assert "multipart/form-data" in response.json()["error"]["message"]


@proves("What is sent", "another content type")
def _other_type(ask: Asking) -> None:
    for kind in ("audio/wav", "application/x-www-form-urlencoded", "text/plain"):
        headers = {"Content-Type": kind}
        response = requests.post(
            ask.gateway.url + ask.path, data=canonical_wav(1), headers=headers, timeout=20
        )
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (415, "unsupported_media_type")
        assert "`file`" in error["message"]


@proves("What is sent", "a compressed body")
def _compressed(ask: Asking) -> None:
    body = gzip.compress(json.dumps({"input_audio": ask.audio()}).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    response = requests.post(ask.gateway.url + ask.path, data=body, headers=headers, timeout=20)
    assert response.status_code == 415
    assert response.json()["error"]["code"] == "unsupported_content_encoding"


# Transcriptions.


@proves("Transcriptions", "`file`")
def _file(ask: Asking) -> None:
    for codec, container in (
        *(("libmp3lame", "mp3"), ("aac", "mp4"), ("libopus", "ogg"), ("libopus", "webm")),
        *(("flac", "flac"), ("aac", "mov"), ("aac", "matroska"), ("libmp3lame", "avi")),
    ):
        response = ask.gateway.transcribe(encoded(codec, container))
        assert response.json().get("text") == TEXT, (container, response.text)


@proves("Transcriptions", "`model`")
def _model(ask: Asking) -> None:
    for model, path in (("whisper-1", ask.path), (DIARIZER, SPEAKERS), ("", ask.path)):
        assert ask.post(model=model).ok
        assert ask.standin.received[-1].path == path
    assert ask.post().ok


@proves("Transcriptions", "`language`")
def _language(ask: Asking) -> None:
    for said in ("de", "de-DE", "German"):
        assert ask.got(language=said)["language"] == "de"
    for said in ("", "auto"):
        assert "language" not in ask.got(language=said)
    ask.refused("language", language="klingon")


@proves("Transcriptions", "`languages[]`")
def _languages(ask: Asking) -> None:
    for pairs in (
        [("languages[]", "de"), ("languages[]", "English")],
        [("languages", "de"), ("languages", "en")],
        [("languages", "de, en")],
    ):
        assert ask.got(*pairs).getlist("languages[]") == ["de", "en"]
    both = ask.got(("languages[]", "de"), ("languages[]", "en"), language="en")
    assert both["language"] == "en"
    ask.refused("languages", ("languages[]", "de"), language="en")


@proves("Transcriptions", "`prompt`")
def _prompt(ask: Asking) -> None:
    assert ask.got(prompt="About Sparks.")["prompt"] == "About Sparks."
    ask.refused("prompt", prompt="x" * 10_001)
    ask.refused("prompt", prompt="About Sparks.", model=DIARIZER)
    assert ask.got(prompt="About Sparks.", response_format="diarized_json")["prompt"]
    assert ask.post(prompt="", model=DIARIZER).ok


@proves("Transcriptions", "`initial_prompt`")
def _initial_prompt(ask: Asking) -> None:
    assert ask.got(initial_prompt="About Sparks.")["prompt"] == "About Sparks."
    ask.refused("initial_prompt", initial_prompt="x" * 10_001)


@proves("Transcriptions", "`keywords[]`")
def _keywords(ask: Asking) -> None:
    for name in ("keywords", "keywords[]"):
        got = ask.got((name, '["Spark, DGX", "GB10", ""]'))
        assert got.getlist("keywords[]") == ["Spark, DGX", "GB10"]
    assert "keywords[]" not in ask.got(keywords="[]")
    for odd in ("[Spark]", "[5]", "[" * 90):
        assert ask.got(keywords=odd)["keywords[]"] == odd
    got = ask.got(("keywords[0]", "Spark"), ("keywords[1]", "GB10"), keywords="sm_121")
    assert got.getlist("keywords[]") == ["Spark", "GB10", "sm_121"]
    got = ask.got(("keywords[]", "Spark"), ("keywords[]", "GB10"), keywords="sm_121")
    assert got.getlist("keywords[]") == ["Spark", "GB10", "sm_121"]
    ask.refused("keywords", keywords=",".join("x" * 101))
    ask.refused("keywords", keywords="x" * 101)


@proves("Transcriptions", "`hotwords`")
def _hotwords(ask: Asking) -> None:
    assert ask.got(hotwords="Spark, GB10").getlist("keywords[]") == ["Spark", "GB10"]


@proves("Transcriptions", "`temperature`")
def _temperature(ask: Asking) -> None:
    assert ask.got(temperature="0.4")["temperature"] == "0.4"
    assert "temperature" not in ask.got(temperature="0")
    for wrong in ("1.1", "-1", "nan", "warm"):
        ask.refused("temperature", temperature=wrong)


@proves("Transcriptions", "`response_format`")
def _format(ask: Asking) -> None:
    assert ask.post(response_format="").json()["text"] == TEXT
    error = ask.refused("response_format", response_format="docx")
    listed = "'json', 'text', 'verbose_json', 'diarized_json', 'rttm', 'srt', 'vtt'"
    assert error["message"] == f"Invalid value: 'docx'. Supported values are: {listed}."


@proves("Transcriptions", "`timestamp_granularities[]`")
def _granularities(ask: Asking) -> None:
    def keys(*granularities: str) -> set[str]:
        pairs = [("timestamp_granularities[]", each) for each in granularities]
        answer = ask.post(*pairs, response_format="verbose_json").json()
        return {"words", "segments"} & set(answer)

    assert keys() == keys("segment") == {"segments"}
    assert keys("word") == {"words"}
    assert keys("word", "segment") == keys('["word", "segment"]') == {"words", "segments"}
    indexed = ("timestamp_granularities[0]", "word")
    assert "words" in ask.post(indexed, response_format="verbose_json").json()
    ask.refused("timestamp_granularities", ("timestamp_granularities", '["phoneme"]'))
    assert ask.post(("timestamp_granularities", "word")).json()["text"] == TEXT
    ask.refused("timestamp_granularities", ("timestamp_granularities[]", "phoneme"))


@proves("Transcriptions", "`include[]`")
def _include(ask: Asking) -> None:
    for name in ("include[]", "include", "include[0]"):
        assert ask.post((name, "logprobs")).json()["logprobs"]
    ask.refused("include[]", ("include[]", "segments"))


@proves("Transcriptions", "`stream`")
def _stream(ask: Asking) -> None:
    for yes in ("true", "1", "True"):
        assert ask.post(stream=yes).headers["Content-Type"].startswith("text/event-stream")
    for no in ("false", "0", "", "None"):
        assert ask.post(stream=no).json()["text"] == TEXT
    assert ask.post(stream="true", model="whisper-1").json()["text"] == TEXT
    ask.refused("stream", stream="perhaps")


@proves("Transcriptions", "`chunking_strategy`")
def _chunking(ask: Asking) -> None:
    for default in ("auto", "", json.dumps({"type": "auto"})):
        assert not [name for name in ask.got(chunking_strategy=default) if "vad" in name]
    parts = [(f"chunking_strategy[{name}]", str(value)) for name, value in SERVER_VAD.items()]
    for got in (ask.got(chunking_strategy=json.dumps(SERVER_VAD)), ask.got(*parts)):
        assert (got["vad_threshold"], got["vad_prefix_padding_s"]) == ("0.6", "0.25")
        assert "vad_silence_s" not in got
    for wrong in (
        *("manual", "[]", "5", "[" * 5000, '{"type": "server_vad"', '{"type": "other"}'),
        *('{"threshold": 0.5}', '{"type": "auto", "threshold": 0.5}'),
        *(
            f'{{"type": "server_vad", {part}}}'
            for part in (
                *('"threshold": 1.5', '"threshold": "x"', '"threshold": true', '"threshold": NaN'),
                *('"threshold": [1]', '"eagerness": "low"', '"prefix_padding_ms": 0.5'),
                *('"silence_duration_ms": -1', '"silence_duration_ms": 1e999'),
            )
        ),
    ):
        assert ask.refused("chunking_strategy", chunking_strategy=wrong)["code"] == "invalid_value"
    ask.refused("chunking_strategy", ("chunking_strategy[type]", "client_vad"))


@proves("Transcriptions", "`known_speaker_names[]`")
def _known_names(ask: Asking) -> None:
    ask.more = [("known_speaker_references[]", REFERENCE)]
    got = ask.got(("known_speaker_names[]", "Ann"), response_format="diarized_json")
    assert got.getlist("known_speaker_names[]") == ["Ann"]
    ask.more = [("known_speaker_references[0]", REFERENCE)]
    got = ask.got(("known_speaker_names[0]", "Ann"), response_format="diarized_json")
    assert got.getlist("known_speaker_names[]") == ["Ann"]


@proves("Transcriptions", "`known_speaker_references[]`")
def _known_references(ask: Asking) -> None:
    name = ("known_speaker_names[]", "Ann")
    ask.refused("known_speaker_references", name, response_format="diarized_json")
    ask.more = [("known_speaker_references[]", ("a.wav", canonical_wav(1), "audio/wav"))]
    ask.refused("known_speaker_references", name, response_format="diarized_json")
    ask.more = [("known_speaker_references[]", REFERENCE)]
    assert ask.got(name, response_format="diarized_json")


@proves("Transcriptions", "`num_speakers`")
def _num_speakers(ask: Asking) -> None:
    assert ask.got(num_speakers="2", response_format="diarized_json")["num_speakers"] == "2"
    assert "num_speakers" not in ask.got(num_speakers="2")
    for wrong in ("0", "51", "two", "00000000199", "000000001" + 5000 * "0", "9" * 5000):
        ask.refused("num_speakers", num_speakers=wrong)


@proves("Transcriptions", "`min_speakers`, `max_speakers`")
def _bounds(ask: Asking) -> None:
    got = ask.got(min_speakers="2", max_speakers="4", response_format="rttm")
    assert (got["min_speakers"], got["max_speakers"]) == ("2", "4")
    ask.refused("min_speakers", min_speakers="4", max_speakers="2")
    ask.refused("num_speakers", num_speakers="5", max_speakers="4")


@proves("Transcriptions", "any other field")
def _others(ask: Asking) -> None:
    others = ("vad_filter", "encode", "word_timestamps", "temperature_inc", "user", "x", "output")
    plain, got = ask.got(), ask.got(**dict.fromkeys(others, "x"))
    assert dict(plain) == dict(got)


# Translations.


def translating(ask: Asking) -> Asking:
    """The same of the other path."""
    ask.path = "/v1/audio/translations"
    return ask


@proves("Translations", "`file`, `prompt`, `keywords[]`, `temperature`, `chunking_strategy`")
def _translated(ask: Asking) -> None:
    vad = json.dumps(SERVER_VAD)
    got = translating(ask).got(
        prompt="Hm.", keywords="Spark", temperature="0.4", chunking_strategy=vad
    )
    assert (got["prompt"], got["keywords[]"], got["temperature"]) == ("Hm.", "Spark", "0.4")
    assert got["vad_threshold"] == "0.6"
    assert translating(ask).json(input_audio=ask.audio()).json()["text"] == TEXT


@proves("Translations", "`model`")
def _translating_model(ask: Asking) -> None:
    assert translating(ask).post(model="whisper-1").ok
    error = {"message": "It cannot.", "type": "invalid_request_error", "param": "model",
             "code": "model_cannot_translate"}  # fmt: skip
    ask.standin.behave("400", {"error": error})
    assert ask.post().json() == {"error": error}


@proves("Translations", "`language`")
def _translated_language(ask: Asking) -> None:
    assert translating(ask).got(language="German")["language"] == "de"


@proves("Translations", "`response_format`")
def _translated_format(ask: Asking) -> None:
    for format_ in ("json", "text", "srt", "vtt", "verbose_json"):
        assert "Good morning, all." in translating(ask).post(response_format=format_).text
    for format_ in ("diarized_json", "rttm", "docx"):
        ask.refused("response_format", response_format=format_)


@proves("Translations", "any other field")
def _translated_others(ask: Asking) -> None:
    others = ("stream", "include[]", "timestamp_granularities[]", "x")
    plain, got = translating(ask).got(), ask.got(**dict.fromkeys(others, "x"))
    assert dict(plain) == dict(got)


# /asr; tests/api/test_asr.py has the rest.


def asr(ask: Asking) -> Asking:
    """The same of that path."""
    ask.path, ask.file = "/asr", "audio_file"
    return ask


@proves("/asr", "`audio_file`")
def _audio_file(ask: Asking) -> None:
    assert asr(ask).post().json()["text"] == TEXT


@proves("/asr", "`diarize`, `enable_diarization`")
def _diarize(ask: Asking) -> None:
    for name in ("diarize", "enable_diarization"):
        answer = asr(ask).post(**{name: "true"}).json()
        assert [it["speaker"] for it in answer["segments"]] == ["SPEAKER_00", "SPEAKER_01"]
    assert "speaker" not in asr(ask).post().json()["segments"][0]


@proves("/asr", "`min_speakers`, `max_speakers`, `num_speakers`")
def _asr_speakers(ask: Asking) -> None:
    got = asr(ask).got(diarize="true", min_speakers="1", max_speakers="3", num_speakers="2")
    assert (got["min_speakers"], got["max_speakers"], got["num_speakers"]) == ("1", "3", "2")


@proves("/asr", "`language`, `initial_prompt`, `hotwords`, `model`")
def _asr_hints(ask: Asking) -> None:
    got = asr(ask).got(language="de", initial_prompt="Hm.", hotwords="A, B", model="large-v3")
    assert (got["language"], got["prompt"]) == ("de", "Hm.")
    assert got.getlist("keywords[]") == ["A", "B"]


@proves("/asr", "`return_speaker_embeddings`")
def _embeddings(ask: Asking) -> None:
    got = asr(ask).got(diarize="true", return_speaker_embeddings="true")
    assert got["speaker_embeddings"] == "true"
    assert "speaker_embeddings" not in asr(ask).got(diarize="true")


@proves("/asr", "`output`")
def _output(ask: Asking) -> None:
    begins = {"json": "{", "txt": "Hello.\n", "srt": "1\n", "vtt": "WEBVTT", "tsv": "start\tend"}
    for output, begin in begins.items():
        assert asr(ask).post(output=output).text.startswith(begin)
    ask.refused("output", output="docx")


@proves("/asr", "`task`")
def _task(ask: Asking) -> None:
    assert "speaker" not in asr(ask).post(task="translate", diarize="true").json()["segments"][0]
    assert ask.standin.received[-1].path == "/v1/audio/translations"
    ask.refused("task", task="summarise")


@proves("/asr", "`word_timestamps`")
def _word_timestamps(ask: Asking) -> None:
    answer = asr(ask).post(word_timestamps="true").json()
    assert answer["segments"][0]["words"] == answer["word_segments"][:1]


@proves("/asr", "`encode`, `vad_filter`, any other")
def _asr_others(ask: Asking) -> None:
    plain, got = asr(ask).got(), ask.got(encode="x", vad_filter="x", other="x")
    assert dict(plain) == dict(got)
