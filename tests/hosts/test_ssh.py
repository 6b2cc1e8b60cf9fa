"""Looking at a host and logging in, against a real sshd."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy_app.hosts import ssh
from proxy_app.hosts.own import OwnHosts
from proxy_app.hosts.trying import Trial, try_host
from proxy_app.jobs.project import Login
from tests.hosts.sshd import PASSWORD, Sshd

ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> OwnHosts:
    folder = tmp_path_factory.mktemp("a state")
    return OwnHosts(folder / "hosts", services=folder)


@pytest.fixture
def trying(own: OwnHosts, sshd: Sshd, login: Login) -> "Trying":
    return Trying(own, sshd, login)


class Trying:
    """Tries the host with what is given instead of what is right."""

    def __init__(self, own: OwnHosts, sshd: Sshd, login: Login) -> None:
        self.own, self.sshd, self.login = own, sshd, login

    def __call__(self, password: str | None = None, **other: str) -> Trial:
        login = Login(self.login.address, other.get("user", self.login.user), 22)
        fingerprint = other.get("fingerprint") or self.sshd.fingerprint()
        return try_host(self.own, login, fingerprint, password, ENVIRONMENT)


def test_the_keys_of_a_host_are_shown_as_ssh_shows_them(sshd: Sshd) -> None:
    (key,) = ssh.scan(sshd.address, 22, ENVIRONMENT)
    assert (key.type, key.fingerprint) == ("ssh-ed25519", sshd.fingerprint())


@contextlib.contextmanager
def something_else(says: bytes) -> Iterator[int]:
    """A server that is no SSH server."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(says)
                        time.sleep(0.1)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_of_what_is_no_ssh_server_nothing_is_told() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(ssh.SshError) as nobody:
            ssh.scan("127.0.0.1", port, ENVIRONMENT)
    assert str(nobody.value) == f"No SSH server answers at 127.0.0.1, port {port}."
    mail = something_else(b"220 mail.internal ESMTP secret\r\n")
    with mail as port, pytest.raises(ssh.SshError) as other:
        ssh.scan("127.0.0.1", port, ENVIRONMENT)
    assert str(other.value) == f"No SSH server answers at 127.0.0.1, port {port}."


def test_a_name_that_nobody_has_is_no_ssh_server() -> None:
    with pytest.raises(ssh.SshError, match="No SSH server answers at no-such"):
        ssh.scan("no-such.invalid", 22, ENVIRONMENT)


def test_without_ssh_it_is_said_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ssh.UnusableError, match="install openssh-client"):
        ssh.scan("127.0.0.1", 22, {"PATH": str(tmp_path)})


def test_a_host_that_has_our_key_is_found_with_what_it_has(trying: Trying) -> None:
    trying.sshd.allow(trying.own.public_key().text)
    trial = trying()
    assert (trial.ok, trial.detail) == (True, "")
    assert trial.found
    assert trial.found["gpu"] == "NVIDIA GB10"
    assert trial.found["docker"] is False  # its engine does not run
    assert "Docker daemon" in trial.found["docker_error"]
    assert trial.found["arch"] == os.uname().machine
    assert trial.found["memory_available_bytes"] > 0
    assert trial.found["parakeet"] is None


def test_a_host_that_has_not_our_key_says_so(trying: Trying) -> None:
    trial = trying()
    assert not trial.ok
    assert trial.detail == f"spark@{trying.sshd.address} lets nobody in with this key."


def test_a_password_puts_our_key_there_once_and_is_kept_nowhere(trying: Trying) -> None:
    """What was there stays, a last line without an end included; a second time adds nothing."""
    before = "ssh-ed25519 AAAA somebody"
    file = "/home/spark/.ssh/authorized_keys"
    trying.sshd.root(f"printf %s '{before}' > {file}; chown spark: {file}")
    assert trying(PASSWORD).ok
    public = trying.own.public_key().text
    assert trying.sshd.authorized_keys == f"{before}\n{public}\n"
    assert trying("not asked for any more").ok
    assert trying.sshd.authorized_keys == f"{before}\n{public}\n"
    folder = trying.own.ssh_config.parent
    files = {path.name for path in folder.iterdir()}
    assert files == {"key.lock", "ssh_config", "ssh_key", "ssh_key.pub"}
    assert not [path for path in folder.iterdir() if PASSWORD in path.read_text()]


def test_a_host_without_a_folder_for_keys_gets_one(trying: Trying) -> None:
    trying.sshd.root("rm -rf /home/spark/.ssh")
    try:
        assert trying(PASSWORD).ok
        modes = trying.sshd.root("stat -c %a /home/spark/.ssh /home/spark/.ssh/authorized_keys")
        assert modes.split() == ["700", "600"]
    finally:
        trying.sshd.root("install -d -m 0700 -o spark -g spark /home/spark/.ssh")


@pytest.mark.parametrize("user", ["spark", "nobody-here"])
def test_a_wrong_password_is_told_and_changes_nothing(trying: Trying, user: str) -> None:
    trial = trying("wrong", user=user)
    assert not trial.ok
    assert trial.detail.startswith(f"{user}@{trying.sshd.address} cannot log in with this password")
    assert trying.sshd.authorized_keys == ""


def test_a_key_that_nobody_confirmed_gets_no_password(trying: Trying) -> None:
    trial = trying(PASSWORD, fingerprint="SHA256:" + "A" * 43)
    assert not trial.ok
    assert "does not show the key with this fingerprint" in trial.detail
    assert trying.sshd.authorized_keys == ""


def test_a_password_is_in_no_command_line_and_no_environment(trying: Trying) -> None:
    """Looked at while the host makes everybody wait."""
    seen: list[bytes] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for folder in Path("/proc").iterdir():
                with contextlib.suppress(OSError):
                    command = (folder / "cmdline").read_bytes()
                    if b"ssh" in command or b"typing_password" in command:
                        seen.append(command + (folder / "environ").read_bytes())
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert trying(PASSWORD).ok
    finally:
        over.set()
        watcher.join()
    assert any(b"typing_password" in each for each in seen)
    assert any(b"PreferredAuthentications=password" in each for each in seen)
    assert not any(PASSWORD.encode() in each for each in seen)


def test_a_host_without_python_says_what_it_needs(trying: Trying) -> None:
    trying.sshd.allow(trying.own.public_key().text)
    trying.sshd.root("mv /usr/bin/python3 /usr/bin/python3.away")
    try:
        assert trying().detail == f"{trying.sshd.address} has no python3: install it there."
    finally:
        trying.sshd.root("mv /usr/bin/python3.away /usr/bin/python3")


@pytest.mark.parametrize(
    ("login", "words"),
    [
        (Login("{{ somewhere }}"), "templates"),
        (Login("spark1", arguments="-o 'ProxyJump"), "open quote"),
    ],
)
def test_variables_that_only_playbooks_understand_are_told(login: Login, words: str) -> None:
    with pytest.raises(ssh.SshError, match=words):
        ssh.command(login, "true")


def test_what_the_inventory_says_of_ssh_goes_before_what_we_say(tmp_path: Path) -> None:
    login = Login("spark1", "me", 2222, "/a key", arguments="-o StrictHostKeyChecking=no -J jump")
    line = ssh.command(login, "true")
    assert line.index("StrictHostKeyChecking=no") < line.index("-oStrictHostKeyChecking=yes")
    assert line[-9:] == ["-i", "/a key", "-p", "2222", "-l", "me", "--", "spark1", "true"]
