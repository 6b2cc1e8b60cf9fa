"""Stand-ins for two servers that speak, a tone being their voice: NVIDIA's Magpie NIM, whose image
and weights want a key and a GPU, and one with OpenAI's API, as Kokoro-FastAPI has it.

They fail as upstream_whisperx's does.
"""

import json
from io import BytesIO
from types import MappingProxyType
from typing import Any

from werkzeug.formparser import MultiPartParser

from tests.standins.magpie.serve import LONGEST_S, SECONDS_PER_CHARACTER, VOICES, tone
from tests.standins.served import Received
from tests.standins.upstream_whisperx import StandIn

MIA, CALM = "Magpie-Multilingual.EN-US.Mia", "Magpie-Multilingual.EN-US.Mia.Calm"
ARIA = "Magpie-Multilingual.DE-DE.Aria"


class Magpie(StandIn):
    """The NIM's HTTP API."""

    health_path = "/v1/health/ready"
    healthy = MappingProxyType({"status": "ready"})

    def reset(self) -> None:
        """Say everything, at once and whole."""
        super().reset()
        self.lists["/v1/audio/list_voices"] = 200, VOICES
        self.asked_for: list[dict[str, str]] = []
        """The fields of each request."""
        self.cut_short = 0
        """So many answers to come end after a tenth of a second."""
        self.part = 1.0
        """So much of each sound is there; the rest is cut off without a word about it."""
        self.seconds_per_character = SECONDS_PER_CHARACTER

    def answer_to(self, received: Received) -> bytes:
        """A WAV whose length goes with the text's."""
        boundary = received.headers["content-type"].partition("boundary=")[2].strip('"')
        parser = MultiPartParser(stream_factory=lambda *_about, **_more: BytesIO())
        body = received.body
        fields, _files = parser.parse(BytesIO(body), boundary.encode(), len(body))
        self.asked_for.append(fields.to_dict())
        if self.cut_short:
            self.cut_short -= 1
            return tone(0.1)
        return tone(self.part * min(LONGEST_S, self.seconds_per_character * len(fields["text"])))

    @property
    def texts(self) -> list[str]:
        """What it was given to say."""
        return [fields["text"] for fields in self.asked_for]


class Kokoro(StandIn):
    """OpenAI's API; its WAVs do not say how long they are, as they are streamed."""

    health_path = "/v1/models"
    healthy = MappingProxyType({"object": "list", "data": [{"id": "kokoro", "object": "model"}]})

    def reset(self) -> None:
        """Say everything."""
        super().reset()
        self.lists["/v1/audio/voices"] = 200, {"voices": ["af_bella", "bm_george"]}
        self.asked_for: list[dict[str, Any]] = []
        self.part = 1.0
        """As Magpie's."""

    def answer_to(self, received: Received) -> bytes:
        """A WAV with placeholders for its sizes."""
        asked = json.loads(received.body)
        self.asked_for.append(asked)
        sound = tone(self.part * SECONDS_PER_CHARACTER * len(asked["input"]))
        return sound[:4] + b"\xff" * 4 + sound[8:40] + b"\xff" * 4 + sound[44:]
