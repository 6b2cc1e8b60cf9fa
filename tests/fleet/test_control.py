"""The page as a container on a host, and a playbook run from inside it on another host.

The tests of this page build on one another, in this order.
"""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import make_certificate
from tests.fleet.checks import refused
from tests.fleet.fleet import Fleet
from tests.fleet.images import ca_bundle
from tests.fleet.playbooks import RECAP, Playbooks, Result
from tests.fleet.refusals import all_told
from tests.fleet.spark import USER, Spark
from tests.jobs.house import eventually

NAME = "spark-speech"
PORT = 8080
HOME = "/home/spark/.spark-speech"
PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Control:
    """The page on the first Spark."""

    spark: Spark
    playbook: Playbooks
    inventory: Path
    folder: Path
    """Holds the inventory that the container is given."""

    def run(self, *arguments: str, **extra: Any) -> Result:  # noqa: ANN401 - whatever JSON holds
        """Run the playbook to its end."""
        return self.playbook("control", *arguments, inventory=self.inventory, timeout=1500, **extra)

    def get(
        self,
        path: str,
        *,
        scheme: str = "http",
        host: str = "localhost",
        password: str = "",
        posted: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        """Status and text of a request from the host itself, where alone it is published.

        It brings the password, where it is given; what is to be posted goes as JSON.
        """
        sent = {"Host": host} | ({"Content-Type": "application/json"} if posted else {})
        body = json.dumps(posted) if posted else None
        if password:
            basic = base64.b64encode(f"admin:{password}".encode()).decode()
            sent["Authorization"] = f"Basic {basic}"
        code = (
            "import http.client as h, ssl, sys; path = sys.argv[1]\n"
            "tls = sys.stdin.read() and ssl.create_default_context(cafile='/tmp/cert.pem')\n"
            f"c = h.HTTPSConnection('127.0.0.1', {PORT}, context=tls) if tls else"
            f" h.HTTPConnection('127.0.0.1', {PORT})\n"
            f"c.request({'POST' if posted else 'GET'!r}, path, {body!r}, {sent!r})\n"
            "a = c.getresponse(); print(a.status); print(a.read().decode(errors='replace'))"
        )
        encoded = base64.b64encode(code.encode()).decode()
        program = f"import base64; exec(base64.b64decode('{encoded}'))"
        said = self.spark.ssh(
            f'python3 -c "{program}" {path}', stdin="tls" if scheme == "https" else ""
        ).stdout
        status, _, text = said.partition("\n")
        return int(status), text

    def inside(self, command: str, *, check: bool = True) -> str:
        """What a command prints in the container."""
        return self.spark.docker("exec", NAME, "sh", "-c", f"{command} 2>&1", check=check)

    def inspected(self) -> dict[str, Any]:
        """What Docker knows of the container."""
        found: list[dict[str, Any]] = json.loads(self.spark.docker("inspect", NAME))
        return found[0]

    def left(self) -> str:
        """What of it is on the host; registrations are the services' own."""
        return self.spark.ssh(
            "docker ps -aq --filter name=spark-speech; docker volume ls -q | grep control; "
            "docker images -q spark-speech/control; "
            "find ~/.spark-speech/control* 2>/dev/null || true"
        ).stdout


@pytest.fixture(scope="module")
def control(fleet: Fleet, playbook: Playbooks, tmp_path_factory: pytest.TempPathFactory) -> Control:
    """Not installed yet; the last test takes it away."""
    folder = tmp_path_factory.mktemp("control")
    first = fleet.sparks[0]
    reached = ("ansible_host", "ansible_user", "ansible_python_interpreter")
    given = {
        "all": {
            "hosts": {
                spark.name: {name: spark.variables[name] for name in reached}
                for spark in fleet.sparks
            },
            "children": {"control": {"hosts": {first.name: None}}},
        }
    }
    (folder / "inventory" / "group_vars").mkdir(parents=True)
    (folder / "inventory" / "hosts.yml").write_text(json.dumps(given))
    (folder / "inventory" / "group_vars" / "all.yml").write_text(
        json.dumps({"whisperx_model": "bundled"})
    )
    # Links are followed, so that the host has what they lead to.
    (folder / "inventory" / "host_vars").symlink_to("group_vars")
    (folder / "inventory" / "group_vars" / "linked.yml").symlink_to("all.yml")
    (folder / "password").write_text(PASSWORD + "\n")
    everything = json.loads(
        fleet.inventory(
            speech_build_network="host",
            speech_ca_bundle=str(ca_bundle() or ""),
            control_inventory=str(folder / "inventory"),
            control_ssh_key_file=str(fleet.folder / "client_key"),
            control_known_hosts_file=str(fleet.folder / "known_hosts"),
            control_admin_password_file=str(folder / "password"),
        ).read_text()
    )
    everything["all"]["children"]["control"] = {"hosts": {first.name: first.variables}}
    inventory = folder / "fleet.yml"
    inventory.write_text(json.dumps(everything))
    return Control(first, playbook, inventory, folder)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "proxies": (
        {"control_trusted_proxies": ["nginx"]},
        "in control_trusted_proxies is no address or network",
    ),
    "known": (
        {"control_known_hosts_file": ""},
        "control_ssh_key_file and control_known_hosts_file",
    ),
    "tls": ({"control_tls_cert_file": "/x"}, "control_tls_cert_file and control_tls_key_file"),
    "inventory": ({"control_inventory": "/no/such"}, "there is no folder /no/such on this machine"),
}


