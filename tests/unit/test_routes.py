"""Which services do a request together, and how long a recording each takes."""

from dataclasses import replace

import pytest

from proxy_app.services import Alone, Health, Pair, Registered, Service, longest_s, routes
from proxy_app.services.health import READY


def service(kind: str, api: str, **fields: object) -> Service:
    made = Service(api, api, kind, api, "http://127.0.0.1:1", "127.0.0.1")
    return replace(made, **fields)  # type: ignore[arg-type]


WHISPERX = service("speakers", "whisperx")
PARAKEET = service("asr", "parakeet")
SORTFORMER = service("diarize", "sortformer")


@pytest.mark.parametrize(
    ("services", "speakers", "found"),
    [
        ((PARAKEET, SORTFORMER, WHISPERX), True, (Alone(WHISPERX), Pair(PARAKEET, SORTFORMER))),
        ((PARAKEET, SORTFORMER, WHISPERX), False, (Alone(WHISPERX),)),
        ((PARAKEET, SORTFORMER), True, (Pair(PARAKEET, SORTFORMER),)),
        ((PARAKEET, SORTFORMER), False, ()),
        ((PARAKEET,), True, ()),
        ((), True, ()),
    ],
)
def test_whisperx_goes_before_the_pair_which_is_for_speakers_only(
    services: tuple[Service, ...], speakers: bool, found: tuple[object, ...]
) -> None:
    assert routes(Registered(services, ()), speakers=speakers) == found


@pytest.mark.parametrize(
    ("of", "health", "limit_s"),
    [
        (WHISPERX, None, None),
        (PARAKEET, None, 300.0),
        (SORTFORMER, None, 14400.0),
        (replace(SORTFORMER, model="nvidia/diar_sortformer_4spk-v1"), None, 480.0),
        (replace(SORTFORMER, model="nvidia/diar_streaming_sortformer_4spk-v2.1"), None, 14400.0),
        (SORTFORMER, Health(READY, model="nvidia/diar_sortformer_4spk-v1"), 480.0),
        (SORTFORMER, Health(READY, max_audio_s=700.0), 700.0),
        (replace(SORTFORMER, max_audio_s=60.0), Health(READY, max_audio_s=700.0), 60.0),
        (replace(PARAKEET, max_audio_s=60.0), None, 60.0),
        (replace(WHISPERX, max_audio_s=60.0), None, 60.0),
    ],
)
def test_what_is_registered_goes_before_what_a_service_says_and_that_before_what_is_known(
    of: Service, health: Health | None, limit_s: float | None
) -> None:
    assert longest_s(of, health) == limit_s
