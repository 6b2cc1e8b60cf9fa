"""The same upload again, which takes longer to come than work goes on without its client."""

import contextlib
import os
import signal
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from proxy_app.access.keys import Keys
from proxy_app.store import Store
from tests.api.conftest import Gateway, eventually, running
from tests.api.recordings import canonical_wav
from tests.api.test_attaching import (
    OPENAI,
    TEXT,
    WAV,
    WHERE,
    at_work,
    begin,
    connect,
    other,
    owner,
    send,
    text_of,
    wait_for,
)
from tests.standins.upstream_whisperx import StandIn

LINGER_S = 0.5
LONGER_S = 3 * LINGER_S
"""What is not over by then goes on."""
NAMED = {"Idempotency-Key": "mine"}


@pytest.fixture(scope="module")
def started(engine: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    state = tmp_path_factory.mktemp("slow")
    with running(state, engine.port, SPEECH_LINGER_S=str(LINGER_S)) as gateway:
        yield gateway


@pytest.fixture
def brief(started: Gateway, standin: StandIn) -> Iterator[Gateway]:
    """Two workers whose work soon ends with its client; every test leaves nothing."""
    assert eventually(lambda: len(started.workers()) == 2, within_s=60)
    standin.behave("hang")
    yield started
    standin.release.set()
    assert eventually(lambda: not started.files()), started.files()
    assert eventually(lambda: not at_work(started))
    assert eventually(lambda: not under_way(started)), "an upload that has come is waited for"


def under_way(gateway: Gateway) -> list[Path]:
    """The links of uploads that are being read."""
    return list((gateway.state / "running" / "arriving").iterdir())


class Slow:
    """A request whose body stops in the middle, until `finish`.

    Args:
        connection: to the worker that gets it.
        boundary: of its form.
        length: whether that is told, or the body comes in chunks.
    """

    def __init__(
        self,
        connection: HTTPConnection,
        path: str = OPENAI,
        *,
        wav: bytes = WAV,
        boundary: str = "b",
        length: bool = True,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._connection, self._is_chunked = connection, not length
        head = '--{}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        body = head.format(boundary).encode() + wav + f"\r\n--{boundary}--\r\n".encode()
        connection.putrequest("POST", path)
        connection.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
        if length:
            connection.putheader("Content-Length", str(len(body)))
        else:
            connection.putheader("Transfer-Encoding", "chunked")
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        self._rest = body[len(body) // 2 :]
        self._send(body[: len(body) // 2])

    def finish(self) -> None:
        """The other half of it."""
        self._send(self._rest)
        if self._is_chunked:
            self._connection.send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        if self._is_chunked:
            data = f"{len(data):x}\r\n".encode() + data + b"\r\n"
        self._connection.send(data)


def worker(gateway: Gateway, where: str) -> int:
    return owner(gateway) if where == "the same worker" else other(gateway)


def is_read(gateway: Gateway) -> bool:
    """Whether half an upload is there."""
    sizes = []
    for path in gateway.files():
        with contextlib.suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return any(0 < size < len(WAV) for size in sizes)


@pytest.mark.parametrize("path", [OPENAI, "/v1/audio/translations"])
@pytest.mark.parametrize("where", WHERE)
def test_the_same_upload_attaches_however_long_it_takes(
    brief: Gateway, standin: StandIn, where: str, path: str
) -> None:
    first = begin(brief, standin, path)
    with contextlib.closing(connect(brief, worker(brief, where))) as again:
        slow = Slow(again, path, boundary="c")
        assert eventually(lambda: under_way(brief))
        first.close()
        assert not standin.hung_up.wait(LONGER_S), "it ended while the same was on its way"
        slow.finish()
        assert eventually(lambda: not under_way(brief)), "it is waited for no more when it is there"
        assert not standin.hung_up.wait(LONGER_S)
        standin.release.set()
        assert text_of(again) == TEXT
    assert len(standin.received) == 1


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("length", [True, False])
def test_a_key_says_that_it_is_the_same_also_in_chunks(
    brief: Gateway, standin: StandIn, where: str, length: bool
) -> None:
    first = connect(brief)
    send(first, headers=NAMED)
    assert eventually(lambda: standin.received)
    with contextlib.closing(connect(brief, worker(brief, where))) as again:
        slow = Slow(again, boundary="longer", length=length, headers=NAMED)
        assert eventually(lambda: under_way(brief))
        first.close()
        assert not standin.hung_up.wait(LONGER_S), "it ended while the same was on its way"
        standin.release.set()
        slow.finish()
        assert text_of(again) == TEXT
    assert len(standin.received) == 1


@pytest.mark.parametrize(
    "asked",
    [
        {"boundary": "longer"},
        {"length": False},
        {"headers": {"Idempotency-Key": "another"}},
        {"headers": {"Authorization": "another"}},
        {"path": "/v1/audio/translations"},
    ],
)
def test_what_cannot_be_the_same_keeps_nothing_going(
    brief: Gateway, standin: StandIn, asked: dict[str, Any]
) -> None:
    if "Authorization" in asked.get("headers", {}):
        with contextlib.closing(Store(None, brief.state)) as store:
            key, _ = Keys(store).make("another")
        wait_for(brief, key)
        asked = {"headers": {"Authorization": f"Bearer {key}"}}
    first = begin(brief, standin)
    with contextlib.closing(connect(brief, owner(brief))) as second:
        Slow(second, **asked)
        assert eventually(lambda: is_read(brief))
        first.close()
        assert standin.hung_up.wait(20), "another upload keeps it going"


def test_what_has_the_same_length_and_is_not_the_same_ends_it_when_it_is_there(
    brief: Gateway, standin: StandIn
) -> None:
    first = begin(brief, standin)
    with contextlib.closing(connect(brief, other(brief))) as second:
        slow = Slow(second, wav=canonical_wav(5)[:-2] + b"\1\1")
        assert eventually(lambda: under_way(brief))
        first.close()
        assert not standin.hung_up.wait(LONGER_S)
        slow.finish()
        assert standin.hung_up.wait(20), "it goes on for nobody"
        assert eventually(lambda: len(standin.received) == 2)
        standin.release.set()
        assert text_of(second) == TEXT


def test_of_uploads_that_begin_too_late_none_is_waited_for(
    brief: Gateway, standin: StandIn
) -> None:
    first = begin(brief, standin)
    with (
        contextlib.closing(connect(brief)) as second,
        contextlib.closing(connect(brief)) as third,
    ):
        Slow(second)
        assert eventually(lambda: under_way(brief))
        first.close()
        assert not standin.hung_up.wait(LONGER_S)
        Slow(third)
        assert eventually(lambda: len(under_way(brief)) == 2)
        second.close()
        assert standin.hung_up.wait(20), "one after another keeps it going for ever"


def test_an_upload_that_breaks_off_or_is_killed_with_its_worker_keeps_nothing_going(
    brief: Gateway, standin: StandIn
) -> None:
    first = begin(brief, standin)
    killed = other(brief)
    with contextlib.closing(connect(brief, killed)) as second:
        Slow(second)
        assert eventually(lambda: under_way(brief))
        first.close()
        assert not standin.hung_up.wait(LONGER_S)
        os.kill(killed, signal.SIGKILL)
        assert standin.hung_up.wait(20), "it is waited for although it cannot come any more"
    (left,) = under_way(brief)
    assert eventually(lambda: len(set(brief.workers()) - {killed}) == 2, within_s=60)
    (new,) = set(brief.workers()) - {int(path.name.partition("-")[0]) for path in named(brief)}
    standin.release.set()
    with contextlib.closing(connect(brief, new)) as later:
        send(later)
        assert text_of(later) == TEXT
    assert not left.is_symlink(), "what a kill leaves adds up"


def named(gateway: Gateway) -> list[Path]:
    """The files of processes that have worked on something."""
    return list((gateway.state / "running").glob("*-*.socket"))
