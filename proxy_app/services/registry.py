"""The registered services: one JSON file each, and the environment.

Files belong to whoever installs services and are replaced atomically, so every request looks
whether one has changed, and reads all of them if so. A service that the environment defines takes
the place of a file of the same name as a whole.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from proxy_app.config import Config, bracketed, host_problem
from proxy_app.services.removed import Removed
from proxy_app.settings import SettingError

KINDS = ("speakers", "asr", "diarize", "tts", "llm")
APIS = ("whisperx", "parakeet", "sortformer", "riva", "magpie", "openai")
ESPEAK = "espeak"
"""The API of the voice that needs no server; no file can register it."""
ENVIRONMENT = "environment"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
_LARGEST_FILE = 64 * 1024
_LONGEST_TEXT = 1000
MOST_PLACES = 256
_SHORTEST_LIMIT_S = 10.0
_LONGEST_LIMIT_S = 1e6
_SETTLED_NS = 100_000_000

T = TypeVar("T")
_Seen = tuple[tuple[str, int, int, int, int], ...]
"""Of each file its path, inode, size, and when it and its inode were changed, in ns since 1970."""


@dataclass(frozen=True, slots=True)
class Service:
    """One registered service."""

    name: str
    title: str
    kind: str
    """One of KINDS: what it does."""
    api: str
    """One of APIS: how it is spoken to."""
    base_url: str
    """http or https, host and port, without a slash at the end."""
    host: str
    container: str | None = None
    model: str | None = None
    auto_restart: bool = True
    max_audio_s: float | None = None
    """The longest recording in seconds that it can take at once, where that is registered."""
    places: int | None = None
    """How many requests it may have at once, those that it queues included, where that is
    registered."""
    source: str = ENVIRONMENT
    """ENVIRONMENT, or the name of the file."""
    is_embedded: bool = False
    """The engine that `up` has started. What is installed anywhere goes before it."""
    overrides: str | None = None
    """The file whose place the environment took."""
    api_key_file: str | None = None
    """The file beside the registration that holds the key."""
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Malformed:
    """A file that registers nothing, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Registered:
    """What is registered at one moment."""

    services: tuple[Service, ...]
    malformed: tuple[Malformed, ...]

    def all(self, kind: str, api: str) -> tuple[Service, ...]:
        """All services that do this by this API, by name."""
        return tuple(it for it in self.services if (it.kind, it.api) == (kind, api))

    def speaking(self) -> tuple[Service, ...]:
        """All voices, the environment's before the files'; that without a server is the last."""
        found = (service for service in self.services if service.kind == "tts")
        return tuple(
            sorted(found, key=lambda it: (it.api == ESPEAK, it.source != ENVIRONMENT, it.name))
        )

    def ranked(self, kind: str, api: str) -> tuple[Service, ...]:
        """All services that do this by this API: the environment's before the files', by name.

        The embedded engine is the last one, for as long as it is not stopped.
        """
        fitting = self.all(kind, api)
        return tuple(sorted(fitting, key=lambda it: (it.is_embedded, it.source != ENVIRONMENT)))

    def first(self, kind: str, api: str) -> Service | None:
        """The first of them, if there is one."""
        return next(iter(self.ranked(kind, api)), None)


class Registry:
    """Reads the services of the settings, of one folder, and of the page's own."""

    def __init__(self, config: Config) -> None:
        """Check the services of the environment.

        Raises:
            SettingError: naming the variable that holds an unusable host.
        """
        # The second is control's where no inventory names one (hosts/own.py).
        self._folders = (config.services_dir, config.state_dir / "services.d")
        self._removed = Removed(config.state_dir)
        self._from_environment = {service.name: service for service in _of_environment(config)}
        self._last: tuple[_Seen, Registered] | None = None

    def read(self) -> Registered:
        """The services as they are registered now, by name, without those that a person removed.

        Malformed files never raise.
        """
        seen = self._look()
        last = self._last
        if last is not None and last[0] == seen:
            return last[1]
        found = self._read_all()
        if not found.malformed and _is_settled(seen):
            self._last = seen, found
        return found

    def _look(self) -> _Seen:
        """What is another one when a file is."""
        found = [_stat(self._removed.file)]
        for folder in self._folders:
            with suppress(OSError), os.scandir(folder) as entries:
                found += [
                    _stat(entry) for entry in entries if entry.name.endswith((".json", ".key"))
                ]
        return tuple(found)

    def _read_all(self) -> Registered:
        services = dict(self._from_environment)
        malformed = []
        for path in (path for folder in self._folders for path in sorted(folder.glob("*.json"))):
            try:
                service = with_key(parse(path.stem, _read(path), source=path.name), path)
            except (OSError, ValueError) as error:
                malformed.append(Malformed(path.name, _reason(error)))
                continue
            known = services.get(service.name)
            if known is None or known.is_embedded:
                services[service.name] = service
            else:
                services[service.name] = replace(known, overrides=path.name)
        hidden = self._removed.hides(services)
        ordered = tuple(services[name] for name in sorted(services.keys() - hidden))
        return Registered(ordered, tuple(malformed))


