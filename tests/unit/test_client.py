"""What all adapters send their requests with."""

import threading
from pathlib import Path

import pytest

from proxy_app.upstreams import Client, http
from tests.standins.upstream_whisperx import StandIn
from tests.unit.test_probe import service

BRIEFLY_S = 0.2


def test_a_service_may_work_for_longer_than_a_connection_may_take(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(http, "CONNECT_S", BRIEFLY_S)
    wav = tmp_path / "audio.wav"
    wav.write_bytes(b"RIFF")
    with StandIn() as standin:
        standin.behave("hang")
        threading.Timer(3 * BRIEFLY_S, standin.release.set).start()
        fields = [("response_format", "verbose_json")]
        path = "/v1/audio/transcriptions"
        answer = Client().post_file(service(standin.port), path, wav, fields, limit_s=30)
    assert answer["text"]
