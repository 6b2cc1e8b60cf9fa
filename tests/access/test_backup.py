"""Backups: what is in one, that it brings back all of it, and what is refused."""

import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy_app.access import Password, Sessions
from proxy_app.cli.archive import MOST_BYTES, add
from proxy_app.cli.backup import backup, restore
from proxy_app.cli.errors import CommandError
from proxy_app.config import Config, load_config, make_folders
from proxy_app.jobs import Jobs
from proxy_app.jobs.secrets import Secrets
from proxy_app.jobs.states import State
from proxy_app.store import Job, Store
from proxy_app.store.engine import HEAD
from tests.access.conftest import PASSWORD, know_password, settings
from tests.access.test_upgrade import lay_down
from tests.api.conftest import eventually
from tests.jobs.conftest import empty_database
from tests.jobs.orders import an_order

TOKEN = "hf_" + "x" * 30
REGISTRATION = '{"kind": "llm", "api": "openai", "base_url": "http://127.0.0.1:9"}'


class House:
    """A control host: settings, and what is made of them."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        folder.mkdir(exist_ok=True)
        more = {"SPEECH_DATABASE_URL": url} if url else {}
        self.environ = settings(folder, **more)
        self.config: Config = load_config(self.environ)
        make_folders(self.config)
        self.state = self.config.state_dir
        self.store = Store(url, self.state)
        self.jobs = Jobs(self.store, self.state / "jobs")
        self.sessions = Sessions(self.store)

    def furnish(self) -> list[Job]:
        """Have something of everything."""
        know_password(self.state)
        Secrets(self.state / "secrets").put("hf_token", TOKEN)
        (self.state / "access/claim").write_text("token")
        (self.state / "hosts").mkdir(mode=0o700)
        (self.state / "hosts/inventory.json").write_text('{"all": {}}')
        (self.state / "hosts/id_ed25519").write_text("a key")
        (self.state / "hosts/master-socket").mkdir()
        self.config.services_dir.mkdir()
        (self.config.services_dir / "llm.json").write_text(REGISTRATION)
        done = self.jobs.add(an_order(host="spark1", variables={"text": "Grüße", "number": 2.5}))
        self.jobs.cancel(done.id)
        return [self.jobs.get(done.id), self.jobs.add(an_order(host="spark2"))]

    def everything(self) -> dict[str, bytes]:
        """The files that count, by name."""
        folders = [self.state / name for name in ("access", "hosts", "secrets")]
        return {
            str(path.relative_to(self.state.parent)): path.read_bytes()
            for folder in (*folders, self.config.services_dir)
            for path in folder.glob("*")
            if path.is_file()
        }


@pytest.fixture
def new_house() -> Iterator[Callable[..., House]]:
    made: list[House] = []

    def make(folder: Path, url: str | None = None) -> House:
        made.append(House(folder, url))
        return made[-1]

    yield make
    for house in made:
        house.store.close()


MakeHouse = Callable[..., House]


def test_a_backup_brings_back_all_of_it_on_another_machine(
    new_house: MakeHouse, database_url: str | None, tmp_path: Path
) -> None:
    old = new_house(tmp_path / "old", database_url)
    done, queued = old.furnish()
    session = old.sessions.open("fingerprint")
    file = tmp_path / "speech.backup"
    backup(old.config, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = old.everything()
    old.store.close()

    # The same PostgreSQL, as there is one, with what came after; or a machine with nothing.
    new = new_house(tmp_path / "new", database_url)
    if database_url:
        new.jobs.add(an_order(host="later"))
    made = restore(new.config, file)
    assert made.has_registrations
    assert (made.before is not None) is bool(database_url)
    again = {job.id: job for job in new.jobs.history()}
    assert set(again) == {done.id, queued.id}
    for name in ("number", "variables", "state", "reason", "created_at", "finished_at", "by"):
        assert getattr(again[done.id], name) == getattr(done, name)
    # What was waiting is not started because somebody has restored a backup.
    assert again[queued.id].state == State.LOST
    assert "when the backup was made" in again[queued.id].reason
    assert new.jobs.add(an_order(host="spark2")).number > queued.number
    assert not new.sessions.is_open(session, "fingerprint")
    del before["state/access/claim"]
    assert new.everything() == before
    assert Password(new.state / "access").check(PASSWORD)
    assert stat.S_IMODE((new.state / "secrets/hf_token").stat().st_mode) == 0o600
    assert stat.S_IMODE((new.state / "secrets").stat().st_mode) == 0o700


def test_from_sqlite_to_postgresql_and_back(
    new_house: MakeHouse, postgres_server: str, tmp_path: Path
) -> None:
    lite = new_house(tmp_path / "lite")
    done, _queued = lite.furnish()
    backup(lite.config, tmp_path / "first")
    post = new_house(tmp_path / "post", empty_database(postgres_server))
    restore(post.config, tmp_path / "first")
    backup(post.config, tmp_path / "second")
    back = new_house(tmp_path / "back")
    restore(back.config, tmp_path / "second")
    assert back.jobs.get(done.id).variables == {"text": "Grüße", "number": 2.5}


def test_an_old_versions_backup_comes_up_to_date(
    new_house: MakeHouse, database_url: str | None, tmp_path: Path
) -> None:
    old = new_house(tmp_path / "old", database_url)
    lay_down("0001", database_url, old.state)
    backup(old.config, tmp_path / "backup")  # which leaves the database at its version
    assert old.store.version() == "0001"
    new = new_house(tmp_path / "new", database_url)
    restore(new.config, tmp_path / "backup")
    assert new.store.version() == HEAD
    assert [job.number for job in new.jobs.history()] == [5, 4, 3, 2, 1]


def test_what_was_here_before_is_kept_and_can_be_gone_back_to(
    new_house: MakeHouse, tmp_path: Path
) -> None:
    house = new_house(tmp_path / "house")
    house.furnish()
    backup(house.config, tmp_path / "backup")
    later = house.jobs.add(an_order(host="later"))
    Secrets(house.state / "secrets").put("ngc_key", "later")
    services = house.config.services_dir
    (services / "later.json").write_text(REGISTRATION)
    (services / "notes.txt").write_text("No registration.")
    kept = restore(house.config, tmp_path / "backup").before
    assert kept is not None
    assert {path.name for path in services.iterdir()} == {"llm.json", "notes.txt"}
    assert later.id not in [job.id for job in house.jobs.history()]
    assert not (house.state / "secrets/ngc_key").exists()
    restore(house.config, kept)
    assert (services / "later.json").read_text() == REGISTRATION
    assert house.jobs.get(later.id).host == "later"
    assert (house.state / "secrets/ngc_key").read_text() == "later"


def test_a_backup_of_a_newer_version_is_refused_and_changes_nothing(
    new_house: MakeHouse, tmp_path: Path
) -> None:
    house = new_house(tmp_path / "house")
    done, _ = house.furnish()
    newer = pack(tmp_path, {"manifest.json": manifest(schema="9999"), "database.jsonl": b""})
    with pytest.raises(CommandError, match="newer version"):
        restore(house.config, newer)
    assert house.jobs.get(done.id)


def test_a_newer_database_can_be_left_by_an_older_backup(
    new_house: MakeHouse, tmp_path: Path
) -> None:
    house = new_house(tmp_path / "house")
    done, _ = house.furnish()
    backup(house.config, tmp_path / "backup")
    with house.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        connection.exec_driver_sql("CREATE TABLE from_the_future (a int)")
    restore(house.config, tmp_path / "backup")
    assert house.store.version() == HEAD
    assert house.jobs.get(done.id)


def manifest(**values: object) -> bytes:
    return json.dumps({"format": 1, "schema": HEAD, "made_at": "now"} | values).encode()


def pack(folder: Path, files: dict[str, bytes], *more: tarfile.TarInfo) -> Path:
    path = folder / "made.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)
    return path


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def line(**values: object) -> bytes:
    """A job's row that is good but for what is given."""
    row = {
        "number": 1, "id": "0" * 16, "kind": "whisperx.install", "executor": "playbook",
        "host": "spark1", "service": "whisperx", "target": "whisperx", "lane": "host",
        "state": "failed", "preview": False, "force": False, "variables": {}, "phases": [],
        "by": "test", "why": "", "reason": "", "limit_s": 1.0, "rerun_of": None,
        "created_at": 1.0, "started_at": None, "finished_at": 2,
    }  # fmt: skip
    return json.dumps(["jobs", row | values]).encode() + b"\n"


