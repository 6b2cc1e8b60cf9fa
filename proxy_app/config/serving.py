"""The settings of what leads in and out: addresses, the password, TLS, folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from proxy_app.settings import setting


@dataclass(frozen=True)
class Serving:
    """How the gateway is reached, and where its files are."""

    host: str = setting("127.0.0.1", "Address the gateway listens on.")
    port: int = setting(8080, "Port the gateway listens on.", minimum=1, maximum=65535)
    workers: int = setting(2, "Worker processes of the gateway.", minimum=1, maximum=64)
    admin_password: str | None = setting(
        None,
        "Password of the page, of /api and of /v1, 10 characters at least; give it as a file. It "
        "stays in force when it is set no more, until `access/password` in SPEECH_STATE_DIR is "
        "removed. Without one the gateway answers on loopback alone, or it is set by the link that "
        "`python -m proxy_app control claim` prints.",
        secret=True,
    )
    password_required: bool = setting(
        False,
        "Ask for the password on loopback too: for a gateway behind a reverse proxy on the same "
        "machine, whose requests look like this machine's user's own. Without a password the "
        "gateway does not start then.",
    )
    open_lists: bool = setting(
        False,
        "Answer GET /v1/models, /v1/audio/models and /v1/audio/voices to everybody, without a "
        "key: Open WebUI sends none when it lists voices.",
    )
    allowed_origins: str = setting(
        "",
        "Origins of pages, separated by commas, that may call from a browser what API keys open, "
        "with a key as Bearer, and read the answers (CORS): https://notes.example, "
        "http://localhost:3000, app://obsidian.md; * for all.",
    )
    trusted_proxies: str = setting(
        "",
        "Addresses or networks of reverse proxies, separated by commas, whose X-Forwarded-For, "
        "-Proto and -Host are believed, the last entry of each.",
    )
    allowed_hosts: str = setting(
        "",
        "More host names, separated by commas, under which the gateway may be called. It answers "
        "to localhost, to loopback addresses and, where SPEECH_HOST is not loopback, to any "
        "address; other names are refused, which stops DNS rebinding.",
    )
    tls_cert_path: Path | None = setting(  # noqa: RUF009 - a Path cannot change
        None,
        "Certificate file (PEM, the chain after the certificate), with which the gateway speaks "
        "HTTPS and nothing else. It is read at the start.",
    )
    tls_key_path: Path | None = setting(  # noqa: RUF009 - as above
        None, "File with its key (PEM, without a passphrase)."
    )
    log_level: str = setting(
        "info", "What the gateway logs.", choices=("debug", "info", "warning", "error")
    )
    state_dir: Path = setting(  # noqa: RUF009 - as above
        Path(".run"), "Folder for locks, uploads in work, and notes on services."
    )
    spool_dir: Path | None = setting(  # noqa: RUF009 - as above
        None, "Folder for uploads in work; `spool` in SPEECH_STATE_DIR if not set."
    )
    services_dir: Path = setting(  # noqa: RUF009 - as above
        Path("services.d"), "Folder whose NAME.json files register services."
    )
