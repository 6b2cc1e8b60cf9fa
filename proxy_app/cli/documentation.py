"""`settings`: docs/settings.md, written from the settings themselves."""

from __future__ import annotations

from typing import Any

from images.whisperx.app.settings import EngineSettings
from proxy_app.config import PREFIX, Config
from proxy_app.settings import describe

_HEAD = """\
# Settings

Environment variables; `make docs` writes this page from the code. Every NAME can be given as
NAME_FILE instead, the path of a file that holds the value, which is the way for secrets. A value
that cannot be used stops the process at its start with a sentence, and so does a name that begins
with SPEECH_ or ENGINE_ and is not listed here.

The settings of `make setup` (SETUP_TORCH, SETUP_TORCH_INDEX, SETUP_INDEX_URL, SETUP_WHEELHOUSE) are
in the README.
"""


def page() -> str:
    """The page, in Markdown."""
    return "\n".join([
        _HEAD,
        *_section("The gateway", Config, PREFIX),
        *_section("The WhisperX server, embedded or in its container", EngineSettings, "ENGINE_"),
    ])  # fmt: skip


def _section(title: str, declared: type[Any], prefix: str) -> list[str]:
    rows = [f"## {title}", "", "| variable | value | default | meaning |", "|---|---|---|---|"]
    for item in describe(declared, prefix=prefix):
        default = f"`{item.default}`" if item.default else ""
        rows.append(f"| `{item.name}` | {item.kind} | {default} | {item.help} |")
    return [*rows, ""]