def _stat(file: Path | os.DirEntry[str]) -> tuple[str, int, int, int, int]:
    try:
        it = file.stat()
    except OSError:
        return os.fspath(file), 0, 0, 0, 0
    return os.fspath(file), it.st_ino, it.st_size, it.st_mtime_ns, it.st_ctime_ns


def _is_settled(seen: _Seen) -> bool:
    """Whether files are old enough to be told from what is written into them next.

    The kernel's clock for files goes in steps of some milliseconds.
    """
    return max(changed for *_, changed in seen) < time.time_ns() - _SETTLED_NS


def parse(name: str, fields: Mapping[str, Any], *, source: str) -> Service:
    """Check a registration field by field.

    Raises:
        ValueError: naming the field and what is expected.
    """
    _refuse_unknown(fields)
    if not _NAME.fullmatch(name):
        raise ValueError(f"file name {name!r}: expected small letters, digits and dashes")
    if _text(fields, "name", name) != name:
        raise ValueError(f"name={fields['name']!r}: expected {name!r}, as the file is called")
    base_url, host = _base_url(_text(fields, "base_url"))
    container = _optional_text(fields, "container")
    if container is not None and not _CONTAINER.fullmatch(container):
        raise ValueError(f"container={container!r}: expected the name of a Docker container")
    return Service(
        name=name,
        title=_text(fields, "title", name),
        kind=_choice(fields, "kind", KINDS),
        api=_choice(fields, "api", APIS),
        base_url=base_url,
        host=_optional_text(fields, "host") or host,
        container=container,
        model=_optional_text(fields, "model"),
        auto_restart=_typed(fields, "auto_restart", bool, "true or false", default=True),
        max_audio_s=_limit(fields, "max_audio_s"),
        places=_places(fields),
        source=source,
        api_key_file=_key_file(fields, name),
    )


def _key_file(fields: Mapping[str, Any], name: str) -> str | None:
    """A file of the same folder and name: a registration cannot have another file sent away."""
    file = _optional_text(fields, "api_key_file")
    if file not in (None, f"{name}.key"):
        raise ValueError(f"api_key_file: expected {name}.key, which lies beside the registration")
    return file


def with_key(service: Service, registration: Path) -> Service:
    """Read the key that lies beside a registration, where it names one.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no key.
    """
    if service.api_key_file is None:
        return service
    key = _read_text(registration.with_name(service.api_key_file)).strip()
    if not key.isascii() or not key.isprintable() or " " in key or not key:
        raise ValueError(f"{service.api_key_file}: expected a key on one line")
    return replace(service, api_key=key)


def _refuse_unknown(fields: Mapping[str, Any]) -> None:
    known = {"name", "title", "kind", "api", "base_url", "host", "container", "model"}
    unknown = sorted(
        set(fields) - known - {"auto_restart", "max_audio_s", "places", "api_key_file"}
    )
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}")


