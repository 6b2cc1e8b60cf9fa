"""The password's file: hashed, set once by a claim, and tried a bounded number of times."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy_app.access import BrokenError, Password, PasswordError, UnclaimedError
from proxy_app.access.start import claim_link, claim_links, form_key, prepare
from proxy_app.config import load_config, reading
from proxy_app.settings import SettingError
from tests.access.conftest import PASSWORD, settings


@pytest.fixture
def password(tmp_path: Path) -> Password:
    return Password(tmp_path / "access")


def test_a_password_is_kept_as_a_hash_for_this_user_alone(
    password: Password, tmp_path: Path
) -> None:
    password.put(PASSWORD)
    file = tmp_path / "access/password"
    assert file.read_text().startswith("scrypt:32768:8:3$")
    assert PASSWORD not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["password"]
    assert (password.check(PASSWORD), password.check(PASSWORD + "!")) == (True, False)


def test_two_hashes_of_one_password_differ(password: Password, tmp_path: Path) -> None:
    password.put(PASSWORD)
    first = password.fingerprint
    password.put(PASSWORD)
    assert password.fingerprint != first


def test_what_was_right_is_remembered_until_there_is_another_password(password: Password) -> None:
    password.put(PASSWORD)
    assert not password.remembers(PASSWORD)
    assert password.check(PASSWORD)
    assert (password.remembers(PASSWORD), password.remembers("another one")) == (True, False)
    password.put("another one")
    assert not password.remembers(PASSWORD)


def test_without_a_password_none_is_right(password: Password) -> None:
    assert password.fingerprint is None
    assert not password.check("")


BROKEN = (
    b"", b"\xff\xfe", "größe".encode(), b"garbage", b"scrypt:16:8:1$zz$00", b"scrypt:16:8$00$00",
)  # fmt: skip


@pytest.mark.parametrize("content", [*BROKEN, b"scrypt:999999999:8:1$00$00"])
def test_a_broken_file_is_no_open_door(password: Password, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "access").mkdir()
    (tmp_path / "access/password").write_bytes(content)
    with pytest.raises(BrokenError, match="remove the file"):
        password.check("")
    if content in BROKEN:
        with pytest.raises(BrokenError):
            assert password.fingerprint
    with pytest.raises(UnclaimedError):
        password.claim("", PASSWORD)
    assert password.claim_token is None


def test_a_gateway_does_not_start_with_a_broken_password_and_names_its_file(tmp_path: Path) -> None:
    config = load_config(settings(tmp_path))
    file = config.state_dir / "access/password"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"\xff")
    with pytest.raises(SettingError, match="access/password: The password's file is broken"):
        prepare(config)
    prepare(load_config(settings(tmp_path, SPEECH_ADMIN_PASSWORD=PASSWORD)))
    assert Password(file.parent).check(PASSWORD), "who gives one gets in again"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe"])
def test_a_broken_claim_is_made_anew(password: Password, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "access").mkdir()
    (tmp_path / "access/claim").write_bytes(content)
    assert password.claim_token is None
    assert len(password.make_claim() or "") > 40


def test_a_torn_key_of_forms_is_made_anew(tmp_path: Path) -> None:
    config = load_config(settings(tmp_path))
    form_key(config)
    (config.state_dir / "access/form-key").write_bytes(b"")
    assert len(form_key(config)) == 32


@pytest.mark.parametrize(
    "text", ["", "short", "a" * 40, "x" * 201, "line\nbreak, long", "abcabcabcabc"]
)
def test_a_weak_password_is_refused(password: Password, text: str) -> None:
    with pytest.raises(PasswordError):
        password.put(text)
    assert password.fingerprint is None


def test_a_claim_sets_the_password_once(password: Password) -> None:
    token = password.make_claim()
    assert token is not None
    assert password.make_claim() == token  # a restart prints the same link
    for wrong in ("", token[:-1], token + "x", "ß"):
        with pytest.raises(UnclaimedError):
            password.claim(wrong, PASSWORD)
    with pytest.raises(PasswordError):
        password.claim(token, "short")
    password.claim(token, PASSWORD)
    with pytest.raises(UnclaimedError):
        password.claim(token, "another password")
    assert password.check(PASSWORD)
    assert (password.claim_token, password.make_claim()) == (None, None)


def test_of_two_who_claim_at_once_one_does(password: Password) -> None:
    token = password.make_claim() or ""

    def claim(mine: str) -> bool:
        try:
            password.claim(token, mine)
        except UnclaimedError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(claim, ("first password", "second password"))) == [False, True]


def test_the_password_of_the_settings_is_put_in_force(tmp_path: Path) -> None:
    config = load_config(settings(tmp_path, SPEECH_ADMIN_PASSWORD=PASSWORD, SPEECH_HOST="0.0.0.0"))
    prepare(config)
    password = Password(config.state_dir / "access")
    first = password.fingerprint
    assert password.check(PASSWORD)
    prepare(config)
    assert password.fingerprint == first  # so that sessions go on
    prepare(load_config(settings(tmp_path, SPEECH_ADMIN_PASSWORD="another password")))
    assert (password.check(PASSWORD), password.check("another password")) == (False, True)


@pytest.mark.parametrize("text", ["hunter2", "aaaaaaaaaaaa"])
def test_a_weak_password_of_the_settings_is_told_without_showing_it(
    tmp_path: Path, text: str
) -> None:
    config = load_config(settings(tmp_path, SPEECH_ADMIN_PASSWORD=text))
    with pytest.raises(SettingError, match=r"SPEECH_ADMIN_PASSWORD=\(hidden\): expected") as caught:
        prepare(config)
    assert text not in str(caught.value)
    assert text not in repr(config)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "spark"])
def test_an_address_that_others_reach_needs_a_password_or_a_claim(
    tmp_path: Path, host: str
) -> None:
    config = load_config(settings(tmp_path, SPEECH_HOST=host))
    with pytest.raises(SettingError, match=f"SPEECH_HOST={host!r}: others reach"):
        prepare(config)
    assert claim_link(config)
    prepare(config)


def test_a_link_is_made_only_while_there_is_no_password(tmp_path: Path) -> None:
    given = settings(tmp_path, SPEECH_HOST="0.0.0.0", SPEECH_ADMIN_PASSWORD=PASSWORD)
    assert claim_link(load_config(given)) is None
    config = load_config(settings(tmp_path))
    link = claim_link(config) or ""
    assert link.startswith("http://127.0.0.1:8080/claim?token=")
    Password(config.state_dir / "access").put(PASSWORD)
    assert claim_link(config) is None


def test_a_link_for_all_addresses_is_printed_as_others_open_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "own_address", lambda _host: "192.168.7.3")
    given = settings(tmp_path, SPEECH_HOST="0.0.0.0", SPEECH_ALLOWED_HOSTS="spark.local")
    links = [link.partition("/claim?token=")[0] for link in claim_links(load_config(given))]
    assert links == ["http://127.0.0.1:8080", "http://spark.local:8080", "http://192.168.7.3:8080"]
    (one,) = claim_links(load_config(settings(tmp_path, SPEECH_HOST="192.168.7.3")))
    assert one.startswith("http://192.168.7.3:8080/claim?token=")


def test_many_processes_make_one_key(tmp_path: Path) -> None:
    config = load_config(settings(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: form_key(config), range(8)))) == 1
