"""Multipart forms, however they are cut into pieces on their way."""

import io
import random
from collections.abc import Callable

import pytest
from werkzeug.exceptions import RequestEntityTooLarge

from proxy_app.api.forms import Form, Spooled
from proxy_app.errors import BadRequestError

DISPOSITION = b"Content-Disposition: form-data; name="


WANTED = {"file": Spooled(1)}


class Kept(io.BytesIO):
    """A file whose content is read after it was closed, as those on the disk are."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True
        self.seek(0)


def cut(body: bytes, size: int) -> Callable[[int], bytes]:
    """Gives the body, at most so many bytes at a time."""
    stream = io.BytesIO(body)
    return lambda most: stream.read(min(size, most))


def parsed(body: bytes, size: int = 1000, boundary: bytes = b"b", **limits: int) -> Form:
    form = Form(Kept, limits.get("text_bytes", 1000), limits.get("parts", 10), WANTED)
    form.read(cut(body, size), boundary)
    return form


def text(name: bytes, value: bytes, boundary: bytes = b"b") -> bytes:
    return b"--" + boundary + b"\r\n" + DISPOSITION + name + b"\r\n\r\n" + value + b"\r\n"


def file(content: bytes, boundary: bytes = b"b", name: bytes = b"file") -> bytes:
    head = DISPOSITION + name + b'; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    return b"--" + boundary + b"\r\n" + head + content + b"\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n",
        b"RIFF" + bytes(500),
        b"\r\n--",
        b"\r\n--\r\n-b--\r\n--c--\r\n",
        b"\r" * 300 + b"\n" * 300,
    ],
)
def test_a_file_is_what_was_sent_however_it_is_cut(content: bytes, size: int) -> None:
    body = text(b"model", b"whisper-1") + file(content) + text(b"last", b"") + b"--b--\r\n"
    form = parsed(body, size)
    assert [*form.texts.items(multi=True)] == [("model", "whisper-1"), ("last", "")]
    ((name, sent),) = form.files.items(multi=True)
    assert name == "file"
    assert (sent.filename, sent.mimetype) == ("a.wav", "audio/wav")
    assert sent.stream.read() == content


def test_random_content_of_few_kinds_of_bytes_is_what_was_sent() -> None:
    dice = random.Random(6)
    for _ in range(2000):
        boundary = bytes(dice.choices(b"b-", k=dice.randint(1, 4)))
        content = bytes(dice.choices(b"\r\n-b x", k=dice.randint(0, 40)))
        if b"\r\n--" + boundary in b"\r\n" + content + b"\r\n--" + boundary[:-1]:
            continue  # nobody may choose a boundary that the content has
        body = file(content, boundary) + b"--" + boundary + b"--"
        form = parsed(body, dice.randint(1, 50), boundary)
        assert [sent.stream.read() for sent in form.files.values()] == [content], (
            boundary,
            content,
        )


def test_what_comes_behind_the_last_boundary_is_passed_over() -> None:
    body = text(b"a", b"1") + b"--b--\r\nGood bye.\r\n" + text(b"a", b"2")
    read = cut(body, 10)
    form = Form(io.BytesIO, 9, 9)
    form.read(read, b"b")
    assert [*form.texts.items(multi=True)] == [("a", "1")]
    assert read(1) == b"", "it is to be read, or the connection can take no other request"


def test_names_come_as_they_are_quoted_and_texts_in_their_charset() -> None:
    body = text(b'"a b"', "Größe".encode())
    body += text(b'"k[]"\r\nContent-Type: text/plain; charset=ISO-8859-1', "ä".encode("latin-1"))
    body += text(b'"k[]"; more=x\r\nContent-Type: text/plain; charset=rot13', b"\xffx")
    form = parsed(body + b"--b--")
    assert [*form.texts.items(multi=True)] == [("a b", "Größe"), ("k[]", "ä"), ("k[]", "\ufffdx")]


@pytest.mark.parametrize(
    "name",
    [
        "Gespräch.wav".encode("latin-1"),
        "Gespräch.wav".encode(),
        "録音表.wav".encode("shift_jis"),
        "表".encode("shift_jis"),  # its last byte is a backslash
        "запись.wav".encode("cp1251"),
    ],
)
@pytest.mark.parametrize("head", [b'name="file"; filename="%s"', b'filename="%s"; name="file"'])
def test_the_name_of_a_file_may_be_in_any_charset(name: bytes, head: bytes) -> None:
    body = b"--b\r\nContent-Disposition: form-data; " + head % name + b"\r\n\r\nRIFF\r\n--b--"
    form = parsed(body)
    assert [(each, sent.stream.read()) for each, sent in form.files.items()] == [("file", b"RIFF")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form at all",
        b"--c--\r\n",
        file(b"RIFF"),
        (file(b"RIFF") + b"--b--")[:-1],
        b"--b\r\n\r\nno headers\r\n--b--",
        b"--b\r\nContent-Type: text/plain\r\n\r\nno name\r\n--b--",
        b"--b\r\n" + DISPOSITION,
        b"--b\r\n" + DISPOSITION + b"x" * 20_000,
        b"--b\r\n" + (DISPOSITION + b"x\r\n") * 20 + b"\r\nx\r\n--b--",
    ],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"oundary|breaks off|Content-Disposition|header|decode"):
        parsed(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"no form at all", "boundary that Content-Type names"),
        (text(b"a", b"1") + file(b"RIFF"), "breaks off"),
        (text(b"a", b"1") + b"--b\r\nX: y\r\n\r\nx\r\n--b--", "part 2 has no Content-Disposition"),
        (
            b"--b\r\nContent-Disposition: form-data;\r\n name=a\r\n\r\n1\r\n--b--",
            "headers of part 1 cannot be read, each of which is a line of its own",
        ),
        ((text(b"a", b"1") + b"--b--").replace(b"\r\n", b"\n"), "lines end in CR LF"),
    ],
)
def test_it_is_said_what_is_wrong_with_a_form(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parsed(body)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    "before",
    [
        b"\r\n",
        b"This is a form.\r\n",
        b"Two lines,\r\n\r\n--bad as the first boundary, --b\r\n--\r\n-",
        b"--ba\r\n" * 100,
    ],
)
def test_what_comes_before_the_first_boundary_is_passed_over(before: bytes, size: int) -> None:
    before = before if before.endswith(b"\r\n") else before + b"\r\n"
    form = parsed(before + text(b"a", b"1") + file(b"RIFF") + b"--b--", size)
    assert [*form.texts.items(multi=True)] == [("a", "1")]
    assert form.files["file"].stream.read() == b"RIFF"


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_blanks_may_follow_a_boundary(size: int) -> None:
    body = (text(b"a", b"1") + text(b"c", b"2")).replace(b"--b", b"--b \t ")
    form = parsed(body + b"--b--  \r\n", size)
    assert [*form.texts.items(multi=True)] == [("a", "1"), ("c", "2")]


def test_what_may_come_before_the_first_boundary_is_bounded() -> None:
    with pytest.raises(ValueError, match="no line of its first 65536 bytes"):
        parsed(b"x" * 200_000 + b"\r\n" + text(b"a", b"1") + b"--b--")


@pytest.mark.parametrize("boundary", [b"", b"b" * 300])
def test_a_boundary_that_is_none_is_refused(boundary: bytes) -> None:
    with pytest.raises(ValueError, match="oundary"):
        parsed(b"----", boundary=boundary)


@pytest.mark.parametrize(
    "body",
    [
        text(b"a", b"x" * 600) + text(b"b", b"x" * 401),
        text(b"a", b"") * 11,
    ],
)
@pytest.mark.parametrize("size", [100, 100_000])
def test_what_is_over_a_limit_is_refused(body: bytes, size: int) -> None:
    with pytest.raises(RequestEntityTooLarge):
        parsed(body + b"--b--", size)


def test_no_more_is_held_than_two_pieces() -> None:
    largest = 0

    class Watched(io.BytesIO):
        def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
            nonlocal largest
            largest = max(largest, len(data))
            return len(data)

    pieces = [file(b"")[:-2], *[b"\r\n--bx" * 20_000] * 30, b"\r\n--b--"]
    form = Form(Watched, 1, 1, WANTED)
    form.read(lambda _most: pieces.pop(0) if pieces else b"", b"b")
    assert 0 < largest <= 2 * 120_000


@pytest.mark.parametrize("size", [1, 1000])
def test_a_file_that_nobody_reads_is_passed_over_and_its_name_known(size: int) -> None:
    opened: list[Kept] = []

    def new_file() -> Kept:
        opened.append(Kept())
        return opened[-1]

    body = b"".join(file(b"x" * 50, name=b"other%d" % number) for number in range(8))
    form = Form(new_file, 10, 10, WANTED)
    form.read(cut(body + file(b"RIFF") + text(b"a", b"1") + b"--b--", size), b"b")
    assert [*form.texts.items(multi=True)] == [("a", "1")]
    assert [*form.files] == [*(f"other{number}" for number in range(8)), "file"]
    assert form.files["other0"].filename == "a.wav"
    assert [each.read() for each in opened] == [b"RIFF"]


def test_a_file_is_closed_when_its_part_ends_and_not_with_the_form() -> None:
    body = file(b"RIFF") + b"--b\r\n" + DISPOSITION + b"a\r\n\r\n1"
    form = Form(Kept, 10, 10, WANTED)
    with pytest.raises(ValueError, match="breaks off"):
        form.read(cut(body, 1000), b"b")
    sent = form.files["file"].stream
    assert isinstance(sent, Kept)
    assert sent.is_closed


@pytest.mark.parametrize("name", [b'"file"', b'"file[]"', b'"file[0]"'])
def test_a_file_that_is_wanted_has_one_name_with_and_without_brackets(name: bytes) -> None:
    form = parsed(file(b"RIFF", name=name) + text(name, b"1") + text(b'"a[0]"', b"2") + b"--b--")
    assert [(key, it.name) for key, it in form.files.items()] == [("file", "file")]
    assert [*form.texts.items()] == [("file", "1"), ("a[]", "2")]


def test_too_long_a_text_is_to_be_a_file_where_it_has_a_files_name() -> None:
    with pytest.raises(BadRequestError, match="it needs a file name") as refused:
        parsed(text(b'"file[]"', b"x" * 9), text_bytes=8)
    assert (refused.value.param, refused.value.code) == ("file", "missing_file")
    with pytest.raises(RequestEntityTooLarge):
        parsed(text(b"file", b"x") + text(b"a", b"x" * 9), text_bytes=8)


@pytest.mark.parametrize("most", [1, 2])
def test_more_files_of_a_name_than_are_wanted_are_refused_as_they_begin(most: int) -> None:
    form = Form(Kept, 10, 10, {"file": Spooled(most)})
    with pytest.raises(BadRequestError) as refused:
        form.read(cut(file(b"RIFF") * (most + 1), 1000), b"b")
    assert refused.value.param == "file"
    assert len(form.files.getlist("file")) == most
