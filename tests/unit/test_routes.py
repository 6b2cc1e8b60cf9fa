"""Which services do a request together, and how long a recording each takes."""

from dataclasses import replace

import pytest

from proxy_app.services import (
    Alone,
    Health,
    Needs,
    Pair,
    Registered,
    Service,
    Words,
    longest_s,
    routes,
)
from proxy_app.services.health import READY


def service(kind: str, api: str, **fields: object) -> Service:
    made = Service(api, api, kind, api, "http://127.0.0.1:1", "127.0.0.1")
    return replace(made, **fields)  # type: ignore[arg-type]


WHISPERX = service("speakers", "whisperx")
PARAKEET = service("asr", "parakeet")
SORTFORMER = service("diarize", "sortformer")


EMBEDDED = replace(WHISPERX, name="embedded", is_embedded=True)
OTHER_PARAKEET = replace(PARAKEET, name="a-parakeet")
ALL = (EMBEDDED, PARAKEET, SORTFORMER, WHISPERX)
PAIR = Pair(PARAKEET, SORTFORMER)


@pytest.mark.parametrize(
    ("services", "needs", "found"),
    [
        (ALL, Needs(speakers=True), [[Alone(WHISPERX)], [PAIR], [Alone(EMBEDDED)]]),
        (ALL, Needs(), [[Words(PARAKEET)], [Alone(WHISPERX)], [Alone(EMBEDDED)]]),
        (ALL, Needs(whisper=True), [[Alone(WHISPERX)], [Alone(EMBEDDED)], [Words(PARAKEET)]]),
        (ALL, Needs(whisper_only=True), [[Alone(WHISPERX)], [Alone(EMBEDDED)]]),
        ((PARAKEET, SORTFORMER), Needs(speakers=True), [[PAIR]]),
        ((PARAKEET, SORTFORMER), Needs(speakers=True, whisper_only=True), []),
        ((PARAKEET,), Needs(speakers=True), []),
        ((PARAKEET,), Needs(), [[Words(PARAKEET)]]),
        ((SORTFORMER,), Needs(), []),
        ((), Needs(), []),
    ],
)
def test_routes_are_those_that_can_do_what_is_needed_the_best_first(
    services: tuple[Service, ...], needs: Needs, found: list[list[object]]
) -> None:
    assert [list(tier) for tier in routes(Registered(services, ()), needs)] == found


def test_all_services_of_a_kind_are_as_good_as_each_other_the_environments_first() -> None:
    of_a_file = replace(OTHER_PARAKEET, source="a-parakeet.json")
    registered = Registered((of_a_file, PARAKEET, SORTFORMER), ())
    assert routes(registered, Needs()) == ((Words(PARAKEET), Words(of_a_file)),)
    pairs = Pair(PARAKEET, SORTFORMER), Pair(of_a_file, SORTFORMER)
    assert routes(registered, Needs(speakers=True)) == (pairs,)


def test_services_whose_model_is_named_go_before_all_others() -> None:
    registered = Registered((OTHER_PARAKEET, PARAKEET, SORTFORMER, WHISPERX), ())
    assert routes(registered, Needs(), [WHISPERX]) == (
        (Alone(WHISPERX),),
        (Words(OTHER_PARAKEET), Words(PARAKEET)),
    )
    assert routes(registered, Needs(speakers=True), [PARAKEET]) == (
        (PAIR,),
        (Alone(WHISPERX),),
        (Pair(OTHER_PARAKEET, SORTFORMER),),
    )


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
