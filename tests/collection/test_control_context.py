"""The control image has what installs services: other images' contexts, playbooks, collections."""

import re
import shutil
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from ansible_collections.spark.speech.plugins.modules.build_context import context_files

from tests.certificates import make_certificate
from tests.collection.conftest import RunModule
from tools import collection

ROOT = collection.ROOT
OTHERS = [image for image in collection.images() if image != "control"]
ROLES = collection.COLLECTION / "roles"


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the context of the control image, and nothing else."""
    folder = tmp_path_factory.mktemp("control")
    for name, source in context_files(ROOT, "control").items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / name)
    return folder


@pytest.mark.parametrize("image", OTHERS)
def test_an_image_has_the_same_hash_from_the_control_image_and_from_a_checkout(
    image: str, inside: Path, run_module: RunModule
) -> None:
    found = []
    for root in (ROOT, inside):
        answer = run_module("build_context", root=str(root), name=image)
        assert not answer.get("failed"), answer["msg"]
        found.append(answer["hash"])
    assert found[0] == found[1]


def test_every_playbook_and_role_is_in_the_control_image_and_no_inventory(inside: Path) -> None:
    for folder in (ROOT / "playbooks", ROLES):
        for file in folder.rglob("*.yml"):
            assert (inside / file.relative_to(ROOT)).read_bytes() == file.read_bytes()
    assert (inside / "ansible.cfg").is_file()
    assert not (inside / "inventory").exists()


def test_each_collection_that_a_role_uses_is_kept_in_the_control_image() -> None:
    dockerfile = (ROOT / "images/control/Dockerfile").read_text()
    kept = {name.replace("/", ".") for name in re.findall(r"community/\w+", dockerfile)}
    assert "community.docker" in kept
    used = {
        match[1]
        for file in ROLES.rglob("*/tasks/*.yml")
        for match in re.finditer(
            r"^\s+-? *([a-z_]+\.[a-z_]+)\.[a-z_]+:", file.read_text(), re.MULTILINE
        )
    }
    assert "community.docker" in used
    assert used <= kept | {"ansible.builtin", "spark.speech"}


class Answer(BaseHTTPRequestHandler):
    """Says ok to everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def secure_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose certificate nobody vouches for."""
    made = make_certificate(tmp_path_factory.mktemp("certificate"), "spark.local")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.cert, made.key)
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}/livez"
        server.shutdown()
        thread.join()


def test_a_certificate_that_nobody_vouches_for_is_refused_unless_that_is_meant(
    secure_url: str, run_module: RunModule
) -> None:
    strict = run_module("service_probe", url=secure_url, https=True)
    assert not strict["ready"]
    assert "this host does not trust its certificate" in strict["said"]
    meant = run_module("service_probe", url=secure_url, https=True, validate_certs=False)
    assert meant["ready"], meant
