"""The diarizer of images/sortformer, in a Parakeet's container."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from proxy_app.services import Service
from proxy_app.speech import FormatError, Turn
from proxy_app.speech.formats.reading import finite, read_list, read_text
from proxy_app.upstreams.errors import unusable
from proxy_app.upstreams.http import Client
from proxy_app.upstreams.multipart import Audio

MOST_SPEAKERS = 4
"""Sortformer tells no more people apart (NVIDIA-NeMo/Speech#14546)."""


class Diarized(NamedTuple):
    """Who speaks when."""

    turns: list[Turn]
    model: str
    """"" where it does not say."""


class Sortformer:
    """Tells speakers apart; what they say it cannot hear."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def diarize(self, service: Service, wav: Audio, *, limit_s: float) -> Diarized:
        """Who speaks when in a whole recording: a label holds for all of it.

        Raises:
            UpstreamError: of the kinds in Client.post_file.
        """
        path = "/v1/audio/diarize"
        answer = self._client.post_file(service, path, wav, [], limit_s=limit_s)
        try:
            turns = [_turn(entry) for entry in read_list(answer, "segments")]
            return Diarized(turns, read_text(answer, "model"))
        except FormatError as error:
            raise unusable(service, error) from error


def _turn(entry: Mapping[str, Any]) -> Turn:
    start, end = finite(entry.get("start")), finite(entry.get("end"))
    speaker = read_text(entry, "speaker")
    if start is None or end is None or not speaker:
        raise FormatError("a turn is to have a start, an end and a speaker")
    return Turn(start, end, speaker)
