"""Recordings and films as clients have them, with real speech in them, heard by the real engine."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import openai
import pytest

from proxy_app.watch.clip import SPOKEN
from proxy_app.watch.words import likeness
from tests.clients.home import Home

HEARD = 0.8
PICTURES_A_S = 10


@dataclass(frozen=True)
class Container:
    """What is in a file."""

    name: str
    sound: str
    picture: str = ""
    rate: int = 48_000
    layout: str = "mono"
    options: dict[str, str] = field(default_factory=dict)
    """The muxer's own."""

    def of(self, recording: bytes) -> bytes:
        """The recording in it, beside grey pictures where there is a codec for them."""
        output = io.BytesIO()
        with (
            av.open(io.BytesIO(recording), "r") as source,
            av.open(output, "w", format=self.name, options=self.options) as file,
        ):
            sound: Any = file.add_stream(self.sound, rate=self.rate)
            sound.codec_context.layout = self.layout
            sound.codec_context.options = {"strict": "experimental"}  # for FFmpeg's own Vorbis
            pictures = _Pictures(file, self.picture) if self.picture else None
            for frame in source.decode(audio=0):
                if pictures:
                    pictures.until(frame.time or 0.0)
                file.mux(sound.encode(frame))
            file.mux(sound.encode(None))
            if pictures:
                file.mux(pictures.stream.encode(None))
        return output.getvalue()


class _Pictures:
    """A film's stream of pictures."""

    def __init__(self, file: Any, codec: str) -> None:  # noqa: ANN401 - av has no name for it
        self._file = file
        self.stream = file.add_stream(codec, rate=PICTURES_A_S)
        self.stream.width, self.stream.height, self.stream.pix_fmt = 160, 120, "yuv420p"
        self._made = 0

    def until(self, time_s: float) -> None:
        while self._made <= time_s * PICTURES_A_S:
            picture = av.VideoFrame(160, 120, "yuv420p")
            for plane in picture.planes:
                plane.update(bytes([128]) * plane.buffer_size)
            picture.pts = self._made
            self._file.mux(self.stream.encode(picture))
            self._made += 1


CONTAINERS = {
    "wav": Container("wav", "pcm_s16le"),
    "flac": Container("flac", "flac"),
    "mp3": Container("mp3", "libmp3lame"),
    "m4a": Container("ipod", "aac"),
    "ogg": Container("ogg", "vorbis", layout="stereo"),
    "opus": Container("ogg", "libopus"),
    "webm": Container("webm", "libopus"),
    "MediaRecorder.webm": Container("webm", "libopus", options={"live": "1"}),
    "film.mp4": Container("mp4", "aac", "libx264"),
    "telephone.mp4": Container("mp4", "aac", "mpeg4", rate=16_000),
    "film.webm": Container("webm", "libopus", "libvpx"),
    "MediaRecorder.film.webm": Container("webm", "libopus", "libvpx", options={"live": "1"}),
    "film.mkv": Container("matroska", "flac", "libx264"),
    "film.mov": Container("mov", "pcm_s16le", "libx264"),
    "film.avi": Container("avi", "libmp3lame", "mpeg4"),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_what_is_said_in_a_file_is_heard_whatever_is_around_it(
    at: Home, client: openai.OpenAI, clip: Path, name: str
) -> None:
    sound = CONTAINERS[name].of(clip.read_bytes())
    with av.open(io.BytesIO(sound), "r") as file:
        assert len(file.streams.video) == bool(CONTAINERS[name].picture)
        if "live" in CONTAINERS[name].options:
            assert file.duration is None, "a browser does not know how long it will record"
    made = client.audio.transcriptions.create(
        file=(f"recording.{name}", sound, "application/octet-stream"), model="whisper-1",
        response_format="verbose_json",
    )  # fmt: skip
    assert likeness(SPOKEN, made.text) > HEARD, made.text
    with wave.open(str(clip)) as plain:
        assert made.duration == pytest.approx(plain.getnframes() / plain.getframerate(), abs=0.2)


def test_a_film_without_sound_is_refused_by_name(client: openai.OpenAI) -> None:
    output = io.BytesIO()
    with av.open(output, "w", format="mp4") as file:
        pictures = _Pictures(file, "libx264")
        pictures.until(2.0)
        file.mux(pictures.stream.encode(None))
    with pytest.raises(openai.BadRequestError) as raised:
        client.audio.transcriptions.create(
            file=("silent.mp4", output.getvalue()), model="whisper-1"
        )
    assert raised.value.param == "file"
