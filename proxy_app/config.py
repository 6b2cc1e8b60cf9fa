"""The gateway's settings, read once at start-up. docs/settings.md is generated from them."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from proxy_app.settings import SettingError, load, setting
from proxy_app.web_targets import entries, listed_target

PREFIX = "SPEECH_"
_MODELS = ("tiny", "base", "small", "medium", "large-v3")
_DATABASES = ("postgresql://", "sqlite:///")
_ALL_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - names
"""And what each is called from this machine."""
_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9_-]+)*"
)


@dataclass(frozen=True)
class Config:
    """What the gateway can be told. `load_config` fills it from the environment."""

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
    max_upload_bytes: int = setting(
        2 * 1024**3, "Largest request in bytes; larger ones get 413.", minimum=1, maximum=2**50
    )
    max_audio_s: float = setting(
        4 * 3600.0, "Longest recording in seconds; longer ones get 413.", minimum=1, maximum=1e6
    )
    decode_memory_bytes: int = setting(
        1024**3,
        "Memory in bytes that decoding one file may take.",
        minimum=256 * 1024**2,
        maximum=2**50,
    )
    max_uploads: int = setting(
        200,
        "Uploads that one worker takes at the same time, being read or waiting for their turn; "
        "more get 503.",
        minimum=1,
    )
    body_timeout_s: float = setting(
        60.0,
        "Seconds without a byte after which an upload is given up, or an answer that nobody takes.",
        minimum=1,
    )
    body_bytes_per_s: int = setting(
        1024,
        "Bytes per second that an upload brings on average, once SPEECH_BODY_TIMEOUT_S are over; "
        "slower ones are given up.",
        minimum=1,
    )
    places: int = setting(
        33,
        "Requests that a service for recordings may have at the same time, at most: one that says "
        "in its /health how many it queues gets so many and one more, any other one. `places` of a "
        "registration goes before.",
        minimum=1,
        maximum=256,
    )
    waiting: int = setting(
        32,
        "Requests that wait for a place in one service, in all workers together; one more gets 429 "
        "at once.",
        minimum=1,
        maximum=10_000,
    )
    queue_deadline_s: float = setting(
        600.0,
        "Seconds a request waits for its place before it gets 429. The work may take as much "
        "longer, as it includes the wait in the service's own queue; OpenAI's clients wait for so "
        "long.",
        minimum=0,
        maximum=86_400,
    )
    linger_s: float = setting(
        30.0,
        "Seconds that a transcription goes on after its client has hung up, and that its result is "
        "kept: the same upload, sent again, gets it. 0 ends it at once.",
        minimum=0,
        maximum=3600,
    )
    voice: bool = setting(
        False,
        "Whether eSpeak NG is registered, a voice that needs no server. `make up` and the control "
        "container set it; what is installed goes before it.",
    )
    voice_places: int = setting(
        4,
        "Requests for speech that one service works on at the same time; more wait.",
        minimum=1,
        maximum=256,
    )
    voice_at_once: int = setting(
        16,
        "Texts that are encoded at the same time, in all workers together, while their clients "
        "read them: about 40 MB each. One more waits half a minute, then gets 429. A wav at its "
        "own speed needs no encoder, and is not counted.",
        minimum=1,
        maximum=256,
    )
    voice_language: str = setting(
        "en-US",
        "Language of the voices that clients name by OpenAI's names (alloy, echo), and of names "
        "that fit voices of several languages.",
    )
    voice_most_characters: int = setting(
        4096,
        "Longest text for speech in characters; longer ones get 400.",
        minimum=1,
        maximum=1_000_000,
    )
    voice_reads_markup: bool = setting(
        False, "Whether Markdown, addresses (URLs) and emoji are read aloud."
    )
    time_limit_floor_s: float = setting(
        120.0,
        "Seconds that any request may take in a service, its wait there (SPEECH_QUEUE_DEADLINE_S) "
        "left out.",
        minimum=1,
        maximum=1e6,
    )
    time_limit_factor: float = setting(
        2.5,
        "The same as a multiple of the recording's length; the larger one counts.",
        minimum=0,
        maximum=1e3,
    )
    llm_max_bytes: int = setting(
        64 * 1024**2,
        "Largest request in bytes to a language model, its pictures included; larger ones get 413.",
        minimum=1,
        maximum=2**40,
    )
    llm_first_byte_s: float = setting(
        600.0,
        "Seconds until a language model's answer begins; one that is not streamed begins when it "
        "is done.",
        minimum=0.1,
        maximum=86_400,
    )
    llm_idle_s: float = setting(
        120.0,
        "Seconds without a byte after which an answer that has begun is given up.",
        minimum=0.1,
        maximum=86_400,
    )
    llm_places: int = setting(
        64,
        "Requests that one language model's server may have at the same time; more wait.",
        minimum=1,
        maximum=10_000,
    )
    database_url: str | None = setting(
        None,
        "Database of jobs, postgresql://USER:PASSWORD@HOST/NAME; by default a file of SQLite in "
        "SPEECH_STATE_DIR. One control host has one.",
        secret=True,
    )
    inventory: Path | None = setting(  # noqa: RUF009 - as above
        None, "Inventory of the playbooks that jobs run, a file or a folder; inventory/local if "
        "not set.",
    )  # fmt: skip
    project_dir: Path | None = setting(  # noqa: RUF009 - as above
        None, "Folder with the ansible.cfg, playbooks and collections that jobs run; by default "
        "the one that the gateway is in.",
    )  # fmt: skip
    jobs_at_once: int = setting(
        8,
        "Jobs that run at the same time: so many installs, as many restarts beside them, and as "
        "many previews.",
        minimum=1,
        maximum=64,
    )
    job_limit_s: float = setting(
        4 * 3600.0,
        "Seconds that an install, a patch or a change of model may take.",
        minimum=1,
        maximum=1e6,
    )
    service_job_limit_s: float = setting(
        3600.0,
        "Seconds that starting or stopping a service may take, the loading of its model included.",
        minimum=1,
        maximum=1e6,
    )
    keep_jobs: int = setting(500, "Jobs that are kept with their logs, the newest.", minimum=1)
    keep_jobs_days: float = setting(
        90.0, "Days after which a job and its log are removed.", minimum=0, maximum=1e5
    )
    audio_jobs_at_once: int = setting(
        2,
        "Audio jobs (POST /v1/audio/jobs) that are worked on at the same time.",
        minimum=1,
        maximum=64,
    )
    audio_jobs_queued: int = setting(
        500, "Audio jobs that may wait in all; more get 429.", minimum=1, maximum=100_000
    )
    audio_jobs_per_key: int = setting(
        100, "Audio jobs of one API key that may wait; more get 429.", minimum=1, maximum=100_000
    )
    keep_audio_jobs_h: float = setting(
        72.0, "Hours for which the result of an audio job is kept.", minimum=0, maximum=1e5
    )
    webhook_hosts: str = setting(
        "",
        "Where audio jobs may tell of their end, separated by commas: names for https, such as "
        "hooks.example.org, or with the scheme and the port, such as http://n8n.lan:5678. None "
        "by default.",
    )
    webhook_secret: str | None = setting(
        None,
        "Secret of 24 to 64 bytes with which webhooks are signed, as Standard Webhooks have it: "
        "base64 after whsec_; give it as a file.",
        secret=True,
    )
    hosts_every_s: float = setting(
        15.0, "Seconds between two looks at how a host is.", minimum=1, maximum=3600
    )
    engine_supervisor: Path | None = setting(  # noqa: RUF009 - as above
        None,
        "Socket of the supervisor that runs the embedded engine. `make up` sets it, so that the "
        "engine can be restarted like a container.",
    )

    probe_every_s: float = setting(
        300.0,
        "Seconds between two deep probes of a service: real speech, whose words are compared.",
        minimum=1,
        maximum=86_400,
    )
    probe_limit_s: float = setting(
        60.0, "Seconds that a deep probe may take.", minimum=0.1, maximum=3600
    )
    stuck_s: float = setting(
        120.0,
        "Seconds without progress after which a service that is at work is probed, and restarted "
        "where the probe fails.",
        minimum=1,
        maximum=86_400,
    )
    load_limit_s: float = setting(
        1800.0,
        "Seconds that a service may load before it counts as stuck; nothing is counted meanwhile.",
        minimum=1,
        maximum=86_400,
    )

    spark2_host: str | None = setting(None, "Default of WHISPERX_HOST.", env="SPARK2_HOST")
    spark2_user: str | None = setting(None, "Default of WHISPERX_USER.", env="SPARK2_USER")
    whisperx_host: str | None = setting(
        None, "Host of the WhisperX server; registers the service.", env="WHISPERX_HOST"
    )
    whisperx_user: str | None = setting(None, "Who logs in there by SSH.", env="WHISPERX_USER")
    whisperx_port: int = setting(
        8002, "Port of the WhisperX server.", env="WHISPERX_PORT", minimum=1, maximum=65535
    )
    whisperx_container: str | None = setting(
        "whisperx-asr", "Name of its container; empty if it has none.", env="WHISPERX_CONTAINER"
    )
    whisperx_model: str = setting(
        "medium",
        f"Its Whisper model ({', '.join(_MODELS)}), which the embedded engine of `make up` loads "
        "too, if this is set.",
        env="WHISPERX_MODEL",
    )
    whisperx_api_key: str | None = setting(
        None, "Key that the WhisperX server asks for.", env="WHISPERX_API_KEY", secret=True
    )
    parakeet_host: str | None = setting(
        None, "Host of a Parakeet server; registers the service.", env="PARAKEET_HOST"
    )
    parakeet_port: int = setting(
        8001, "Port of the Parakeet server.", env="PARAKEET_PORT", minimum=1, maximum=65535
    )
    parakeet_api_key: str | None = setting(
        None, "Key that the Parakeet server asks for.", env="PARAKEET_API_KEY", secret=True
    )
    sortformer_host: str | None = setting(
        None,
        "Host of a Parakeet server that has the Sortformer patch; registers the service.",
        env="SORTFORMER_HOST",
    )
    sortformer_port: int = setting(
        8001, "Port of that server.", env="SORTFORMER_PORT", minimum=1, maximum=65535
    )
    sortformer_api_key: str | None = setting(
        None, "Key that the diarizer asks for.", env="SORTFORMER_API_KEY", secret=True
    )
    magpie_host: str | None = setting(
        None, "Host of a Magpie server; registers the service.", env="MAGPIE_HOST"
    )
    magpie_port: int = setting(
        9000, "Port of the Magpie server.", env="MAGPIE_PORT", minimum=1, maximum=65535
    )
    llm_host: str | None = setting(
        None, "Host of an LLM server; registers the service.", env="LLM_HOST"
    )
    llm_port: int = setting(
        8000, "Port of the LLM server.", env="LLM_PORT", minimum=1, maximum=65535
    )
    llm_api_key: str | None = setting(
        None, "Key that the LLM server asks for.", env="LLM_API_KEY", secret=True
    )

    given: frozenset[str] = field(default=frozenset(), repr=False)
    """The names of the variables that are set; all others have their defaults."""

    @property
    def spool(self) -> Path:
        """Where uploads lie while they are in work."""
        return self.spool_dir or self.state_dir / "spool"

    @property
    def names(self) -> frozenset[str]:
        """The host names of `allowed_hosts`, in lower case, and addresses without brackets."""
        names = (name.strip(" []").lower().rstrip(".") for name in self.allowed_hosts.split(","))
        return frozenset(name for name in names if name)

    @property
    def proxies(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The networks of `trusted_proxies`."""
        listed = (text.strip() for text in self.trusted_proxies.split(","))
        return tuple(ipaddress.ip_network(text) for text in listed if text)

    def time_limit_s(self, duration_s: float) -> float:
        """How long a service may have a recording of so many seconds, its own queue included."""
        work_s = max(self.time_limit_floor_s, self.time_limit_factor * duration_s)
        return self.queue_deadline_s + work_s

    @property
    def url(self) -> str:
        """Where the gateway is found from this machine."""
        host = _ALL_ADDRESSES.get(self.host, self.host)
        scheme = "https" if self.tls_cert_path else "http"
        return f"{scheme}://{bracketed(host)}:{self.port}"

    @property
    def urls_elsewhere(self) -> list[str]:
        """Where other machines find it, if it listens on all addresses: under allowed names too."""
        if self.host not in _ALL_ADDRESSES:
            return []
        address = own_address(self.host)
        named = (name for name in sorted(self.names) if not is_loopback(name))
        hosts = dict.fromkeys([*named, *([address] if address else [])])
        here, _, port = self.url.rpartition(":")
        return [f"{here.partition('://')[0]}://{bracketed(host)}:{port}" for host in hosts]

    @property
    def public(self) -> bool:
        """Whether the gateway listens on anything but loopback."""
        return not is_loopback(self.host)

    @property
    def needs_password(self) -> bool:
        """Whether it answers nobody without one."""
        return self.public or self.password_required


