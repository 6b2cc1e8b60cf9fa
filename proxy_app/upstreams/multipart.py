"""A form to be sent: text fields, and recordings that are read from disk while it goes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from proxy_app.audio import Piece

Fields = Sequence[tuple[str, str]]
Audio = Path | Piece
"""A WAV on disk, or a part of one."""
Files = Sequence[tuple[str, Audio]]
"""Names of fields, and the WAVs that are sent in them."""
_PIECE = 256 * 1024


class Multipart:
    """A body of multipart/form-data, which can be sent once.

    Args:
        fields: names, which are our own, and values, in order; a name may come more than once.
        files: the same with recordings, which go behind them; each is called `audio.wav`.
    """

    def __init__(self, fields: Fields, files: Files = ()) -> None:
        # Nobody can know it beforehand, and so put parts of his own into a value.
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        texts = [f"{_head(boundary, name)}\r\n\r\n{value}\r\n" for name, value in fields]
        self._texts = "".join(texts).encode(errors="replace")
        self._files = [(_file_head(boundary, name), audio, _size(audio)) for name, audio in files]
        self._end = f"--{boundary}--\r\n".encode()

    def __len__(self) -> int:
        """The size in bytes."""
        files = sum(len(head) + size + len(b"\r\n") for head, _audio, size in self._files)
        return len(self._texts) + files + len(self._end)

    def __iter__(self) -> Iterator[bytes]:
        """The body in pieces of about 256 KiB: where it is smaller, in one.

        Raises:
            OSError: a recording cannot be read, or not all of it.
        """
        waiting = self._texts
        for head, audio, size in self._files:
            waiting += head
            left = size
            with audio.open("rb") as file:
                while left:
                    read = file.read(min(_PIECE, left))
                    if not read:
                        raise OSError("the recording is shorter than it was")
                    left -= len(read)
                    waiting += read
                    if len(waiting) >= _PIECE:
                        yield waiting
                        waiting = b""
            waiting += b"\r\n"
        yield waiting + self._end


def _head(boundary: str, name: str) -> str:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'


def _file_head(boundary: str, name: str) -> bytes:
    head = f'{_head(boundary, name)}; filename="audio.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    return head.encode()


def _size(audio: Audio) -> int:
    return len(audio) if isinstance(audio, Piece) else audio.stat().st_size
