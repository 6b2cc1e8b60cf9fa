"""Base64 in pieces, however it is cut."""

import base64
import random

import pytest

from proxy_app.api.base64_pieces import decoded


def cut(text: bytes, size: int) -> list[bytes]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 64])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 100])
def test_what_was_encoded_comes_out(length: int, size: int) -> None:
    sound = random.Random(length).randbytes(length)
    text = base64.b64encode(sound)
    for is_filled_up, sent in ((True, text), (False, text), (False, text.rstrip(b"="))):
        assert b"".join(decoded(cut(sent, size), is_filled_up=is_filled_up)) == sound


@pytest.mark.parametrize("size", [1, 4, 7, 1000])
@pytest.mark.parametrize(
    "text", [b"QQ==QQ==", b"QQ==" + b"A" * 500, b"QQ=", b"Q", b"QU!D", b"=", b"QUJD\n", b"QQ===="]
)
def test_what_is_no_base64_is_refused(text: bytes, size: int) -> None:
    with pytest.raises(ValueError, match="base64"):
        list(decoded(cut(text, size), is_filled_up=True))


def test_what_is_not_filled_up_is_refused_where_it_has_to_be() -> None:
    with pytest.raises(ValueError, match="breaks off"):
        list(decoded([b"QUI"], is_filled_up=True))
