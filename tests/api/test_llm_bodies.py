"""Large requests to a language model: what they take of a worker, good ones and bad ones."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.api.conftest import eventually
from tests.api.llm import Talking, two_behind

MIB = 1024 * 1024
LENGTH = 40 * MIB
BEGINNING = b'{"messages":[{"role":"user","content":"a"}],"u":'
END = b',"model":"m"}'


def _filled(beginning: bytes, repeated: bytes, end: bytes) -> bytes:
    return beginning + repeated * (LENGTH // len(repeated)) + end


BODIES = {
    "a picture": (200, BEGINNING + b'"', b"A", b'"' + END),
    "no numbers": (200, BEGINNING + b"[", b"NaN,", b"1]" + END),
    "halves of letters": (200, BEGINNING + b'"', b"\\ud83d", b'"' + END),
    "small objects": (200, BEGINNING + b"[", b'{"a":[1]},', b"1]" + END),
    "blanks": (200, BEGINNING, b" ", b"1" + END),
    "garbage": (400, b"x", b"A", b""),
    "garbage at the end": (400, BEGINNING + b'"', b"A", b'",}'),
    "a list without end": (400, BEGINNING, b"[", b""),
    "a model's name": (200, b'{"model":"', b"A", b'"}'),
}


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talking]:
    with two_behind(tmp_path_factory.mktemp("llm"), SPEECH_WORKERS="1") as talking:
        yield talking


def _forget_peak(llm: Talking) -> int:
    """What the worker takes now, from which on its peak is measured anew."""
    (pid,) = llm.gateway.workers()
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _peak_bytes(llm)


def _peak_bytes(llm: Talking) -> int:
    (pid,) = llm.gateway.workers()
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.parametrize("kind", BODIES)
def test_a_large_body_takes_no_memory_of_a_worker(llm: Talking, kind: str) -> None:
    llm.reset()
    llm.first.behave("ok", {"id": "x"})
    llm.first.is_blind = True
    assert llm.ask().ok
    before = _forget_peak(llm)
    status, *parts = BODIES[kind]
    body = _filled(*parts)
    answer = llm.ask(body)
    assert answer.status_code == status, answer.text
    assert _peak_bytes(llm) - before < 8 * MIB
    if status == 200:
        assert llm.first.received[-1].body == body
    else:
        assert answer.json()["error"]["code"] == "invalid_json"
    assert eventually(lambda: not llm.gateway.files())


def test_many_large_bodies_at_the_same_time_leave_room_for_others(llm: Talking) -> None:
    llm.reset()
    assert llm.ask().ok
    before = _forget_peak(llm)
    body = _filled(BEGINNING + b"[", b"NaN,", b"}")
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(llm.ask, body) for _ in range(6)]
        while not all(one.done() for one in asked):
            assert llm.gateway.get("/livez").ok
        assert {one.result().status_code for one in asked} == {400}
    assert _peak_bytes(llm) - before < 16 * MIB
