"""A gateway in front of two stand-ins for LLM servers."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import requests

from tests.api.conftest import Gateway, free_port, running
from tests.standins.upstream_llm import StandInLLM

KEY = "upstreams-own-key"
CHAT = "/v1/chat/completions"
_numbers = count()


def question(text: str = "one two three", **more: object) -> dict[str, Any]:
    """A chat's body."""
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **more}


@dataclass
class Talking:
    """The gateway and what is behind it; only `first` is registered at first."""

    gateway: Gateway
    first: StandInLLM
    second: StandInLLM

    @property
    def folder(self) -> Path:
        return self.gateway.state / "services.d"

    def register(self, name: str, port: int, *, key: str = KEY, **fields: object) -> None:
        """As a playbook does; with a number, so that nothing is remembered of one before."""
        registration = {
            "kind": "llm",
            "api": "openai",
            "base_url": f"http://127.0.0.1:{port}",
            "host": f"spark{next(_numbers)}",
            "api_key_file": f"{name}.key",
            **fields,
        }
        self.folder.mkdir(exist_ok=True)
        (self.folder / f"{name}.key").write_text(key)
        (self.folder / f"{name}.new").write_text(json.dumps(registration))
        (self.folder / f"{name}.new").replace(self.folder / f"{name}.json")

    def register_both(self) -> None:
        """Let a second one be there."""
        self.register("second", self.second.port)

    def stop(self, name: str) -> None:
        """Nobody listens there any more."""
        self.register(name, free_port())

    def ask(
        self,
        body: object = None,
        path: str = CHAT,
        *,
        stream: bool = False,
        headers: dict[str, str] | None = None,
    ) -> requests.Response:
        """Post JSON; with `stream` the answer is not read yet, and has to be closed."""
        sent = (question(stream=True) if stream else question()) if body is None else body
        data = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
        named = {"Content-Type": "application/json"} | (headers or {})
        url = self.gateway.url + path
        return requests.post(url, data=data, headers=named, stream=stream, timeout=20)

    def reset(self) -> None:
        for standin in (self.first, self.second):
            standin.release.set()
            standin.reset()
        for path in self.folder.glob("*.json"):
            path.unlink()
        self.register("first", self.first.port)


@contextlib.contextmanager
def two_behind(state: Path, **settings: str) -> Iterator[Talking]:
    """Start all of them."""
    with (
        StandInLLM() as first,
        StandInLLM() as second,
        running(state, 1, WHISPERX_HOST="", **settings) as gateway,
    ):
        talking = Talking(gateway, first, second)
        talking.reset()
        yield talking