GOOD = {"manifest.json": manifest(), "database.jsonl": b""}


@pytest.mark.parametrize(
    ("files", "more"),
    [
        ({"../evil": b"x"}, ()),
        ({"/etc/evil": b"x"}, ()),
        ({"state/../../evil": b"x"}, ()),
        ({"state/secrets/../../evil": b"x"}, ()),
        ({"state/jobs/x": b"x"}, ()),
        ({"state/speech.db": b"x"}, ()),
        ({"state/secrets/a/b": b"x"}, ()),
        ({"state/secrets/.ssh": b"x"}, ()),
        ({"registrations/..": b"x"}, ()),
        ({"state/secrets/x": bytes(MOST_BYTES + 1)}, ()),
        ({}, (link("state/secrets/hf_token", "/etc/passwd"),)),
        ({}, (link("state/secrets/hf_token", "manifest.json", tarfile.LNKTYPE),)),
        ({}, (link("state/secrets", "/tmp"),)),
        ({}, (link("state/secrets/fifo", "", tarfile.FIFOTYPE),)),
        ({}, (link("state/secrets/device", "", tarfile.CHRTYPE),)),
        ({}, (tarfile.TarInfo("manifest.json"),)),
        ({"database.jsonl": b'["jobs", {"number": 1}]\n'}, ()),
        ({"database.jsonl": b'["alembic_version", {"version_num": "1"}]\n["x", {}]\n'}, ()),
        ({"database.jsonl": b"{}\n"}, ()),
        ({"database.jsonl": b"\xff\n"}, ()),
        ({"manifest.json": manifest(format=2)}, ()),
        ({"manifest.json": b"[]"}, ()),
        ({"manifest.json": b""}, ()),
        ({"manifest.json": manifest(schema=4)}, ()),
        ({"manifest.json": manifest(schema=["0004"])}, ()),
        ({"manifest.json": manifest(schema="0000")}, ()),
        ({"manifest.json": manifest(schema="")}, ()),
        ({"manifest.json": manifest(schema=None), "database.jsonl": line()}, ()),
        ({"database.jsonl": b"[" * 10**5 + b"]" * 10**5}, ()),
        ({"database.jsonl": line(state="bogus")}, ()),
        ({"database.jsonl": line(state=None)}, ()),
        ({"database.jsonl": line(state=["lost"])}, ()),
        ({"database.jsonl": line(lane="bogus")}, ()),
        ({"database.jsonl": line(colour="red")}, ()),
        ({"database.jsonl": line(number=2**70)}, ()),
        ({"database.jsonl": line(number=True)}, ()),
        ({"database.jsonl": line(created_at="yesterday")}, ()),
        ({"database.jsonl": line(created_at=1e300)}, ()),
        ({"database.jsonl": line(reason="\ud800")}, ()),
        ({"database.jsonl": line(variables=[])}, ()),
        ({"database.jsonl": line(phases=[{"name": "Build"}])}, ()),
    ],
)
def test_what_is_no_good_backup_is_refused_and_changes_nothing(
    new_house: MakeHouse, tmp_path: Path, files: dict[str, bytes], more: tuple[tarfile.TarInfo, ...]
) -> None:
    house = new_house(tmp_path / "house")
    done, queued = house.furnish()
    before = house.everything()
    with pytest.raises(CommandError):
        restore(house.config, pack(tmp_path, GOOD | files, *more))
    assert house.everything() == before
    assert [job.id for job in house.jobs.history()] == [queued.id, done.id]
    assert house.jobs.get(queued.id).state == State.QUEUED
    assert not list(tmp_path.rglob("*evil*"))
    assert not [path for path in house.state.iterdir() if path.name.startswith("tmp")]


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\0\0\0\0\0"])
def test_a_file_that_is_no_archive_is_told(
    new_house: MakeHouse, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "file").write_bytes(content)
    house = new_house(tmp_path / "house")
    with pytest.raises(CommandError, match="is no backup of Spark Speech, or a damaged one"):
        restore(house.config, tmp_path / "file")


