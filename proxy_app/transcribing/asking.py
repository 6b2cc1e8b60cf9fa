"""What a client asks for, and which services can do it: by the model that it names, and by need."""

from __future__ import annotations

import re

from proxy_app.errors import DO_NOT_RETRY, RETRY_IN_A_MINUTE, ApiError, BadRequestError
from proxy_app.gateway import Gateway
from proxy_app.routing import health_of
from proxy_app.services import Needs, Registered, Route, Service, Tiers, routes
from proxy_app.upstreams import Options

TRANSCRIBES = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe")
TELLS_SPEAKERS = ("gpt-4o-transcribe-diarize",)
"""The names that clients have built in: n8n and Speakr take no others."""
_ALIASES = frozenset(("", *TRANSCRIBES, *TELLS_SPEAKERS))
_LIKE = re.compile(r"whisper|transcri|parakeet|sortformer|diari[sz]|speech-to-text|stt|asr")
"""What clients may have built in besides: names of recognisers, dated ones of OpenAI's."""
_SIZE = re.compile(
    r"(distil-)?(tiny|base|small|medium|large|turbo)([.-](en|v[123](-turbo)?|turbo))?"
)
"""Whisper's models, whichever of them is there."""
_PREFIX = re.compile(r"(faster[- ])?whisper[- ]")
_PARAKEETS = frozenset(
    {
        *("bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "hr", "hu", "it"),
        *("lt", "lv", "mt", "nl", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "uk"),
    }
)
"""What parakeet-tdt-0.6b-v3 has learnt; of other languages it writes nonsense."""


def routes_for(gateway: Gateway, options: Options, *, speakers: bool) -> Tiers[Route]:
    """The ways in which what is asked for can be done; at least one.

    Raises:
        ApiError: 404, there is no such model; 503, no service can do it; 400, none can but for
            something that may be left out.
    """
    registered = gateway.registry.read()
    named = check_model(gateway, registered, options.model)
    found = routes(registered, needs(options, speakers=speakers), named)
    if found:
        return found
    if options.translate:
        raise ApiError(
            "Translations need a WhisperX server, and none is registered. The gateway's page says "
            "how to register one.",
            status=503,
            code="no_service",
            headers=DO_NOT_RETRY,  # it would be asked in vain until somebody installs one
        )
    if options.logprobs and routes(registered, Needs(speakers=speakers), named):
        raise BadRequestError(
            "include[]=logprobs needs a WhisperX server, and none is registered. Leave `include[]` "
            "out, or have one registered.",
            param="include[]",
            code="unsupported_value",
            headers=DO_NOT_RETRY,
        )
    raise ApiError(
        "No speech service is registered for this. The gateway's page says how to register one.",
        status=503,
        code="no_service",
        headers=RETRY_IN_A_MINUTE,
    )


def needs(options: Options, *, speakers: bool) -> Needs:
    """What of it not every service can do."""
    hints = (
        *(options.prompt, options.keywords, options.languages, options.temperature),
        options.chunking_strategy,
    )
    is_strange = options.language is not None and options.language not in _PARAKEETS
    return Needs(
        speakers=speakers,
        whisper=any(hints) or is_strange,
        whisper_only=options.translate or options.logprobs,
    )


def check_model(gateway: Gateway, registered: Registered, model: str) -> tuple[Service, ...]:
    """The services that have the model that a client names; none where any will do.

    Raises:
        ApiError: 404, it is no name of a recogniser.
    """
    if model.lower() in _ALIASES:
        return ()
    services = (*registered.all("asr", "parakeet"), *registered.all("speakers", "whisperx"))
    wanted, names = _plain(model), {it: _names(gateway, it) for it in services}
    found = tuple(it for it in services if wanted in map(_plain, names[it]))
    if found or _LIKE.search(model.lower()) or _SIZE.fullmatch(wanted):
        return found
    # The first name of a service is its model's, where that is known.
    known = [next(iter(its)) for its in names.values()]
    listed = ", ".join(
        f"'{name}'" for name in dict.fromkeys([*TRANSCRIBES, *TELLS_SPEAKERS, *known])
    )
    raise ApiError(
        f"The model '{model[:100]}' does not exist. Models that transcribe are: {listed}.",
        status=404,
        code="model_not_found",
        param="model",
    )


def _names(gateway: Gateway, service: Service) -> list[str]:
    told = health_of(gateway, service).model
    return [name for name in (told, service.model, service.name) if name]


def _plain(name: str) -> str:
    """A model's name without its owner, and without what is the same for all Whispers."""
    return _PREFIX.sub("", name.strip().lower().rpartition("/")[2])
