"""A form to be sent: text fields, and a recording that is read from disk while it goes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from proxy_app.audio import Piece

Fields = Sequence[tuple[str, str]]
Audio = Path | Piece
"""A WAV on disk, or a part of one."""
_PIECE = 256 * 1024


class Multipart:
    """A body of multipart/form-data, which can be sent once.

    Args:
        fields: names, which are our own, and values, in order; a name may come more than once.
        audio: goes last, as the file `audio.wav`.
    """

    def __init__(self, fields: Fields, audio: Audio | None = None) -> None:
        # Nobody can know it beforehand, and so put parts of his own into a value.
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        parts = [f"{_head(boundary, name)}\r\n\r\n{value}\r\n" for name, value in fields]
        self._audio = audio
        self._audio_bytes = 0
        end = f"--{boundary}--\r\n"
        if audio is not None:
            named = f'{_head(boundary, "file")}; filename="audio.wav"'
            parts.append(f"{named}\r\nContent-Type: audio/wav\r\n\r\n")
            end = f"\r\n{end}"
            self._audio_bytes = len(audio) if isinstance(audio, Piece) else audio.stat().st_size
        self._before = "".join(parts).encode(errors="replace")
        self._after = end.encode()

    def __len__(self) -> int:
        """The size in bytes."""
        return len(self._before) + self._audio_bytes + len(self._after)

    def __iter__(self) -> Iterator[bytes]:
        """The body in pieces of about 256 KiB: where it is smaller, in one.

        Raises:
            OSError: the recording cannot be read, or not all of it.
        """
        waiting, left = self._before, self._audio_bytes
        if self._audio is not None:
            with self._audio.open("rb") as file:
                while left:
                    read = file.read(min(_PIECE, left))
                    if not read:
                        raise OSError("the recording is shorter than it was")
                    left -= len(read)
                    waiting += read
                    if left:
                        yield waiting
                        waiting = b""
        yield waiting + self._after


def _head(boundary: str, name: str) -> str:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
