"""/v1/audio/speech: OpenAI's text to speech; and which voices there are, as clients ask for them.

What is wrong with a request is said in OpenAI's words. Fields that are not known are passed over.
"""

from __future__ import annotations

import base64
import errno
import json
import logging
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from proxy_app.api.relay import Relay, while_connected
from proxy_app.api.speaking import Speech, Wanted, aside, wav_file
from proxy_app.api.streams import HEARTBEAT_S
from proxy_app.api.uploads import SpoolingRequest
from proxy_app.api.voices import tts_models, voices
from proxy_app.api.wording import not_supported, out_of_bounds, too_long, wrong_type
from proxy_app.audio.encode import FORMATS
from proxy_app.errors import ApiError, BadRequestError, ClientGoneError, TooLargeError
from proxy_app.errors.translations import as_api_error
from proxy_app.gateway import current
from proxy_app.speech.aloud import plain
from proxy_app.telemetry.account import KEY

bp = Blueprint("openai_speech", __name__, url_prefix="/v1/audio")
log = logging.getLogger(__name__)

SPEEDS = (0.25, 4.0)
LONGEST_INSTRUCTIONS = 4096
STREAM_FORMATS = ("audio", "sse")
_BODY_BYTES = 256 * 1024
_CHARACTER_BYTES = 12
"""What a character takes in JSON at most."""
_SEND_BYTES = 64 * 1024
_END = b""
_LONE = re.compile("[\ud800-\udfff]")


@bp.post("/speech")
def speech() -> Response:
    """Say a text: `input`, `voice`, and optionally model, response_format, speed, stream_format."""
    wanted, streamed = _wanted(_json())
    work = Speech(current(), wanted, request.environ[KEY])
    if wanted.format.name == "wav" and not streamed:
        return _wav(work)
    run = _run
    if wanted.format.name == "wav":
        path = cast(SpoolingRequest, request).spool_path("speech.wav")
        run = partial(_run_wav, path)
    relay = Relay[bytes](request.environ, lambda put: run(work, put))
    pieces = _events(relay) if streamed else _sound(relay)
    try:
        first = next(pieces)
    except BaseException:
        relay.close()
        raise
    kind = "text/event-stream; charset=utf-8" if streamed else wanted.format.content_type
    response = Response(_with(first, pieces), content_type=kind)
    response.headers["X-Accel-Buffering"] = "no"  # nginx would keep it until it is complete
    cast(SpoolingRequest, request).keep()
    response.call_on_close(relay.close)
    response.call_on_close(cast(SpoolingRequest, request).end)
    return _told(response, work)


@bp.get("/voices")
def list_voices() -> Response:
    """`{"voices": [{"id", "name", "language", "service"}]}`, OpenAI's names among them."""
    return jsonify(
        voices=[
            {
                "id": voice.id,
                "name": voice.name,
                "language": voice.language or None,
                "service": service.name if service else None,
            }
            for service, voice in voices(current())
        ]
    )


@bp.get("/models")
def list_models() -> Response:
    """`{"models": [{"id", "name"}]}`: what `model` may be for speech."""
    return jsonify(models=[{"id": it.id, "name": it.id} for it in tts_models(current())])


class _Stream:
    """Hands on what comes."""

    def __init__(self, relay_put: Any) -> None:  # noqa: ANN401 - a method of Relay's queue
        self._put = relay_put
        self.told = False

    def begin(self, rate: int) -> None:
        """Nothing was heard of what went before."""

    def write(self, data: bytes) -> object:
        """Hand it on."""
        if data:
            self.told = True
            self._put(data)
        return None

    def replace(self, _file: bytes) -> None:
        """A whole file is made elsewhere."""
        raise AssertionError("a wav is no stream")


def _run(work: Speech, put: Any) -> None:  # noqa: ANN401 - as above
    work.run(_Stream(put))
    put(_END)


def _run_wav(path: Path, work: Speech, put: Any) -> None:  # noqa: ANN401 - as above
    """The whole file, once it is there."""
    wav_file(work, path)
    with path.open("rb") as file:
        while piece := file.read(_SEND_BYTES):
            put(piece)
    put(_END)


def _wav(work: Speech) -> Response:
    """A whole file with true sizes: clients read its header, and believe it."""
    spooled = cast(SpoolingRequest, request)
    path = spooled.spool_path("speech.wav")
    while_connected(request.environ, lambda: wav_file(work, path))
    file = path.open("rb")
    pieces = iter(lambda: file.read(_SEND_BYTES), b"")
    response = Response(pieces, content_type=FORMATS["wav"].content_type)
    response.content_length = path.stat().st_size
    spooled.keep()
    response.call_on_close(file.close)
    response.call_on_close(spooled.end)
    return _told(response, work)


def _told(response: Response, work: Speech) -> Response:
    """Who speaks, and with which voice: where a mood was missing it is another than was named."""
    if work.by:
        response.headers["x-served-by"] = work.by
    if work.voice:
        response.headers["x-voice"] = quote(work.voice, safe=" +:@/")
    return response


