"""Stand-in for a stranger's Parakeet: the main.py of a container that somebody else made.

What matters of it: a FastAPI `app`, started by `uvicorn main:app` or `python main.py`, with a
catch-all route. Its transcription says how many bytes came. Where STANDIN_KEY is set every route
of the app wants that key, by FastAPI's own means; where STANDIN_REPLAY is, it has a middleware that
reads every body and plays it back for ever, as code for logging bodies does.
"""

import os

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Request, UploadFile
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def check_key(authorization: str = Header("")) -> None:
    """A dependency of the whole app."""
    if os.environ.get("STANDIN_KEY", "") not in authorization:
        raise HTTPException(401)


app = FastAPI(dependencies=[Depends(check_key)])


@app.post("/v1/audio/transcriptions")
async def transcriptions(file: UploadFile) -> dict[str, str]:
    """A transcript of sorts."""
    return {"text": f"{len(await file.read())} bytes"}


@app.api_route("/{path:path}", methods=["GET", "POST"])
async def anything(path: str) -> dict[str, str]:
    """A route that matches every address."""
    return {"path": path}


class Replay:
    """ASGI middleware: the whole body, each time that somebody asks for a message."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, then pass the request on."""
        body = await Request(scope, receive).body() if scope["type"] == "http" else b""

        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again if scope["type"] == "http" else receive, send)


if "STANDIN_REPLAY" in os.environ:
    app.add_middleware(Replay)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="info")