def test_what_cannot_be_is_refused_before_anything_is_done(
    control: Control, fleet: Fleet, tmp_path: Path
) -> None:
    key = {"control_ssh_key_file": str(fleet.folder / "client_key")}
    known = {"control_known_hosts_file": str(fleet.folder / "known_hosts")}
    cases = {name: (key | known | given, said) for name, (given, said) in REFUSED.items()}
    all_told(control.playbook, control.spark, tmp_path, "control", cases)
    assert control.left() == ""


def test_check_mode_foretells_an_installation_and_changes_nothing(control: Control) -> None:
    foretold = control.run("--check", "--diff")
    assert foretold.rc == 0, foretold.out
    assert foretold.changed[control.spark.name] > 0
    assert "PRIVATE KEY" not in foretold.out
    assert control.left() == ""


def test_it_is_installed_from_nothing_and_shows_the_page(control: Control) -> None:
    done = control.run()
    assert done.rc == 0, done.out
    status, page = control.get("/", password=PASSWORD)
    assert (status, "<html" in page) == (200, True)
    assert control.get("/readyz") == (503, "no service that tells speakers apart is registered\n\n")
    assert control.get("/livez", host="spark.local")[0] == 421


def test_it_has_a_voice_where_no_server_has_one(control: Control) -> None:
    text = {"model": "tts-1", "voice": "alloy", "input": "Hello.", "response_format": "wav"}
    status, sound = control.get("/v1/audio/speech", password=PASSWORD, posted=text)
    assert (status, sound[:4], len(sound) > 10_000) == (200, "RIFF", True)


def test_its_page_is_for_who_has_the_password(control: Control) -> None:
    assert control.get("/")[0] == 303
    assert control.get("/api/jobs")[0] == 401
    assert control.get("/api/jobs", password="another password")[0] == 401
    assert control.get("/api/jobs", password=PASSWORD)[0] == 200


def test_it_reads_what_is_registered_on_its_host(control: Control) -> None:
    service = {"name": "llm", "title": "LLM", "kind": "llm", "api": "openai"}
    service["base_url"] = f"http://{control.spark.address}:9"
    file = f"{HOME}/services.d/llm.json"
    control.spark.ssh(f"umask 027; cat > {file}", stdin=json.dumps(service))
    try:
        assert "[-] llm " in control.get("/readyz?verbose", password=PASSWORD)[1]
    finally:
        control.spark.ssh(f"rm {file}")


def test_its_watch_process_asks_the_other_host_over_ssh_how_a_service_stands(
    control: Control, fleet: Fleet, spark2: Spark
) -> None:
    """Only who watches, and reaches the host with the role's key, can tell stopped from absent."""
    service = {"kind": "asr", "api": "parakeet", "base_url": f"http://{spark2.address}:9"}
    service |= {"host": spark2.name, "container": "by-hand"}
    file = f"{HOME}/services.d/by-hand.json"
    spark2.docker("create", "--name", "by-hand", fleet.images.tiny)
    try:
        control.spark.ssh(f"umask 027; cat > {file}", stdin=json.dumps(service))
        assert eventually(lambda: _stands(control, "stopped", "Its container is created.")), (
            control.spark.docker("logs", NAME)
        )
        spark2.docker("rm", "by-hand")
        gone = f"There is no container by-hand on {spark2.name}."
        assert eventually(lambda: _stands(control, "absent", gone))
    finally:
        spark2.docker("rm", "--force", "by-hand")
        control.spark.ssh(f"rm {file}")


def _stands(control: Control, state: str, detail: str) -> bool:
    status, text = control.get("/api/services/by-hand", password=PASSWORD)
    return status == 200 and (json.loads(text)["state"], json.loads(text)["detail"]) == (
        state, detail,
    )  # fmt: skip


