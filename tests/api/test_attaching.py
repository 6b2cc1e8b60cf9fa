"""A transcription outlives its client for a while, and the same upload again attaches to it."""

import contextlib
import io
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from itertools import chain
from pathlib import Path
from typing import Any

import openai
import pytest

from proxy_app.access.keys import Keys
from proxy_app.services import Places
from proxy_app.store import Store
from tests.api.conftest import Gateway, eventually, running
from tests.api.recordings import canonical_wav
from tests.api.test_streams import objects
from tests.standins.upstream_whisperx import StandIn

OPENAI = "/v1/audio/transcriptions"
OURS = "/api/audio/transcribe-with-speakers"
TEXT = "Hello. Good morning, all."
WAV = canonical_wav(5)
WHERE = ("the same worker", "the other worker")


@pytest.fixture(scope="module")
def started(engine: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Two workers whose work goes on for long; no socket's address is as long as their folder's."""
    state = tmp_path_factory.mktemp("lasting") / ("long" * 30)
    state.mkdir()
    with running(state, engine.port, SPEECH_LINGER_S="60") as gateway:
        yield gateway


@pytest.fixture
def lasting(started: Gateway, standin: StandIn) -> Iterator[Gateway]:
    """Every test leaves nothing that is worked on, nor any of its files."""
    assert eventually(lambda: len(started.workers()) == 2, within_s=60)
    yield started
    standin.release.set()
    standin.steps.release(1000)
    assert eventually(lambda: not started.files()), started.files()
    assert eventually(lambda: not at_work(started)), "it is kept although somebody got it"


def at_work(gateway: Gateway) -> list[Path]:
    """The links of what is worked on, or kept for who comes back."""
    return [path for path in (gateway.state / "running").iterdir() if path.is_symlink()]


def owner(gateway: Gateway) -> int:
    """The worker that does the only work there is."""
    (path,) = at_work(gateway)
    return int(path.readlink().name.partition("-")[0])


def other(gateway: Gateway) -> int:
    (found,) = set(gateway.workers()) - {owner(gateway)}
    return found


def followers(gateway: Gateway) -> int:
    """How many follow work of another worker: connections that were accepted."""
    sockets = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    names = {path.name for path in (gateway.state / "running").glob("*.socket")}
    return sum(len(s) == 8 and s[5] == "03" and Path(s[7]).name in names for s in sockets)


@contextlib.contextmanager
def stopped(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def connect(gateway: Gateway, worker: int | None = None) -> HTTPConnection:
    """A connection, to a certain worker where one is named."""
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    others = [pid for pid in gateway.workers() if worker and pid != worker]
    with stopped(*others):
        connection.request("GET", "/livez")
        assert connection.getresponse().read() == b"ok\n"
    return connection


def looked_at(gateway: Gateway, count: int, *workers: int) -> None:
    """Wait until so many uploads are there as a whole, and their workers have gone on with them."""
    assert eventually(lambda: len(uploads(gateway)) >= count, within_s=60), "it was not sent"
    for worker in workers:
        for _ in range(3):
            connect(gateway, worker).close()


def send(
    connection: HTTPConnection,
    path: str = OPENAI,
    /,
    wav: bytes = WAV,
    headers: dict[str, str] | None = None,
    **fields: str,
) -> None:
    """Upload a recording; the answer is to be read, or not."""
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    parts.append('--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n')
    body = "".join(parts).encode() + wav + b"\r\n--b--\r\n"
    multipart = {"Content-Type": "multipart/form-data; boundary=b"}
    connection.request("POST", path, body, multipart | (headers or {}))


def text_of(connection: HTTPConnection) -> str:
    """The text of a plain answer."""
    response = connection.getresponse()
    answer = json.loads(response.read())
    assert response.status == 200, answer
    text: str = answer["text"]
    return text


def lines_of(response: HTTPResponse) -> Iterator[bytes]:
    while line := response.readline():
        yield line.rstrip()


def begin(gateway: Gateway, standin: StandIn, path: str = OPENAI, **fields: str) -> HTTPConnection:
    """A client whose recording the engine has."""
    connection = connect(gateway)
    send(connection, path, WAV, None, **fields)
    assert eventually(lambda: standin.received)
    return connection


@pytest.mark.parametrize("where", WHERE)
def test_openais_client_that_gave_up_waiting_gets_the_answer_to_its_first_try(
    lasting: Gateway, standin: StandIn, where: str
) -> None:
    standin.behave("hang")
    file = io.BytesIO(WAV)
    file.name = "a.wav"
    with (
        openai.OpenAI(
            base_url=f"{lasting.url}/v1", api_key="none", timeout=1, max_retries=2
        ) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        answer = pool.submit(
            client.audio.transcriptions.create, file=file, model="whisper-1", language="en"
        )
        assert eventually(lambda: standin.received)
        if where == "the same worker":
            with stopped(other(lasting)):
                assert eventually(lambda: uploads(lasting)), "it did not try again"
                for _ in range(3):
                    lasting.get("/livez")
                standin.release.set()
                assert answer.result().text == TEXT
        else:
            with stopped(owner(lasting)):
                assert eventually(lambda: len(lasting.files()) > 1), "it did not try again"
            assert eventually(lambda: followers(lasting))
            standin.release.set()
            assert answer.result().text == TEXT
    assert len(standin.received) == 1, "the engine got the recording again"


@pytest.mark.parametrize("path", [OPENAI, "/v1/audio/translations", OURS])
@pytest.mark.parametrize("where", WHERE)
def test_every_request_for_a_transcript_goes_on_without_its_client(
    lasting: Gateway, standin: StandIn, path: str, where: str
) -> None:
    standin.behave("hang")
    begin(lasting, standin, path).close()
    worker = owner(lasting) if where == "the same worker" else other(lasting)
    with contextlib.closing(connect(lasting, worker)) as again:
        send(again, path)
        looked_at(lasting, 1, worker)
        standin.release.set()
        response = again.getresponse()
        assert (response.status, response.headers["x-served-by"]) == (200, "whisperx")
        assert b"Good morning" in response.read()
    assert len(standin.received) == 1


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("path", [OPENAI, OURS])
def test_a_stream_that_is_asked_for_again_has_everything_from_the_beginning(
    lasting: Gateway, standin: StandIn, path: str, where: str
) -> None:
    standin.behave("stepwise")
    standin.steps.release(2)
    first = begin(lasting, standin, path, stream="true")
    response = first.getresponse()
    assert "Hello" in next(line for line in lines_of(response) if b"Hello" in line).decode()
    worker = owner(lasting) if where == "the same worker" else other(lasting)
    response.close()
    first.close()
    with contextlib.closing(connect(lasting, worker)) as again:
        send(again, path, stream="true")
        coming = lines_of(again.getresponse())
        early: list[bytes] = []
        while not early or b"Hello" not in early[-1]:
            early.append(next(coming))
        standin.steps.release(9)
        if path == OPENAI:
            *events, done, end = objects(chain(early, coming))
            assert "".join(event["delta"] for event in events) == done["text"] == TEXT
            assert end == "[DONE]"
        else:
            kinds = [json.loads(line)["type"] for line in chain(early, coming)]
            texts = [kind for kind in kinds if kind != "progress"]
            assert texts == ["segments", "segments", "speakers", "speakers", "end"]
    assert len(standin.received) == 1


def test_a_result_that_nobody_took_is_kept_for_who_comes_back_and_only_once(
    lasting: Gateway, standin: StandIn
) -> None:
    standin.behave("hang")
    begin(lasting, standin).close()
    worker = other(lasting)
    # Its files go with its end, which nobody waits for.
    assert eventually(lambda: any("audio" in path.name for path in lasting.files()))
    standin.release.set()
    assert eventually(lambda: not lasting.files())
    for received in (1, 2):
        with contextlib.closing(connect(lasting, worker)) as again:
            send(again)
            assert text_of(again) == TEXT
        assert len(standin.received) == received
        assert eventually(lambda: not at_work(lasting))


def test_a_hundred_of_the_same_at_once_are_one_piece_of_work(
    lasting: Gateway, standin: StandIn
) -> None:
    standin.behave("hang")
    before = audio_seconds(lasting)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(connect(lasting))) for _ in range(100)]
        for client in clients:
            send(client)
        looked_at(lasting, 99, *lasting.workers())
        standin.release.set()
        assert {text_of(client) for client in clients} == {TEXT}
    assert len(standin.received) == 1
    assert eventually(lambda: audio_seconds(lasting) == before + 5), "one of them bears the costs"


def accepts(pid: int) -> bool:
    """Whether a process has a listening TCP socket open."""
    inodes = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A":
            inodes.add(f"socket:[{fields[9]}]")
    with contextlib.suppress(FileNotFoundError):
        return any(link.readlink().name in inodes for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


def uploads(gateway: Gateway) -> list[Path]:
    """Those that are there as a whole; that of the one at work is gone when it is decoded."""
    found = []
    for path in gateway.files():
        with contextlib.suppress(FileNotFoundError):
            if "upload" in path.name and path.stat().st_size == len(WAV):
                found.append(path)
    return found


def audio_seconds(gateway: Gateway) -> float:
    found = gateway.get("/metrics").text.splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in found
        if line.startswith("speech_audio_seconds_total{")
    )


def test_when_the_worker_is_killed_who_waits_elsewhere_begins_anew(
    lasting: Gateway, standin: StandIn
) -> None:
    standin.behave("hang")
    first, killed = begin(lasting, standin), owner(lasting)
    with contextlib.closing(first), contextlib.closing(connect(lasting, other(lasting))) as second:
        send(second)
        assert eventually(lambda: followers(lasting) == 1)
        os.kill(killed, signal.SIGKILL)
        assert eventually(lambda: len(standin.received) == 2), "nobody went on"
        assert owner(lasting) != killed
        standin.release.set()
        assert text_of(second) == TEXT
        with pytest.raises(ConnectionError):
            first.getresponse()
    assert eventually(lambda: len(set(lasting.workers()) - {killed}) == 2, within_s=60)
    with contextlib.closing(connect(lasting)) as later:
        send(later)
        assert text_of(later) == TEXT


def test_a_worker_that_is_told_to_end_finishes_what_others_wait_for(
    lasting: Gateway, standin: StandIn
) -> None:
    standin.behave("hang")
    first, ended = begin(lasting, standin), owner(lasting)
    with contextlib.closing(connect(lasting, other(lasting))) as second:
        send(second)
        assert eventually(lambda: followers(lasting) == 1)
        first.close()
        os.kill(ended, signal.SIGTERM)
        assert eventually(lambda: not accepts(ended)), "it still takes requests"
        standin.release.set()
        assert text_of(second) == TEXT
    assert len(standin.received) == 1
    assert eventually(lambda: ended not in lasting.workers(), within_s=30)


def wait_for(gateway: Gateway, key: str) -> None:
    """Until a key is let in by all workers: it is known, and not at work."""
    for worker in gateway.workers():
        with contextlib.closing(connect(gateway, worker)) as connection:

            def is_let_in(connection: HTTPConnection = connection) -> bool:
                connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
                response = connection.getresponse()
                return bool(response.read()) and response.status == 200

            assert eventually(is_let_in, within_s=20)


def wait_for_received(standin: StandIn, count: int) -> None:
    assert eventually(lambda: len(standin.received) == count)


@pytest.mark.parametrize("named", [None, "mine"])
def test_another_key_shares_nothing(lasting: Gateway, standin: StandIn, named: str | None) -> None:
    with contextlib.closing(Store(None, lasting.state)) as store:
        made = [Keys(store).make(f"{named} {number}")[0] for number in range(2)]
    for key in made:
        wait_for(lasting, key)
    standin.behave("hang")
    more = {"Idempotency-Key": named} if named else {}
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(connect(lasting))) for _ in range(3)]
        for number, client in enumerate(clients):
            by_key = {"Authorization": f"Bearer {made[number]}"} if number < 2 else {}
            send(client, headers=by_key | more)
            wait_for_received(standin, number + 1)
        standin.release.set()
        assert [text_of(client) for client in clients] == [TEXT] * 3


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (OPENAI, {"language": "de"}),
        (OPENAI, {"response_format": "diarized_json"}),
        (OPENAI, {"stream": "true"}),
        (OPENAI, {"wav": canonical_wav(4)}),
        (OPENAI, {"headers": {"Idempotency-Key": "another"}}),
        (OURS, {}),
    ],
)
def test_what_asks_for_something_else_shares_nothing(
    lasting: Gateway, standin: StandIn, path: str, more: dict[str, Any]
) -> None:
    standin.behave("hang")
    with (
        contextlib.closing(begin(lasting, standin)) as first,
        contextlib.closing(connect(lasting)) as second,
    ):
        send(second, path, **more)
        assert eventually(lambda: len(standin.received) == 2)
        standin.release.set()
        assert text_of(first) == TEXT
        second.getresponse().read()


@pytest.mark.parametrize("where", WHERE)
def test_an_idempotency_key_is_for_one_content(
    lasting: Gateway, standin: StandIn, where: str
) -> None:
    standin.behave("hang")
    named = {"Idempotency-Key": "ours"}
    with contextlib.closing(connect(lasting)) as first:
        send(first, headers=named)
        assert eventually(lambda: standin.received)
        worker = owner(lasting) if where == "the same worker" else other(lasting)
        for more in ({"wav": canonical_wav(4)}, {"language": "de"}):
            with contextlib.closing(connect(lasting, worker)) as second:
                send(second, headers=named, **more)
                response = second.getresponse()
                error = json.loads(response.read())["error"]
            assert (response.status, error["code"]) == (422, "idempotency_key_reused")
            assert error["param"] == "Idempotency-Key"
            assert response.headers["x-should-retry"] == "false"
        assert eventually(lambda: not uploads(lasting)), "what was refused goes"
        with contextlib.closing(connect(lasting, worker)) as third:
            send(third, headers=named)
            looked_at(lasting, 1, worker)
            standin.release.set()
            assert [text_of(first), text_of(third)] == [TEXT] * 2
    assert len(standin.received) == 1


def test_an_error_is_told_to_all_who_wait_and_kept_for_nobody(
    lasting: Gateway, standin: StandIn
) -> None:
    standin.behave("hang", b"no JSON")
    first = begin(lasting, standin)
    with (
        contextlib.closing(first),
        contextlib.closing(connect(lasting, owner(lasting))) as second,
        contextlib.closing(connect(lasting, other(lasting))) as third,
    ):
        send(second)
        send(third)
        looked_at(lasting, 2, owner(lasting))
        assert eventually(lambda: followers(lasting) == 1)
        standin.release.set()
        for client in (first, second, third):
            response = client.getresponse()
            error = json.loads(response.read())["error"]
            assert (response.status, error["code"]) == (503, "upstream_unavailable")
            assert response.headers["Retry-After"] == "60"
    assert len(standin.received) == 1
    assert eventually(lambda: not at_work(lasting))
    standin.behave("ok")
    with contextlib.closing(connect(lasting)) as again:
        send(again)
        assert text_of(again) == TEXT


def test_a_worker_that_does_not_answer_is_waited_for_no_longer(
    lasting: Gateway, standin: StandIn
) -> None:
    standin.behave("hang")
    with contextlib.closing(begin(lasting, standin)) as first:
        second, stuck = connect(lasting, other(lasting)), owner(lasting)
        with contextlib.closing(second), stopped(stuck):
            send(second)
            assert eventually(lambda: len(standin.received) == 2, within_s=30)
            standin.release.set()
            assert text_of(second) == TEXT
        assert text_of(first) == TEXT


@pytest.mark.parametrize("stream", ["false", "true"])
def test_if_nobody_comes_back_it_ends_and_gives_everything_back(
    standin: StandIn, tmp_path: Path, stream: str
) -> None:
    standin.behave("stepwise" if stream == "true" else "hang")
    with running(tmp_path, standin.port, SPEECH_LINGER_S="0.5") as gateway:
        places = Places(tmp_path / "places")
        begin(gateway, standin, stream=stream).close()
        assert places.held("whisperx") == 1
        assert standin.hung_up.wait(20), "the engine goes on for nobody"
        assert eventually(lambda: not places.held("whisperx"))
        assert eventually(lambda: not gateway.files() and not at_work(gateway))


@pytest.mark.parametrize("stream", ["false", "true"])
def test_with_0_seconds_it_ends_with_its_client(
    gateway: Gateway, standin: StandIn, stream: str
) -> None:
    standin.behave("stepwise" if stream == "true" else "hang")
    begin(gateway, standin, stream=stream).close()
    assert standin.hung_up.wait(10)
    assert eventually(lambda: not at_work(gateway))


def test_of_what_one_key_leaves_behind_the_oldest_ends(standin: StandIn, tmp_path: Path) -> None:
    standin.behave("hang")
    settings = {"SPEECH_LINGER_S": "60", "SPEECH_WORKERS": "1"}
    with running(tmp_path, standin.port, **settings) as gateway:
        with contextlib.closing(Store(None, gateway.state)) as store:
            key, _ = Keys(store).make("one at a time", max_in_flight=1)
        for number in range(2):
            wait_for(gateway, key)
            with contextlib.closing(connect(gateway)) as client:
                by_key = {"Authorization": f"Bearer {key}"}
                send(client, wav=canonical_wav(number + 1), headers=by_key)
                wait_for_received(standin, number + 1)
        assert standin.hung_up.wait(10), "it has more at work than it may"
        assert eventually(lambda: standin.working == 1)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("fields", [{}, {"stream": "true"}])
def test_what_runs_for_a_key_ends_for_good_when_it_was_revoked(
    lasting: Gateway, standin: StandIn, where: str, fields: dict[str, str]
) -> None:
    standin.behave("hang")
    with contextlib.closing(Store(None, lasting.state)) as store:
        keys = Keys(store)
        key, known = keys.make(f"to be revoked {where} {fields}")
        wait_for(lasting, key)
        by_key = {"Authorization": f"Bearer {key}"}
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(contextlib.closing(connect(lasting)))
            send(first, OPENAI, WAV, by_key, **fields)
            wait_for_received(standin, 1)
            worker = owner(lasting) if where == "the same worker" else other(lasting)
            second = stack.enter_context(contextlib.closing(connect(lasting, worker)))
            send(second, OPENAI, WAV, by_key, **fields)
            looked_at(lasting, 1, worker)
            keys.revoke(known.id)
            for client in (first, second):
                answer = client.getresponse()
                error = json.loads(answer.read().removeprefix(b"data: "))["error"]
                assert error["code"] == "invalid_api_key"
                assert answer.status == 401
    assert standin.hung_up.wait(10), "it goes on for a key that is none any more"
    assert len(standin.received) == 1


def test_text_without_end_is_not_kept_without_end(standin: StandIn, tmp_path: Path) -> None:
    standin.behave("flood")
    settings = {"SPEECH_LINGER_S": "60", "SPEECH_WORKERS": "1"}
    with running(tmp_path, standin.port, **settings) as gateway:
        begin(gateway, standin, stream="true").close()
        assert standin.hung_up.wait(60), "it is taken for nobody"
        assert standin.flooded < 200_000_000
        assert eventually(lambda: not gateway.files() and not at_work(gateway))