def test_a_row_that_is_good_is_taken(new_house: MakeHouse, tmp_path: Path) -> None:
    house = new_house(tmp_path / "house")
    restore(house.config, pack(tmp_path, GOOD | {"database.jsonl": line()}))
    assert house.jobs.get("0" * 16).state == State.FAILED


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        pytest.param(tarfile.GNUTYPE_LONGNAME, b"state/secrets/hf_token\0", id="a long name"),
        pytest.param(tarfile.XHDTYPE, b"13 comment=x\n", id="what pax has to add"),
        pytest.param(tarfile.XGLTYPE, b"13 comment=x\n", id="what pax has for all"),
    ],
)
def test_a_header_whose_content_is_read_at_once_is_refused(
    new_house: MakeHouse, tmp_path: Path, kind: bytes, content: bytes
) -> None:
    """It may say that it has a gigabyte, and a small file unpacks to that."""
    header = tarfile.TarInfo("state/secrets/hf_token")
    path = pack(tmp_path, GOOD)
    with tarfile.open(path, "w:gz") as archive:
        for name, text in GOOD.items():
            add(archive, name, text)
        header.type, header.size = kind, len(content)
        archive.addfile(header, io.BytesIO(content))
        add(archive, "state/secrets/ngc_key", b"x")
    house = new_house(tmp_path / "house")
    with pytest.raises(CommandError, match="has no place in one"):
        restore(house.config, path)


@pytest.mark.parametrize("name", ["manifest.json", "database.jsonl"])
def test_an_archive_that_lacks_a_part_says_which(
    new_house: MakeHouse, tmp_path: Path, name: str
) -> None:
    house = new_house(tmp_path / "house")
    with pytest.raises(CommandError, match=f"it has no {name}"):
        restore(house.config, pack(tmp_path, {it: GOOD[it] for it in GOOD if it != name}))