def _of_environment(config: Config) -> list[Service]:
    rows = (
        (
            "whisperx",
            "WhisperX",
            "speakers",
            "whisperx",
            config.whisperx_host,
            config.whisperx_port,
        ),
        ("parakeet", "Parakeet", "asr", "parakeet", config.parakeet_host, config.parakeet_port),
        (
            "sortformer",
            "Sortformer",
            "diarize",
            "sortformer",
            config.sortformer_host,
            config.sortformer_port,
        ),
        ("magpie", "Magpie", "tts", "magpie", config.magpie_host, config.magpie_port),
        ("llm", "Language model", "llm", "openai", config.llm_host, config.llm_port),
    )
    keys = {
        "parakeet": config.parakeet_api_key,
        "sortformer": config.sortformer_api_key,
        "llm": config.llm_api_key,
    }
    services = []
    for name, title, kind, api, host, port in rows:
        if host is None:
            continue
        try:
            base_url, _ = _base_url(f"http://{bracketed(host)}:{port}")
        except ValueError:
            is_default = name == "whisperx" and host == config.spark2_host
            variable = "SPARK2_HOST" if is_default else f"{name.upper()}_HOST"
            raise SettingError(
                f"{variable}={host!r}: expected a host name or an IP address"
            ) from None
        service = Service(name, title, kind, api, base_url, host, api_key=keys.get(name))
        services.append(_whisperx(service, config) if name == "whisperx" else service)
    if config.voice:
        voice = Service("voice", "eSpeak NG", "tts", ESPEAK, "espeak-ng", "127.0.0.1")
        services.append(replace(voice, auto_restart=False))
    return services


def _whisperx(service: Service, config: Config) -> Service:
    """Add what more the variables say; their defaults tell what an install makes, not what runs."""
    return replace(
        service,
        container=config.whisperx_container if "WHISPERX_CONTAINER" in config.given else None,
        model=config.whisperx_model if "WHISPERX_MODEL" in config.given else None,
        api_key=config.whisperx_api_key,
        is_embedded=config.engine_supervisor is not None,
    )


def _read(path: Path) -> Mapping[str, Any]:
    data = _read_text(path)
    try:
        fields = json.loads(data)
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError("expected a JSON object")  # noqa: TRY004 - every refusal is a ValueError
    return fields


def _read_text(path: Path) -> str:
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("no regular file")
        data = file.read(_LARGEST_FILE + 1)
    if len(data) > _LARGEST_FILE:
        raise ValueError(f"larger than {_LARGEST_FILE} bytes")
    try:
        return data.decode()
    except ValueError:
        raise ValueError("no text in UTF-8") from None


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; opening a pipe would otherwise wait for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    return str(error)


def _base_url(url: str) -> tuple[str, str]:
    """Check a service's address; return it without a slash at the end, and its host."""
    # The refusal is on the page, and the value may hold a password.
    expected = "base_url: expected http://HOST:PORT, without user, password, path or query"
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(expected) from None
    plain = parts.username is None and parts.path in ("", "/") and not parts.query + parts.fragment
    if parts.scheme not in ("http", "https") or host is None or not plain:
        raise ValueError(expected)
    _refuse_host(host)
    return f"{parts.scheme}://{parts.netloc}", host


def _refuse_host(host: str) -> None:
    """Refuse addresses that reach something else than a service of one's own network."""
    if problem := host_problem(host):
        raise ValueError(f"base_url: {problem}")


def _typed(
    fields: Mapping[str, Any], name: str, kind: type[T], expected: str, default: T | None = None
) -> T:
    value = fields.get(name, default)
    if value is None:
        raise ValueError(f"{name} is missing")
    if not isinstance(value, kind):
        raise ValueError(f"{name}: expected {expected}")  # noqa: TRY004 - as above
    return value


def _text(fields: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = _typed(fields, name, str, "text", default)
    if not value.strip() or len(value) > _LONGEST_TEXT or not value.isprintable():
        raise ValueError(f"{name}: expected 1 to {_LONGEST_TEXT} printable characters")
    return value


def _limit(fields: Mapping[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not _SHORTEST_LIMIT_S <= value <= _LONGEST_LIMIT_S:
        raise ValueError(
            f"{name}: expected seconds from {_SHORTEST_LIMIT_S:g} to {_LONGEST_LIMIT_S:g}"
        )
    return float(value)


def _places(fields: Mapping[str, Any]) -> int | None:
    value = fields.get("places")
    if value is None:
        return None
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if not is_number or not 1 <= value <= MOST_PLACES:
        raise ValueError(f"places: expected a whole number from 1 to {MOST_PLACES}")
    return int(value)


def _optional_text(fields: Mapping[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else _text(fields, name)


def _choice(fields: Mapping[str, Any], name: str, choices: tuple[str, ...]) -> str:
    value = _text(fields, name)
    if value not in choices:
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(choices)}")
    return value