def load_config(environ: Mapping[str, str]) -> Config:
    """Read the settings.

    Raises:
        SettingError: naming the variable, its value and what is expected instead.
    """
    config = load(Config, environ, prefix=PREFIX)
    if (config.tls_cert_path is None) != (config.tls_key_path is None):
        raise SettingError("SPEECH_TLS_CERT_PATH and SPEECH_TLS_KEY_PATH: set both, or neither")
    if config.database_url and not config.database_url.startswith(_DATABASES):
        raise SettingError(f"SPEECH_DATABASE_URL: expected a URL with {' or '.join(_DATABASES)}")
    for name in config.names:
        if not is_host(name):
            raise SettingError(
                f"SPEECH_ALLOWED_HOSTS={config.allowed_hosts!r}: {name!r} is no host name; "
                "list names such as spark.local, separated by commas, without port or wildcard"
            )
    for entry in entries(config.webhook_hosts):
        if not _is_target(entry):
            raise SettingError(
                f"SPEECH_WEBHOOK_HOSTS={config.webhook_hosts!r}: {entry!r} is no host; list names "
                "such as hooks.example.org, or http://n8n.lan:5678, separated by commas, without "
                "path or wildcard"
            )
    try:
        trusts_all = any(network.prefixlen == 0 for network in config.proxies)
    except ValueError:
        trusts_all = True
    if trusts_all:
        raise SettingError(
            f"SPEECH_TRUSTED_PROXIES={config.trusted_proxies!r}: list the proxies' own addresses "
            "or networks, such as 10.0.0.2 or 172.17.0.0/16, separated by commas"
        )
    return replace(
        config,
        given=frozenset(name.removesuffix("_FILE") for name in environ),
        whisperx_host=config.whisperx_host or config.spark2_host,
        whisperx_user=config.whisperx_user or config.spark2_user,
    )


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


