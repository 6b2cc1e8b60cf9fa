"""Members of a JSON object in a file, however long it is and wherever its pieces end."""

import io
import json
import time
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_app.api.json_members import NoObjectError, Span, Wanted, members

MODEL = Wanted("model")
_NAMES = ("model", "mode", "models", "", "a\\", 'mo"del', "möde\n")
_ALL = Wanted(*_NAMES)
MIB = 1024 * 1024
_TEXTS = st.text('ab"\\/\n\x01é\U0001f600\ud83d', max_size=5)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)
_OBJECTS = st.dictionaries(st.sampled_from(_NAMES), _VALUES)
_NOISE = st.text('{}[]",:\\ 0-e.tNu\x01\n', max_size=3)
_PIECES = st.integers(1, 99)


class _Dribble(io.BytesIO):
    """A file that gives so few bytes at a time as it was told."""

    def __init__(self, text: bytes, size: int) -> None:
        super().__init__(text)
        self._size = size

    def read(self, _size: int | None = -1) -> bytes:
        return super().read(self._size)


class _Long(io.RawIOBase):
    """A file with so many bytes between its beginning and its end, which nobody has in memory."""

    def __init__(self, beginning: bytes, repeated: bytes, count: int, end: bytes) -> None:
        super().__init__()
        self._pieces = self._all(beginning, repeated, count, end)
        self._left = b""

    @staticmethod
    def _all(beginning: bytes, repeated: bytes, count: int, end: bytes) -> Iterator[bytes]:
        yield beginning
        at_once = 100_000 // len(repeated)
        yield from (repeated * at_once for _ in range(count // at_once))
        yield end

    def read(self, size: int = -1) -> bytes:
        while len(self._left) < size and (piece := next(self._pieces, b"")):
            self._left += piece
        given, self._left = self._left[:size], self._left[size:]
        return given


@given(_OBJECTS, st.booleans(), st.sampled_from([None, 1]), _PIECES)
def test_every_object_is_read_and_its_members_found(
    value: dict[str, object], ascii_only: bool, indent: int | None, size: int
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode(errors="surrogatepass")
    spans = members(_Dribble(text, size), _ALL)
    read = {name: json.loads(text[span.start : span.end]) for name, span in spans.items()}
    assert repr(read) == repr(json.loads(text))  # which knows what is no number


@given(_OBJECTS, st.data(), _NOISE, _PIECES)
def test_what_is_no_object_is_refused_and_nothing_else(
    value: dict[str, object], data: st.DataObject, noise: str, size: int
) -> None:
    whole = json.dumps(value)
    at = data.draw(st.integers(0, len(whole)))
    cut = data.draw(st.integers(at, min(len(whole), at + 2)))
    text = whole[:at] + noise + whole[cut:]
    try:
        is_object = isinstance(json.loads(text, strict=False), dict)
    except ValueError:
        is_object = False
    try:
        members(_Dribble(text.encode(), size), MODEL)
    except NoObjectError:
        assert not is_object, text
    else:
        assert is_object, text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"model": 1, "model" :"m" }', b'"m"'),
        (b'\xef\xbb\xbf{"a":[{"model":1}],"\\u006dodel":[1, {"b": 2}] ,"c":{}}', b'[1, {"b": 2}]'),
        (b' {"model\xff":1}', None),
        (b'{"' + b"x" * 9000 + b'":1,"model":2}', b"2"),
        (b'{"a":1,"' + b"x" * 9000 + b'":{"model":3}}', None),
    ],
)
def test_a_member_is_the_last_of_its_name_in_the_outermost_object(
    text: bytes, found: bytes | None
) -> None:
    span = members(io.BytesIO(text), MODEL).get("model")
    assert (span and text[span.start : span.end]) == found


@pytest.mark.parametrize("length", [1, 70_000])
def test_an_object_inside_a_file_is_read_to_its_end_and_no_further(length: int) -> None:
    inner = b'{"models":0,"model":"' + b"m" * length + b'"}'
    text = b'{"model":' + inner + b',"model":2}'
    within = Span(text.index(b":") + 1, text.index(b"}") + 1)
    span = members(io.BytesIO(text), MODEL, within)["model"]
    assert bytes(span.of(memoryview(text))) == b'"' + b"m" * length + b'"'
    for odd in (Span(within.start, within.end - 1), Span(within.start, within.end + 1)):
        with pytest.raises(NoObjectError):
            members(io.BytesIO(text), MODEL, odd)


@pytest.mark.parametrize(
    "text",
    [
        b"", b" ", b"1", b'"model"', b"{}}", b"{} 1", b'{"a":"\\x"}', b'{"a":"\\u00g0"}',
        b'{"a":' + b"[" * 90_000, b'{"a":' + b"1" * 100_000 + b"}", b'{"a":"' + b"x" * 100_000,
    ],
)  # fmt: skip
def test_odd_ends_and_endless_things_are_refused(text: bytes) -> None:
    with pytest.raises(NoObjectError):
        members(io.BytesIO(text), MODEL)


@pytest.mark.parametrize(
    "repeated",
    [b"NaN,", b'"\\ud83d",', b"[[{}]],", b'{"a":[1]},', b" ", b'"a",', b"1e999,",
     b'"' + b"\\ud83d" * 15_000 + b'",', b"[" * 9 + b" " * 500 + b"]" * 9 + b","],
)  # fmt: skip
def test_its_memory_is_bounded_and_others_have_their_turn(
    repeated: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[float] = []
    monkeypatch.setattr(time, "sleep", turns.append)
    file = _Long(b'{"a":[', repeated, 2 * MIB // len(repeated), b'1],"model":"m"}')
    assert MODEL.simple, "what is made once is not counted"
    tracemalloc.start()
    try:
        assert members(file, MODEL)
        assert tracemalloc.get_traced_memory()[1] < 0.7 * MIB
    finally:
        tracemalloc.stop()
    assert len(turns) >= 30
    assert all(turns), "who sleeps for no time lets nobody's sockets in"


@pytest.mark.parametrize("text", [b"[[[[[[[[1]]]]]]]],", b'{"model":' * 9 + b"1" + b"}" * 9 + b","])
def test_who_nests_without_end_is_refused_before_it_takes_long(
    text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[float] = []
    monkeypatch.setattr(time, "sleep", turns.append)
    with pytest.raises(NoObjectError):
        members(_Long(b'{"a":[', text, 60 * MIB, b"1]}"), MODEL)
    assert len(turns) > 90