def test_its_container_is_as_promised(control: Control) -> None:
    container = control.inspected()
    host = container["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["PortBindings"] == {f"{PORT}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(PORT)}]}
    assert container["Config"]["User"] == "1000:1000"
    for path in ("/opt/speech/x", "/etc/speech/services.d/x", "/run/speech/x"):
        assert "Read-only file system" in control.inside(f"touch {path}", check=False)
    assert control.inside("touch /var/lib/speech/x && rm /var/lib/speech/x") == ""


def test_a_second_run_changes_nothing(control: Control) -> None:
    started = control.inspected()["State"]["StartedAt"]
    for arguments in (("--check", "--diff"), ()):
        again = control.run(*arguments)
        assert again.rc == 0, again.out
        assert again.changed[control.spark.name] == 0, again.out
    assert control.inspected()["State"]["StartedAt"] == started


def test_it_is_a_line_of_the_status(control: Control) -> None:
    shown = control.playbook("status", inventory=control.inventory)
    assert shown.rc == 0, shown.out
    words = (control.spark.name, "control", "running", "spark-speech/control:", "none")
    lines = [line for line in shown.out.splitlines() if all(word in line for word in words)]
    assert len(lines) == 1, shown.out


def test_its_secrets_are_files_of_the_host_alone(control: Control, fleet: Fleet) -> None:
    key = (fleet.folder / "client_key").read_text().splitlines()[3]
    modes = control.spark.ssh(f"stat -c '%a %n' {HOME}/control/secrets/*/*").stdout
    assert modes.split()[::2] == ["600", "600", "600"]
    assert key in control.inside("cat /run/speech/ssh_key")
    image = control.inspected()["Config"]["Image"]
    for said in (
        json.dumps(control.inspected()),
        control.spark.docker("image", "inspect", image),
        control.spark.docker("history", "--no-trunc", image),
        control.spark.docker("logs", NAME),
    ):
        assert key not in said
        assert PASSWORD not in said
    assert (
        control.spark.ssh(f"docker save {image} | grep -ac -F '{key}'", check=False).stdout == "0\n"
    )


def test_a_playbook_in_the_container_reaches_the_other_host(
    control: Control, fleet: Fleet, spark2: Spark
) -> None:
    assert "[core 2." in control.inside("ansible-playbook --version")
    spark2.docker("create", "--name", "by-hand", fleet.images.tiny)
    try:
        said = control.inside(
            f"ansible-playbook playbooks/service.yml --check -e service_host={spark2.name}"
            " -e managed_service_name=by-hand -e managed_service_container=by-hand"
            " -e managed_service_state=restarted"
        )
    finally:
        spark2.docker("rm", "by-hand")
    (recap,) = RECAP.finditer(said)
    assert (recap["host"], recap["changed"], recap["failed"]) == (spark2.name, "1", "0"), said


ADDS_A_HOST = """
import json, os, sys
from proxy_app.config import load_config
from proxy_app.hosts import ssh
from proxy_app.hosts.metrics import Collector
from proxy_app.hosts.own import Host
from proxy_app.jobs.desk import Room
from proxy_app.store import HostState
room = Room(load_config(os.environ))
if len(sys.argv) == 1:
    print(room.own_hosts.public_key().text)
    sys.exit()
address, user = sys.argv[1:]
environment = room.project.environment(os.environ)
(key,) = ssh.scan(address, 22, environment)
room.own_hosts.add(Host("from-the-page", address, 22, user, ("parakeet",), key.line))
collector = Collector(room)
collector.run_once()
with room.store.session() as session:
    row = session.get(HostState, "from-the-page")
    told = {"state": row.state, "detail": row.detail, "look": row.look}
collector.close()
told["inventories"] = [str(path) for path in room.project.inventories()]
print(json.dumps(told))
"""


