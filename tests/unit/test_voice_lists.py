"""What is remembered of the lists of voices."""

from dataclasses import replace

import pytest

from proxy_app.services import Service
from proxy_app.speech.voices import Voice
from proxy_app.upstreams import TimeLimitError, UnavailableError
from proxy_app.upstreams.voice_lists import VoiceLists

SERVICE = Service("magpie", "Magpie", "tts", "magpie", "http://127.0.0.1:1", "127.0.0.1")
MIA = Voice("Mia", "Mia", "en-US")


class Listed:
    """A server's list; None where it takes too long."""

    def __init__(self, voices: tuple[Voice, ...] | None) -> None:
        self.voices = voices
        self.asked = 0

    def __call__(self, service: Service) -> tuple[Voice, ...]:
        self.asked += 1
        if self.voices is None:
            raise TimeLimitError(service.name, "too late")
        return self.voices


class Soon(VoiceLists):
    """Asks again every time."""

    KEPT_S = FAILED_S = 0.0


def test_what_a_server_cannot_tell_is_not_asked_again_at_once() -> None:
    listed = Listed(None)
    lists = VoiceLists(listed)
    for _ in range(3):
        with pytest.raises(UnavailableError, match="too late"):
            lists.of(SERVICE)
    assert listed.asked == 1


def test_it_is_asked_again_later() -> None:
    listed = Listed(None)
    lists = Soon(listed)
    with pytest.raises(UnavailableError):
        lists.of(SERVICE)
    listed.voices = (MIA,)
    assert lists.of(SERVICE) == (MIA,)


def test_a_list_that_is_known_stays_where_it_is_not_told_again() -> None:
    listed = Listed((MIA,))
    lists = Soon(listed)
    assert lists.of(SERVICE) == (MIA,)
    listed.voices = None
    assert lists.of(SERVICE) == (MIA,)
    assert listed.asked == 2


def test_no_more_lists_are_remembered_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VoiceLists, "MOST", 2)
    listed = Listed((MIA,))
    lists = VoiceLists(listed)
    services = [replace(SERVICE, name=f"magpie-{number}") for number in range(5)]
    for service in services:
        assert lists.of(service) == (MIA,)
        assert len(lists._kept) <= 2
    assert lists.of(services[-1]) == (MIA,)
    assert listed.asked == len(services)
