"""What runs in Parakeet's process: two routes that pass requests on to the diarizer's process.

It imports neither torch nor NeMo and never raises: a diarizer that fails, hangs or runs out of
memory must not take Parakeet along.
"""

import asyncio
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn

from sortformer_refusals import RETRY_S, ClientLeftError, Refusal, too_large, unavailable
from sortformer_settings import (
    HEALTH_PATH,
    IDLE_S,
    PATH,
    Settings,
    log,
    prepare_folder,
)
from sortformer_supervisor import Supervisor

NO_ANSWER = (OSError, EOFError, ValueError, asyncio.TimeoutError)
"""What talking to the diarizer's process raises when it is not there or ends. In Python 3.10 the
last is a class of its own."""


def attach(app: Any, settings: Mapping[str, object] | None = None) -> None:  # noqa: ANN401
    """Add the diarizer to a FastAPI app. Never raises; what is wrong is logged and answered.

    Args:
        app: the app; nothing of FastAPI is imported before it is in a try.
        settings: SORTFORMER_* variables that go before those of the environment.
    """
    try:
        if not any(getattr(route, "path", None) == PATH for route in app.router.routes):
            _add_routes(app, _front(settings or {}))
    except Exception:  # Parakeet must start, whatever this is
        log.exception("Sortformer could not be attached; this server runs without it")


def _front(given: Mapping[str, object]) -> "Front":
    try:
        environment = {**os.environ, **{name: str(value) for name, value in given.items()}}
        settings = Settings.from_environment(environment)
        prepare_folder(settings.folder)
        supervisor = Supervisor(settings, environment)
        supervisor.start()
    except Exception as error:
        log.exception("Sortformer cannot be started")
        return Front(None, None, f"The diarizer cannot be started: {error}.")
    return Front(settings, supervisor, "")


@dataclass
class Front:
    """What the two routes do: pass on to the diarizer's process, and say so where they cannot."""

    settings: Settings | None
    supervisor: Supervisor | None
    broken: str

    async def diarize(self, request: Any) -> tuple[int, dict[str, str], bytes]:  # noqa: ANN401
        """The answer of POST /v1/audio/diarize: status, headers, JSON."""
        try:
            settings = self._usable()
            self._check_key(settings, request.headers.get("authorization", ""))
            length = request.headers.get("content-length", "")
            if length.isdecimal() and int(length) > settings.max_bytes:
                raise too_large(settings.max_bytes)
            return await self._forward(settings, request)
        except Refusal as refusal:
            return refusal.status, refusal.headers, refusal.body

    async def health(self) -> tuple[int, dict[str, str], bytes]:
        """The answer of GET /v1/audio/diarize/health: 200 only while the model can be used."""
        restarts = self.supervisor.restarts if self.supervisor else 0
        try:
            reader, writer = await self._connect(self._usable())
            try:
                writer.write(b"GET /health HTTP/1.1\r\nHost: diarizer\r\n\r\n")
                status, headers, body = await asyncio.wait_for(_read_answer(reader), 10)
            finally:
                writer.close()
            found = json.loads(body)
        except Refusal as refusal:
            status, headers = refusal.status, refusal.headers
            state = "broken" if self.broken else "restarting" if restarts else "starting"
            found = {"status": state, "detail": refusal.message}
        except NO_ANSWER:
            status, headers = 503, {"Retry-After": str(RETRY_S)}
            found = {"status": "unresponsive", "detail": "The diarizer's process does not answer."}
        return status, headers, json.dumps({**found, "restarts": restarts}).encode()

    def _usable(self) -> Settings:
        if self.settings is None:
            raise unavailable(self.broken)
        return self.settings

    def _check_key(self, settings: Settings, given: str) -> None:
        if settings.api_key_file is None:
            return
        try:
            key = settings.api_key_file.read_text().strip()
        except (OSError, UnicodeError):
            key = ""
        if not key:
            raise unavailable("The file of SORTFORMER_API_KEY_FILE cannot be read, or is empty.")
        if not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
            raise Refusal(
                401, "invalid_api_key", "A key is needed: send `Authorization: Bearer KEY`."
            )

    async def _connect(
        self, settings: Settings
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            opening = asyncio.open_unix_connection(str(settings.socket), limit=64 * 1024)
            return await asyncio.wait_for(opening, 10)
        except NO_ANSWER:
            said = self.supervisor.said if self.supervisor else ""
            raise unavailable(said) from None

    async def _forward(
        self,
        settings: Settings,
        request: Any,  # noqa: ANN401
    ) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await self._connect(settings)
        tasks: list[asyncio.Task[Any]] = []
        try:
            kind = request.headers.get("content-type", "")
            writer.write(
                f"POST {PATH} HTTP/1.1\r\nHost: diarizer\r\nContent-Type: {kind}\r\n"
                "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n".encode("latin-1")
            )
            # It looks for a place first, so that no body is read that is refused anyway.
            status, headers, body = await asyncio.wait_for(_read_answer(reader), IDLE_S)
            if status != HTTPStatus.CONTINUE:
                return status, headers, body
            answer = asyncio.ensure_future(_read_answer(reader))
            upload = asyncio.ensure_future(_send_body(request, writer))
            tasks = [answer, upload]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done() and not isinstance(upload.exception(), OSError):
                await upload
            return await answer
        except ClientLeftError:
            return 499, {}, b""  # to nobody
        except NO_ANSWER:
            raise unavailable(
                "The diarizer's process ended while it worked on this; it is started again."
            ) from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """One answer of our own server: status, the headers that are passed on, body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ")[1])
    fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(fields.get("content-length", "0")))
    passed_on = {"retry-after": "Retry-After"}
    return status, {passed_on[key]: fields[key] for key in passed_on if key in fields}, body


async def _send_body(request: Any, writer: asyncio.StreamWriter) -> NoReturn:  # noqa: ANN401
    """Pass the request's body on as it comes; then wait until the client leaves, and say so."""
    from starlette.requests import ClientDisconnect  # noqa: PLC0415 - in Parakeet's process only

    try:
        async for chunk in request.stream():
            if chunk:
                writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                await writer.drain()
    except ClientDisconnect:
        raise ClientLeftError from None
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    if (await request.receive())["type"] != "http.disconnect":
        # Some middleware plays the body back for ever; asking on would spin.
        await asyncio.Event().wait()
    raise ClientLeftError


def _add_routes(app: Any, front: Front) -> None:  # noqa: ANN401
    # Here, so that the annotations below are classes, which is what FastAPI looks for.
    from fastapi import Request, Response  # noqa: PLC0415 - in Parakeet's process only

    async def diarize(request: Request) -> Response:
        """Who speaks when: multipart `file`; {duration, speakers_detected, segments, model}."""
        status, headers, body = await front.diarize(request)
        return Response(body, status, headers, "application/json")

    async def diarize_health() -> Response:
        """Whether the diarizer can be used, and what it does."""
        status, headers, body = await front.health()
        return Response(body, status, headers, "application/json")

    file = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"file": file}, "required": ["file"]}
    described = {"requestBody": {"content": {"multipart/form-data": {"schema": form}}}}
    # By FastAPI's own way, so that the dependencies of the whole app (a key, say) hold here too.
    app.router.add_api_route(HEALTH_PATH, diarize_health, methods=["GET"], response_model=None)
    app.router.add_api_route(
        PATH, diarize, methods=["POST"], response_model=None, openapi_extra=described
    )
    # To the front: a catch-all route or a mount at / would otherwise be found first.
    routes = app.router.routes
    routes[:0] = [routes.pop(), routes.pop()]
