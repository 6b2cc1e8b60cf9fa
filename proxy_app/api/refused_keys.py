"""What programs are told whose API key is none, in OpenAI's shape."""

from __future__ import annotations

from proxy_app.access import TooManyTriesError
from proxy_app.errors import ApiError
from proxy_app.errors.translations import as_api_error

_CODE = "invalid_api_key"
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="Spark Speech"'}
_HOW = (
    "`python -m proxy_app control keys add NAME` makes one, and so do the settings of the"
    " gateway's page."
)


def wrong_key() -> ApiError:
    """A key, or a password in its place, was sent that is none."""
    return ApiError(
        f"Incorrect API key provided: it is no key of this gateway, or was revoked. {_HOW}",
        status=401,
        code=_CODE,
        headers=_CHALLENGE,
    )


def missing_key(more: str = "") -> ApiError:
    """Nothing was sent."""
    return ApiError(
        "This needs an API key: send it as `Authorization: Bearer KEY`, or as the password of"
        f" HTTP Basic. {_HOW}{more}",
        status=401,
        code=_CODE,
        headers=_CHALLENGE,
    )


def tried_too_often(error: TooManyTriesError) -> ApiError:
    """So many were wrong that no more are looked at, but for real keys."""
    told = as_api_error(error)
    return ApiError(
        "Incorrect API key provided, and too often: what is no API key of this gateway is looked"
        " at again in some minutes, a right API key at once.",
        status=told.status,
        code=told.code,
        headers=told.headers,
    )