def _with(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from pieces


def _sound(relay: Relay[bytes]) -> Iterator[bytes]:
    """The sound itself. What fails after the first of it breaks the connection off.

    An end that looks like one would be kept: Open WebUI plays what it once got for ever.
    """
    is_begun = False
    try:
        while data := relay.get():
            yield data
            is_begun = True
    except Exception as error:
        if not is_begun:
            raise
        if not isinstance(error, ClientGoneError):
            log.warning("speech broke off: %s", as_api_error(error).message)
        # What gunicorn takes for a connection that is gone, and closes.
        raise ConnectionResetError(errno.ECONNRESET, "speech broke off") from None


def _events(relay: Relay[bytes]) -> Iterator[bytes]:
    """OpenAI's events, and comments where there is nothing to say for a while.

    Raises:
        Exception: what the work raised, or that the client hung up, before the first of them.
    """
    is_begun = False
    try:
        while (data := relay.get(HEARTBEAT_S)) != _END:
            yield b": ping\n\n" if data is None else _delta(data)
            is_begun = True
        yield _done()
    except Exception as error:
        if not is_begun:
            raise
        if isinstance(error, ClientGoneError):
            return
        yield _event({"error": as_api_error(error).body})


def _delta(sound: bytes) -> bytes:
    return _event({"type": "speech.audio.delta", "audio": base64.b64encode(sound).decode()})


def _done() -> bytes:
    """The end. Nothing here counts tokens, which OpenAI's clients want numbers of."""
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    return _event({"type": "speech.audio.done", "usage": usage})


def _event(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def _json() -> dict[str, Any]:
    """The request's JSON object.

    Raises:
        ApiError: it is none, is over the limit, or there are too many uploads.
    """
    if not request.is_json:
        sent = request.mimetype or "no content type"
        raise ApiError(
            f"Unsupported content type: '{sent[:100]}'. This API method only accepts "
            "'application/json' requests.",
            status=415,
            code="unsupported_content_type",
        )
    cast(SpoolingRequest, request).take_place()
    limit = current().config.voice_most_characters
    request.max_content_length = most = _BODY_BYTES + _CHARACTER_BYTES * limit
    body = bytearray()
    try:
        # Until there is no more: in one go a body in chunks would end at the limit, and not beyond.
        while piece := request.stream.read(_SEND_BYTES):
            body += piece
        given = json.loads(body)
    except RequestEntityTooLarge:
        raise TooLargeError(f"The request is over the limit of {most} bytes.") from None
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise BadRequestError(
            "We could not parse the JSON body of your request: expected an object with `input` and "
            "`voice`.",
            code="invalid_json",
        )
    return given


def _wanted(given: dict[str, Any]) -> tuple[Wanted, bool]:
    """What is asked for, and whether as events."""
    config = current().config
    text = _text(given, "input", most=config.voice_most_characters)
    voice = given.get("voice")
    if isinstance(voice, dict):
        voice = _text(voice, "id", shown="voice.id")
    else:
        voice = _text(given, "voice")
    instructions = _text(given, "instructions", default="", most=LONGEST_INSTRUCTIONS)
    format_ = _choice(given, "response_format", tuple(FORMATS), "mp3")
    wanted = Wanted(
        text=aside(len(text), lambda: plain(text, markup=config.voice_reads_markup)),
        model=_text(given, "model", default="").strip(),
        voice=voice.strip(),
        instructions=instructions,
        format=FORMATS[format_],
        speed=_speed(given.get("speed", 1.0)),
    )
    return wanted, _choice(given, "stream_format", STREAM_FORMATS, "audio") == "sse"


def _text(
    given: dict[str, Any],
    name: str,
    *,
    default: str | None = None,
    most: int = 1000,
    shown: str | None = None,
) -> str:
    shown = shown or name
    value = given.get(name)
    if value is None and default is not None:
        return default
    if value is None:
        raise BadRequestError(
            f"Missing required parameter: '{shown}'.",
            param=shown,
            code="missing_required_parameter",
        )
    if not isinstance(value, str):
        raise wrong_type(shown, "a string", value)
    if _LONE.search(value):
        raise BadRequestError(
            f"Invalid '{shown}': it has half a character (a lone surrogate, U+D800 to U+DFFF), "
            "which nobody can read.",
            param=shown,
        )
    if not value.strip() and default is None:
        raise BadRequestError(
            f"Invalid '{shown}': empty string. Expected a string with minimum length 1, but got an "
            "empty string instead.",
            param=shown,
            code="empty_string",
        )
    if len(value) > most:
        raise too_long(shown, len(value), most)
    return value


def _choice(given: dict[str, Any], name: str, choices: tuple[str, ...], default: str) -> str:
    value = given.get(name)
    if value is None:
        return default
    if value not in choices:
        raise not_supported(name, value, choices)
    return cast(str, value)


def _speed(value: object) -> float:
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type("speed", "a decimal", value)
    slowest, fastest = SPEEDS
    if slowest <= value <= fastest:
        return float(value)
    raise out_of_bounds("speed", value, SPEEDS)