def break_it(house: House, how: str) -> bytes:
    """Leave a database that is no database, or one with a page of nothing in its middle."""
    house.store.close()
    file = house.state / "speech.db"
    content = file.read_bytes()
    assert len(content) > 5 * 4096
    broken = {
        "noise": b"\xa5" * 20_000,
        "a page": content[:4096] + b"\xa5" * 4096 + content[8192:],
        "half": content[: len(content) // 2],
    }[how]
    for path in (file, *house.state.glob("speech.db-*")):
        path.unlink()
    file.write_bytes(broken)
    return broken


@pytest.mark.parametrize("how", ["noise", "a page", "half"])
def test_a_broken_database_is_laid_aside_and_the_backup_takes_its_place(
    new_house: MakeHouse, tmp_path: Path, how: str
) -> None:
    house = new_house(tmp_path / "house")
    done, _ = house.furnish()
    backup(house.config, tmp_path / "backup")
    Secrets(house.state / "secrets").put("ngc_key", "later")
    broken = break_it(house, how)
    made = restore(house.config, tmp_path / "backup")
    assert made.broken is not None
    assert made.broken.read_bytes() == broken
    assert house.jobs.get(done.id).id == done.id
    assert made.before is not None, "the files that were here are not lost with it"
    restore(house.config, made.before)
    assert (house.state / "secrets/ngc_key").read_text() == "later"


def test_a_broken_database_stays_where_it_is_if_the_backup_is_none(
    new_house: MakeHouse, tmp_path: Path
) -> None:
    house = new_house(tmp_path / "house")
    house.furnish()
    broken = break_it(house, "noise")
    with pytest.raises(CommandError):
        restore(house.config, pack(tmp_path, GOOD | {"database.jsonl": line(state="bogus")}))
    assert (house.state / "speech.db").read_bytes() == broken
    assert not list(house.state.glob("speech.db?*"))


def test_a_backup_that_was_cut_off_is_told(new_house: MakeHouse, tmp_path: Path) -> None:
    house = new_house(tmp_path / "house")
    house.furnish()
    backup(house.config, tmp_path / "backup")
    whole = (tmp_path / "backup").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CommandError, match="damaged"):
        restore(house.config, tmp_path / "cut")


def test_registrations_that_cannot_be_written_are_left_to_the_playbooks(
    new_house: MakeHouse, tmp_path: Path
) -> None:
    old = new_house(tmp_path / "old")
    done, _ = old.furnish()
    backup(old.config, tmp_path / "backup")
    new = new_house(tmp_path / "new")
    new.config.services_dir.touch()  # no folder
    said = command(new, "restore", str(tmp_path / "backup"))
    assert (said.returncode, "run the playbooks to register again" in said.stdout) == (0, True)
    assert new.jobs.get(done.id)
    assert (new.state / "secrets/hf_token").read_text() == TOKEN


def command(house: House, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "proxy_app", "control", *arguments],
        env={"PATH": os.environ["PATH"], **house.environ}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_the_commands_say_what_they_did(new_house: MakeHouse, tmp_path: Path) -> None:
    house = new_house(tmp_path / "house")
    house.furnish()
    file = str(tmp_path / "backup")
    made = command(house, "backup", file)
    assert (made.returncode, made.stderr) == (0, "")
    assert "secrets" in made.stdout
    again = command(house, "backup", file)
    assert (again.returncode, again.stderr) == (1, f"{file} exists: name another file\n")
    assert list(tmp_path.glob(".backup*")) == []
    restored = command(house, "restore", file)
    assert (restored.returncode, restored.stderr) == (0, "")
    assert "What was here before is in " in restored.stdout
    assert command(house, "restore", "/no/such").stderr == "/no/such: there is no such file\n"


def test_nothing_is_restored_under_a_running_dispatcher(
    new_house: MakeHouse, tmp_path: Path
) -> None:
    house = new_house(tmp_path / "house")
    house.furnish()
    backup(house.config, tmp_path / "backup")
    environ = {"PATH": os.environ["PATH"], **house.environ}
    dispatcher = subprocess.Popen(
        [sys.executable, "-m", "proxy_app.jobs.dispatcher"], env=environ, stderr=subprocess.DEVNULL
    )
    try:
        lock = house.state / "dispatcher.lock"
        held = ["flock", "--nonblock", str(lock), "true"]
        assert eventually(
            lambda: lock.exists() and subprocess.run(held, check=False).returncode, within_s=60
        )
        refused = command(house, "restore", str(tmp_path / "backup"))
        assert (refused.returncode, "stop it first" in refused.stderr) == (1, True)
    finally:
        dispatcher.send_signal(signal.SIGTERM)
        dispatcher.wait(60)
