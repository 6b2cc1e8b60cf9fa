"""What has to be there before the gateway starts: folders, and a certificate that can be used."""

from __future__ import annotations

import ssl

from proxy_app.config.reading import PREFIX, Config
from proxy_app.settings import SettingError


def make_folders(config: Config) -> None:
    """Create the folders that the gateway writes to.

    Raises:
        SettingError: one of them cannot be made.
    """
    for name, folder in (("STATE_DIR", config.state_dir), ("SPOOL_DIR", config.spool)):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            reason = f"{str(folder)!r} cannot be made: {error.strerror or error}"
            raise SettingError(f"{PREFIX}{name}={reason}") from None


def check_certificate(config: Config) -> None:
    """Make sure that the certificate and its key, where there are any, can be used.

    Raises:
        SettingError: they cannot be read, or are no pair.
    """
    if config.tls_cert_path is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password OpenSSL would ask for that of a key that has one.
        context.load_cert_chain(config.tls_cert_path, config.tls_key_path, password="")
    except OSError as error:
        raise SettingError(
            f"SPEECH_TLS_CERT_PATH={str(config.tls_cert_path)!r} and"
            f" SPEECH_TLS_KEY_PATH={str(config.tls_key_path)!r} cannot be used as a certificate"
            f" and its key: {getattr(error, 'reason', None) or error.strerror or error}"
        ) from None
