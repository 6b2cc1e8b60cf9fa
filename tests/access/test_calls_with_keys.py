"""API keys at a gateway as people run it, with two workers."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest

from proxy_app.access import Keys
from proxy_app.store import Store
from tests.api.conftest import eventually
from tests.api.llm import Talking, question, two_behind


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talking]:
    with two_behind(tmp_path_factory.mktemp("calls")) as talking:
        yield talking


@pytest.fixture
def narrow(llm: Talking) -> Iterator[dict[str, str]]:
    """The header of a key that may have one request at a time."""
    with contextlib.closing(Store(None, llm.gateway.state)) as store:
        key, known = Keys(store).make("narrow", max_in_flight=1)
        header = {"Authorization": f"Bearer {key}"}
        assert eventually(lambda: llm.ask(b"", headers=header).status_code not in (401, 429))
        yield header
        Keys(store).revoke(known.id)
    llm.reset()


def test_one_call_after_the_other_is_never_too_many_at_once(
    llm: Talking, narrow: dict[str, str]
) -> None:
    # As people meet it: without the wait some runs fail. tests/access/test_keys.py makes it sure.
    statuses = []
    coming = llm.gateway.connect()
    for number in range(600):  # each on a connection of its own, to whichever worker
        here, coming = coming, llm.gateway.connect()  # the next one waits for nothing but its turn
        with here:
            here.sendall(call(number, narrow["Authorization"]))
            statuses.append(status_at_the_end(here))
    coming.close()
    assert statuses == [200] * 600


def call(number: int, key: str) -> bytes:
    """A look at the list, or a chat as a stream."""
    head = f"Host: localhost\r\nAuthorization: {key}\r\n"
    if number % 2:
        return f"GET /v1/models HTTP/1.1\r\n{head}\r\n".encode()
    body = json.dumps(question(stream=True))
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n{body}".encode()


def status_at_the_end(client: socket.socket) -> int:
    """An answer's status, at the very moment when its last byte is here."""
    answer = HTTPResponse(client)
    answer.begin()
    answer.read()
    return answer.status


def test_a_call_beside_one_that_goes_on_is_one_too_many(
    llm: Talking, narrow: dict[str, str]
) -> None:
    llm.first.behave("stepwise")
    llm.first.steps.release()
    with llm.ask(stream=True, headers=narrow) as answer:
        assert answer.status_code == 200
        for _ in range(3):
            refused = llm.ask(headers=narrow)
            assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
            assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        llm.first.steps.release(1000)
        assert answer.content.endswith(b"data: [DONE]\n\n")
    llm.first.behave("ok")
    assert llm.ask(headers=narrow).status_code == 200
