"""What can go wrong with a service, as far as the one who asked must know."""

from __future__ import annotations

from proxy_app.services import Service
from proxy_app.upstreams.own_key import without_key


class UpstreamError(Exception):
    """A service did not give a usable answer. `message` is for the client, `log` for us."""

    def __init__(self, service: str, message: str, log: str = "") -> None:
        super().__init__(f"{service}: {log or message}")
        self.service = service
        self.message = message


class RejectedError(UpstreamError):
    """The service refused this request (a 4xx): sending it again does not help.

    Attributes:
        status: the HTTP status.
        retry_after: the header, as it came.
        param: the field of the request that is to blame, if the service names one.
        code: the service's word for it, if it has one.
    """

    def __init__(
        self,
        service: str,
        status: int,
        message: str,
        *,
        retry_after: str | None = None,
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(service, message)
        self.status = status
        self.retry_after = retry_after
        self.param = param
        self.code = code


class RejectedContentError(RejectedError):
    """The service failed on what this request brought more than once, and on nothing else."""


class RejectedTextError(RejectedContentError):
    """The same of a text that was to be spoken."""

    def __init__(self, service: str) -> None:
        message = (
            "This text made the speech service fail, twice, although it works for others. "
            "Take out what is unusual in it, or split it."
        )
        super().__init__(service, 422, message, param="input", code="upstream_rejected_text")


class RejectedAudioError(RejectedContentError):
    """The same of a recording."""

    def __init__(self, service: str) -> None:
        message = (
            "This recording made the speech service fail, twice, although it works for others. "
            "Convert it to WAV or MP3, or cut it, and listen to it."
        )
        super().__init__(service, 422, message, param="file", code="upstream_rejected_audio")


class NoTimesError(RejectedError):
    """The service does not tell when it is said what the answer needs the times of."""

    def __init__(self, service: Service, *, words: bool) -> None:
        of = "each word" if words else "anything"
        instead = "Leave timestamp_granularities out" if words else "Ask for json or text"
        message = (
            f"{service.title} does not tell when {of} is said, which this answer needs. {instead}, "
            "or have a WhisperX server registered, which tells it."
        )
        param = "timestamp_granularities" if words else "response_format"
        super().__init__(service.name, 400, message, param=param, code="no_timestamps")


class UnavailableError(UpstreamError):
    """The service failed or does not answer; it may again in a minute.

    Attributes:
        status: the HTTP status, where it gave one.
    """

    def __init__(
        self, service: str, message: str, log: str = "", *, status: int | None = None
    ) -> None:
        super().__init__(service, message, log)
        self.status = status


class CutShortError(UnavailableError):
    """What a voice gave, twice, cannot be the whole text: its end is missing."""

    def __init__(self, service: Service, duration_s: float) -> None:
        message = (
            f"{service.title} gave {duration_s:.1f} s of speech, which is too little for the text: "
            "it ended too soon."
        )
        # As a status of its own would say: the service may be to blame, or this text.
        super().__init__(service.name, message, status=500)


class MisconfiguredError(UpstreamError):
    """The service answers, but not as one of its kind does, or it refuses our key."""


class TimeLimitError(UpstreamError):
    """The service worked on the request for longer than is allowed."""


def unusable(service: Service, error: Exception) -> UnavailableError:
    """The error for an answer that cannot be read."""
    return UnavailableError(
        service.name,
        f"{service.title} gave an answer that makes no sense.",
        log=without_key(service, str(error)),
    )
