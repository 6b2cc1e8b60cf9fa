"""An application in this process, with a password or without, and both databases."""

import hashlib
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from proxy_app.access.start import password_of, prepare
from proxy_app.app import create_app
from proxy_app.config import load_config, make_folders
from proxy_app.gateway import EXTENSION
from tests.jobs.conftest import database_url, postgres_server, store

__all__ = ["database_url", "postgres_server", "store"]

PASSWORD = "correct horse battery"


def know_password(folder: Path, password: str = PASSWORD) -> None:
    """Have a password in force with a hash that costs little: the tests check it often."""
    digest = hashlib.scrypt(password.encode(), salt=b"salt", n=16, r=8, p=1).hex()
    (folder / "access").mkdir(mode=0o700, parents=True)
    (folder / "access/password").write_text(f"scrypt:16:8:1${b'salt'.hex()}${digest}")


def settings(folder: Path, **more: str) -> dict[str, str]:
    return {
        "SPEECH_STATE_DIR": str(folder / "state"),
        "SPEECH_SERVICES_DIR": str(folder / "services.d"),
        **more,
    }


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """Bound to loopback, without a password."""
    return application(tmp_path)


@pytest.fixture(scope="session")
def session_locked(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    folder = tmp_path_factory.mktemp("locked")
    know_password(folder / "state")
    return application(folder, SPEECH_HOST="0.0.0.0", SPEECH_ADMIN_PASSWORD=PASSWORD)


@pytest.fixture
def locked(session_locked: Flask) -> Flask:
    """Bound to all addresses, with PASSWORD; what other tests have tried is forgotten."""
    session_locked.extensions[EXTENSION].throttle.forgive("127.0.0.1")
    return session_locked


def application(folder: Path, **more: str) -> Flask:
    environ = settings(folder, **more)
    config = load_config(environ)
    make_folders(config)
    prepare(config)
    return create_app(environ)


def claimed_link(folder: Path, **more: str) -> str:
    """Make a claim; its token."""
    config = load_config(settings(folder, **more))
    make_folders(config)
    token = password_of(config).make_claim()
    assert token is not None
    return token


def log_in(client: FlaskClient, password: str = PASSWORD) -> str:
    """Log in as the page does; gives the token of its forms."""
    page = client.get("/login").text
    form = {"password": password, "csrf_token": token_in(page)}
    answer = client.post("/login", data=form)
    assert answer.status_code == 303, answer.text
    return token_in(client.get("/login").text)


def token_in(page: str) -> str:
    return page.partition('name="csrf_token" value="')[2].partition('"')[0]
