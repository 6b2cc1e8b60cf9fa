"""Which models clients can name, and where each goes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from proxy_app.api.voices import MODELS, tts_models, voices
from proxy_app.gateway import Gateway
from proxy_app.services import Health, Needs, Registered, Service, each, routes
from proxy_app.speech.voices import OPENAI_VOICES
from proxy_app.transcribing.asking import TELLS_SPEAKERS, TRANSCRIBES

CREATED = 1_767_225_600
"""OpenAI's clients want a time of everything; of ours it says nothing."""
OURS = "spark-speech"
_ELSEWHERE = (*TRANSCRIBES, *TELLS_SPEAKERS, *MODELS, *OPENAI_VOICES)
"""Names that clients have built in for something else than a service's own voice."""


@dataclass(frozen=True, slots=True)
class Model:
    """A name that a client can send as `model`."""

    id: str
    owned_by: str
    served_by: tuple[str, ...]
    """The services that a request with it goes to, the first choice first; `a+b` are a pair."""


def models(gateway: Gateway) -> list[Model]:
    """All of them, by id; those of a kind that no service is registered for are not there."""
    registered = gateway.registry.read()
    healths = dict(
        zip(registered.services, gateway.health.of_all(registered.services), strict=True)
    )
    found = [
        *_transcription(registered, healths),
        *_speech(gateway),
        *_language(registered, healths),
    ]
    # A service names its voices: none takes the place of what a name means elsewhere.
    taken = {name.lower() for name in (*(it.id for it in found), *_ELSEWHERE)}
    found += [it for it in _of_voices(gateway) if it.id.lower() not in taken]
    return [_joined(same) for _id, same in groupby(sorted(found, key=_by_id), key=_by_id)]


def _by_id(model: Model) -> str:
    return model.id


def _joined(same: Iterable[Model]) -> Model:
    """One entry for what several services have."""
    first, *more = same
    served_by = dict.fromkeys((*first.served_by, *(by for it in more for by in it.served_by)))
    return Model(first.id, first.owned_by, tuple(served_by))


def _transcription(registered: Registered, healths: dict[Service, Health]) -> Iterator[Model]:
    for names, speakers in ((TRANSCRIBES, False), (TELLS_SPEAKERS, True)):
        served_by = _served_by(registered, Needs(speakers=speakers))
        if served_by:
            yield from (Model(name, OURS, served_by) for name in names)
    named: dict[str, list[Service]] = {}
    for kind, api in (("asr", "parakeet"), ("speakers", "whisperx")):
        for service in registered.ranked(kind, api):
            if model := _model_of(service, healths):
                named.setdefault(model, []).append(service)
    for model, services in named.items():
        yield Model(model, OURS, _served_by(registered, Needs(), services))


def _served_by(
    registered: Registered, needs: Needs, named: Collection[Service] = ()
) -> tuple[str, ...]:
    return tuple(route.name for route in each(routes(registered, needs, named)))


def _speech(gateway: Gateway) -> Iterator[Model]:
    for model in tts_models(gateway):
        yield Model(model.id, OURS, tuple(service.name for service in model.services))


def _of_voices(gateway: Gateway) -> Iterator[Model]:
    for service, voice in voices(gateway):
        if service is not None and service.api == "magpie":  # others have hundreds
            yield Model(voice.id, OURS, (service.name,))


def _language(registered: Registered, healths: dict[Service, Health]) -> Iterator[Model]:
    for service in registered.all("llm", "openai"):
        for model in healths[service].models or (service.model,):
            if model:
                yield Model(model, service.name, (service.name,))


def _model_of(service: Service, healths: dict[Service, Health]) -> str | None:
    return healths[service].model or service.model
