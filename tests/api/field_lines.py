"""The lines of docs/speech-to-text.md, and the proofs of them."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.api.conftest import Gateway
from tests.api.recordings import canonical_wav
from tests.standins.upstream_whisperx import StandIn

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/speech-to-text.md"
Proof = Callable[["Asking"], None]
PROOFS: dict[str, Proof] = {}
TEXT = "Hello. Good morning, all."
SPEAKERS = "/v1/audio/transcribe-with-speakers"
DIARIZER = "gpt-4o-transcribe-diarize"
REFERENCE = ("ann.wav", canonical_wav(3), "audio/wav")
SERVER_VAD = {"type": "server_vad", "threshold": 0.6, "prefix_padding_ms": 250}


def lines() -> Iterator[str]:
    """Each line of each table: its heading and its first cell."""
    heading, in_table = "", False
    for line in DOCUMENT.read_text().splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        is_row = line.startswith("| ")
        if is_row and in_table:
            yield f"{heading}: {line.split(' | ')[0].removeprefix('| ')}"
        in_table = line.startswith("|")  # the first one is the table's head


def proves(heading: str, cell: str) -> Callable[[Proof], Proof]:
    """Register the proof of a line."""

    def register(proof: Proof) -> Proof:
        key = f"{heading}: {cell}"
        assert key not in PROOFS, key
        PROOFS[key] = proof
        return proof

    return register


@dataclass
class Asking:
    """Asks a gateway, and looks at what its WhisperX server was asked."""

    gateway: Gateway
    standin: StandIn
    path: str = "/v1/audio/transcriptions"
    file: str = "file"
    more: list[tuple[str, Any]] = field(default_factory=list)
    """Other files than the recording."""

    def post(self, *pairs: tuple[str, str], **fields: str) -> requests.Response:
        """Send a recording with fields; a field may come more than once as a pair."""
        data = [*fields.items(), *pairs]
        files = [(self.file, ("a.wav", canonical_wav(5), "application/octet-stream")), *self.more]
        return requests.post(self.gateway.url + self.path, data=data, files=files, timeout=20)

    def json(self, **body: object) -> requests.Response:
        """Send a JSON object."""
        return requests.post(self.gateway.url + self.path, json=body, timeout=20)

    def audio(self) -> dict[str, str]:
        """A recording for JSON."""
        return {"data": base64.b64encode(canonical_wav(5)).decode(), "format": "wav"}

    def got(self, *pairs: tuple[str, str], **fields: str) -> Any:  # noqa: ANN401 - of the stand-in
        """The fields that WhisperX got of such a request."""
        response = self.post(*pairs, **fields)
        assert response.status_code == 200, response.text
        found, _wav = self.standin.received[-1].form()
        return found

    def refused(self, param: str, *pairs: tuple[str, str], **fields: str) -> dict[str, Any]:
        """The error of such a request, which is a 400 about a field."""
        before = len(self.standin.received)
        response = self.post(*pairs, **fields)
        error: dict[str, Any] = response.json()["error"]
        assert (response.status_code, error["param"]) == (400, param), error
        assert error["type"] == "invalid_request_error"
        assert len(self.standin.received) == before, "the service was bothered with it"
        return error

    def events(self, **fields: str) -> list[bytes]:
        """The lines of a stream that say something."""
        response = self.post(**fields, stream="true")
        assert response.headers["Content-Type"].startswith("text/event-stream"), response.text
        return [line for line in response.content.splitlines() if line]
