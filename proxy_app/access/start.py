"""What has to be settled before the gateway listens: who may use it."""

from __future__ import annotations

from proxy_app.access.password import BrokenError, Password, PasswordError
from proxy_app.config import Config
from proxy_app.random_file import random_bytes
from proxy_app.settings import SettingError


def password_of(config: Config) -> Password:
    """The password of the gateway with these settings."""
    return Password(config.state_dir / "access")


def prepare(config: Config) -> None:
    """Put the password of the settings in force, and see that what others reach has one.

    Raises:
        SettingError: it cannot be a password, or there is none where it is needed.
    """
    password = password_of(config)
    given = config.admin_password
    if given is not None:
        try:
            if not _is_in_force(password, given):
                password.put(given)
        except PasswordError as error:
            raise SettingError(f"SPEECH_ADMIN_PASSWORD=(hidden): {error}") from None
    try:
        has_password = password.fingerprint is not None
    except BrokenError as error:
        raise SettingError(f"{config.state_dir / 'access/password'}: {error}") from None
    if config.needs_password and not has_password and password.claim_token is None:
        asks = "others reach this address" if config.public else "SPEECH_PASSWORD_REQUIRED is on"
        raise SettingError(
            f"SPEECH_HOST={config.host!r}: {asks}, and there is no password: set"
            " SPEECH_ADMIN_PASSWORD_FILE, or open the link that `python -m proxy_app control claim`"
            " prints"
        )


def _is_in_force(password: Password, given: str) -> bool:
    try:
        return password.check(given)
    except BrokenError:
        return False


def claim_link(config: Config) -> str | None:
    """The link that sets the password, for who may read its file; None where there is one."""
    if config.admin_password is not None:
        return None
    token = password_of(config).make_claim()
    return token and f"{config.url}/claim?token={token}"


def claim_links(config: Config) -> list[str]:
    """The same link for this machine's browser, and for those of others that reach it."""
    first = claim_link(config)
    if first is None:
        return []
    return [first, *(first.replace(config.url, url, 1) for url in config.urls_elsewhere)]


def form_key(config: Config) -> bytes:
    """The key that the tokens of forms are made with; made at the first use."""
    return random_bytes(config.state_dir / "access/form-key")