def test_a_host_that_is_added_on_the_page_is_reached_with_the_pages_own_key(
    control: Control, fleet: Fleet, spark2: Spark
) -> None:
    """Beside the inventory and the key that the role has given it."""
    encoded = base64.b64encode(ADDS_A_HOST.encode()).decode()
    program = f"python -c \"import base64; exec(base64.b64decode('{encoded}'))\""
    # The fleet's own key is not let in meanwhile, so that it is this one that does it.
    allowed = f"/home/{USER}/.ssh/authorized_keys"
    public = control.inside(program).strip()
    try:
        spark2.root("sh", "-c", f"cp -p {allowed} /root/allowed; echo '{public}' > {allowed}")
        spark2.root("docker", "create", "--name", "by-hand", fleet.images.tiny)
        told = json.loads(control.inside(f"{program} {spark2.address} {USER}"))
        assert told["state"] == "reachable", told["detail"]
        assert [one["name"] for one in told["look"]["containers"]] == ["by-hand"]
        operators, own = told["inventories"]
        said = control.inside(
            f"ansible-playbook -i {operators} -i {own} playbooks/service.yml --check"
            " -e service_host=from-the-page -e managed_service_name=by-hand"
            " -e managed_service_container=by-hand -e managed_service_state=restarted"
        )
    finally:
        spark2.root("cp", "-p", "/root/allowed", allowed)
        spark2.docker("rm", "by-hand")
    (recap,) = RECAP.finditer(said)
    assert (recap["host"], recap["changed"], recap["failed"]) == ("from-the-page", "1", "0"), said
    folder = "/var/lib/speech/state/hosts"
    modes = control.inside(f"stat -c '%a %n' {folder} {folder}/ssh_key")
    assert modes.split()[::2] == ["700", "600"]


def test_a_playbook_in_the_container_has_all_that_images_are_built_from(
    control: Control, spark2: Spark
) -> None:
    groups = json.dumps({"whisperx": {"hosts": {spark2.name: None}}})
    said = control.inside(
        f"echo '{groups}' > /tmp/more.yml; ansible-playbook --check"
        " -i /etc/speech/inventory -i /tmp/more.yml playbooks/whisperx.yml"
    )
    assert "would run spark-speech/whisperx:" in said
    assert "failed=0" in said


def test_a_host_with_another_key_is_refused_in_the_container(
    control: Control, spark2: Spark
) -> None:
    with spark2.with_another_host_key():
        said = control.inside(
            f"ANSIBLE_SSH_ARGS='-o ControlPath=none' ansible {spark2.name} -m ping", check=False
        )
    assert "UNREACHABLE" in said
    assert "Host key verification failed" in said


def test_an_upgrade_that_fails_leaves_the_container_and_its_inventory(control: Control) -> None:
    hosts = control.folder / "inventory" / "hosts.yml"
    before, given = control.inspected()["Id"], hosts.read_text()
    hosts.write_text("{}")
    try:
        failed = control.run(control_settings={"SPEECH_PORT": "none"}, control_start_timeout_s=10)
    finally:
        hosts.write_text(given)
    refused(failed, f"{NAME} is the container that it was before")
    assert control.inspected()["Id"] == before
    assert control.inside("cat /etc/speech/inventory/hosts.yml") == given


def test_what_the_inventory_has_no_more_goes(control: Control) -> None:
    copied = control.spark.ssh(f"cd {HOME}/control/inventory; find . -type f | sort").stdout
    folders = ("group_vars", "host_vars")
    linked = [f"./{folder}/{name}.yml" for folder in folders for name in ("all", "linked")]
    assert copied.split() == [*linked, "./hosts.yml"]
    (control.folder / "inventory" / "host_vars").unlink()
    shutil.rmtree(control.folder / "inventory" / "group_vars")
    control.spark.ssh(f"cd {HOME}/control/inventory; mkdir -p a/b; ln -s hosts.yml by-hand.yml")
    started = control.inspected()["State"]["StartedAt"]
    done = control.run()
    assert done.rc == 0, done.out
    assert done.changed[control.spark.name] == 1
    found = control.inside("find /etc/speech/inventory -mindepth 1")
    assert found == "/etc/speech/inventory/hosts.yml\n"
    assert control.inspected()["State"]["StartedAt"] == started


def test_with_a_certificate_it_speaks_https_and_another_one_is_taken_up(control: Control) -> None:
    for number in (1, 2):
        folder = control.folder / f"certificate{number}"
        folder.mkdir()
        made = make_certificate(folder, "spark.local")
        control.spark.ssh("cat > /tmp/cert.pem", stdin=made.cert.read_text())
        done = control.run(
            control_tls_cert_file=str(made.cert),
            control_tls_key_file=str(made.key),
            control_allowed_hosts=["spark.local"],
        )
        assert done.rc == 0, done.out
        assert control.get("/livez", scheme="https", host="spark.local") == (200, "ok\n\n")
        key = made.key.read_text().splitlines()[1]
        assert key not in done.out + json.dumps(control.inspected())


def test_what_is_taken_away_leaves_nothing(control: Control) -> None:
    foretold = control.run("--check", control_state="absent")
    assert foretold.changed[control.spark.name] > 0
    for changes in (True, False):
        gone = control.run(control_state="absent", control_purge=True)
        assert gone.rc == 0, gone.out
        assert (gone.changed[control.spark.name] > 0) is changes
    assert control.left() == ""
