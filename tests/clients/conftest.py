"""One gateway for the whole suite, and a look at every answer after each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml

from proxy_app.watch.clip import CLIP
from tests.clients.contract import broken
from tests.clients.home import CLIENT_WITHIN_S, GATEWAY_PYTHON, ROOT, Home, home

DOCUMENT = "openai-audio-openapi.yaml"


def python_of(kind: str) -> Path:
    """The interpreter of one of the environments, or a skip: KIND_PYTHON, or what set-up made."""
    path = Path(os.environ.get(f"{kind.upper()}_PYTHON", ROOT / f".venv/{kind}/bin/python"))
    if not path.is_file():
        pytest.skip(f"no {path}: `make test` makes it")
    return path


@pytest.fixture(scope="session")
def session_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    for needed in (GATEWAY_PYTHON, ROOT / ".venv/engine/bin/python"):
        if not needed.is_file():
            pytest.skip(f"no {needed}: `make test` makes it")
    with home(tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.fixture(scope="session")
def document() -> dict[str, Any] | None:
    """OpenAI's own document, where there is one."""
    path = Path(os.environ.get("TEST_DATA", "/nowhere"), DOCUMENT)
    return yaml.safe_load(path.read_text()) if path.exists() else None


@pytest.fixture
def at(session_at: Home, document: dict[str, Any] | None) -> Iterator[Home]:
    """All well at first; whatever a client was answered is looked at in the end."""
    session_at.llm.reset()
    session_at.magpie.reset()
    session_at.listener.heard.clear()
    session_at.wire.forget()
    yield session_at
    found = [it for exchange in session_at.wire.exchanges() for it in broken(exchange, document)]
    assert found == []


@pytest.fixture
def client(at: Home) -> Iterator[openai.OpenAI]:
    """OpenAI's own, as people make it."""
    with openai.OpenAI(
        base_url=at.v1, api_key=at.key, max_retries=0, timeout=CLIENT_WITHIN_S
    ) as made:
        yield made


@pytest.fixture
def clip() -> Path:
    """A recording whose words are known: proxy_app.watch.clip.SPOKEN."""
    return CLIP