def own_address(host: str) -> str | None:
    """This machine's address on the network that leads elsewhere; None without one.

    Args:
        host: 0.0.0.0 or ::, as it is listened on.
    """
    families = (socket.AF_INET,) if host == "0.0.0.0" else (socket.AF_INET6, socket.AF_INET)  # noqa: S104 - a name
    for family in families:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as route:
            # Nothing is sent; these addresses are for documentation (RFC 5737, RFC 3849).
            route.connect(("192.0.2.1" if family == socket.AF_INET else "2001:db8::1", 9))
            address: str = route.getsockname()[0]
            return address
    return None


@lru_cache(64)
def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine, and only this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_target(entry: str) -> bool:
    try:
        _, host, _ = listed_target(entry)
    except ValueError:
        return False
    return is_host(host)


def is_host(text: str) -> bool:
    """Whether a text is a host name or an address, without brackets and port."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOST_NAME.fullmatch(text) is not None
    return True


def host_problem(text: str) -> str:
    """Why a text is no host of one's own network that can be connected to; empty if it is one."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        # A name of digits and dots only is another spelling of an IP address (2130706433, 127.1).
        if not is_host(text) or re.fullmatch(r"[0-9.]+|0x[0-9a-f.x]+", text.lower()):
            return f"{text[:100]!r} is no host name"
        return ""
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_link_local or address.is_unspecified or address.is_multicast:
        return f"{text} is no address of a service"
    return ""


def bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host
