"""Which models and voices there are for text to speech, and which services have them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from proxy_app.errors import RETRY_IN_A_MINUTE, ApiError
from proxy_app.gateway import Gateway
from proxy_app.routing import health_of, of_each
from proxy_app.services import Service
from proxy_app.services.health import READY
from proxy_app.speech.voices import OPENAI_VOICES, Voice
from proxy_app.upstreams import UpstreamError

log = logging.getLogger(__name__)

MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15")
"""OpenAI's, which clients have built in: any service answers to them, the best that is ready."""


@dataclass(frozen=True, slots=True)
class TtsModel:
    """A name that `model` may have, and where it goes."""

    id: str
    services: tuple[Service, ...]
    """The best first."""
    is_voice: bool = False
    """Whether it is a voice's name, which are in the list of models, too."""


def tts_models(gateway: Gateway) -> list[TtsModel]:
    """The names that `model` may have, OpenAI's first; none without a service that speaks."""
    services = tuple(
        service
        for service in gateway.registry.read().speaking()
        if gateway.voices.by(service) is not None
    )
    own = {
        name: tuple(it for it in services if name in (it.name, it.model))
        for service in services
        for name in (service.model, service.name)
        if name
    }
    both = dict.fromkeys(MODELS, services) | own if services else {}
    return [TtsModel(name, found) for name, found in both.items()]


def voices(gateway: Gateway) -> list[tuple[Service | None, Voice]]:
    """All voices of the services that can tell theirs now, and OpenAI's names, of any service."""
    found: list[tuple[Service | None, Voice]] = []
    services = [it for it in gateway.registry.read().speaking() if gateway.voices.by(it)]
    if services:
        lists = of_each(lambda service: _voices_of(gateway, service), services)
        for service, its in zip(services, lists, strict=True):
            found += [(service, voice) for voice in its]
    named = {voice.id for _, voice in found}
    missing = [name for name in OPENAI_VOICES if name not in named] if services else []
    return [*found, *((None, Voice(name, name, "")) for name in missing)]


def _voices_of(gateway: Gateway, service: Service) -> tuple[Voice, ...]:
    """A service's voices; none where it cannot tell them now."""
    adapter = gateway.voices.by(service)
    if adapter is None or health_of(gateway, service).state != READY:
        return ()
    try:
        return adapter.voices(service)
    except UpstreamError as error:
        log.warning("%s", error)
        return ()


def tts_model(gateway: Gateway, model: str) -> TtsModel:
    """What a client means by a model's name.

    Raises:
        ApiError: no service has such a model, or none speaks.
    """
    models = tts_models(gateway)
    if not models:
        raise ApiError(
            "No service that speaks is registered. The gateway's page says how to register one.",
            status=503,
            code="no_service",
            headers=RETRY_IN_A_MINUTE,
        )
    wanted = model or MODELS[0]
    found = next((it for it in models if it.id.lower() == wanted.lower()), None)
    if found is None:
        named = [it for it, voice in voices(gateway) if it and voice.id.lower() == wanted.lower()]
        found = TtsModel(wanted, tuple(named), is_voice=True) if named else None
    if found is None:
        listed = ", ".join(f"'{it.id}'" for it in models)
        raise ApiError(
            f"The model '{model[:100]}' does not exist. Models that speak are: {listed}.",
            status=404,
            code="model_not_found",
            param="model",
        )
    return found
