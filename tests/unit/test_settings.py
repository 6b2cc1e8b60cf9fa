"""Settings as data: parsing, NAME_FILE, and errors that name the variable."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy_app.settings import SettingError, describe, load, setting


@dataclass(frozen=True)
class Sample:
    port: int = setting(8080, "A port.", minimum=1, maximum=65535)
    ratio: float = setting(2.5, "A ratio.", minimum=0)
    verbose: bool = setting(False, "A switch.")
    level: str = setting("info", "A choice.", choices=("info", "debug"))
    folder: Path = setting(Path("here"), "A folder.")  # noqa: RUF009
    host: str | None = setting(None, "A host.", env="OTHER_HOST")
    key: str | None = setting(None, "A key.", secret=True)
    computed: str = "no setting"


def read(**environ: str) -> Sample:
    return load(Sample, environ, prefix="S_")


def test_without_variables_the_defaults_hold() -> None:
    assert read() == Sample()


def test_every_kind_is_parsed() -> None:
    environ = {
        "S_PORT": "9000",
        "S_RATIO": "0.5",
        "S_VERBOSE": "Yes",
        "S_LEVEL": "debug",
        "S_FOLDER": "/x/y",
        "OTHER_HOST": "spark",
    }
    assert read(**environ) == Sample(9000, 0.5, True, "debug", Path("/x/y"), "spark")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("S_PORT", "eighty"),
        ("S_PORT", "0"),
        ("S_PORT", "65536"),
        ("S_PORT", "1.5"),
        ("S_PORT", ""),
        ("S_RATIO", "nan"),
        ("S_RATIO", "-1"),
        ("S_VERBOSE", "maybe"),
        ("S_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_refused_by_name_and_value(name: str, value: str) -> None:
    with pytest.raises(SettingError) as raised:
        read(**{name: value})
    assert name in str(raised.value)
    assert repr(value) in str(raised.value)


def test_an_infinite_number_is_refused_where_a_number_of_seconds_is_meant() -> None:
    with pytest.raises(SettingError, match="S_RATIO='inf'"):
        read(S_RATIO="inf")


def test_an_empty_variable_unsets_an_optional_setting() -> None:
    assert read(OTHER_HOST="").host is None


def test_a_number_of_any_length_is_refused_in_a_sentence() -> None:
    with pytest.raises(SettingError, match=r"S_PORT='9+': expected a whole number from 1 to 65535"):
        read(S_PORT="9" * 400)
    with pytest.raises(SettingError, match="S_RATIO='1e999': expected a number of at least 0"):
        read(S_RATIO="1e999")


def test_a_path_may_begin_with_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert read(S_FOLDER="~/speech").folder == Path("/home/ann/speech")
    with pytest.raises(SettingError, match="S_FOLDER='~nosuchuser/x': expected a path"):
        read(S_FOLDER="~nosuchuser/x")


def test_a_value_can_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("hunter2\n")
    assert read(S_KEY_FILE=str(file)).key == "hunter2"


def test_a_setting_with_its_own_name_can_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "host"
    file.write_text("spark")
    assert read(OTHER_HOST_FILE=str(file)).host == "spark"


def test_name_and_name_file_together_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("one")
    with pytest.raises(SettingError, match="S_KEY and S_KEY_FILE"):
        read(S_KEY="two", S_KEY_FILE=str(file))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xff"])
def test_an_unreadable_file_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingError, match="S_KEY_FILE="):
        read(S_KEY_FILE=str(file))


def test_a_secret_shows_neither_in_errors_nor_in_repr() -> None:
    @dataclass(frozen=True)
    class Secret:
        pin: int = setting(0, "A number nobody may see.", secret=True)

    with pytest.raises(SettingError) as raised:
        load(Secret, {"S_PIN": "hunter2"}, prefix="S_")
    assert "hunter2" not in str(raised.value)
    assert "1234" not in repr(load(Secret, {"S_PIN": "1234"}, prefix="S_"))


@pytest.mark.parametrize("value", ["hunter2\nx", "hunter2\r", "hünter2", "hunter2\x7f", "\t"])
def test_a_secret_that_fits_into_no_header_is_refused_unseen(value: str) -> None:
    with pytest.raises(SettingError, match=r"S_KEY=\(hidden\): expected .*ASCII") as raised:
        read(S_KEY=value)
    assert "nter2" not in str(raised.value)


def test_a_misspelt_variable_is_refused_with_the_right_name() -> None:
    with pytest.raises(SettingError, match="S_PROT is not a setting; did you mean S_PORT"):
        read(S_PROT="9000")


def test_other_programs_variables_are_none_of_ours() -> None:
    assert read(HOME="/root", OTHER_THING="x") == Sample()


def test_the_description_has_every_setting_in_order() -> None:
    rows = describe(Sample, prefix="S_")
    assert [row.name for row in rows] == [
        *("S_PORT", "S_RATIO", "S_VERBOSE", "S_LEVEL", "S_FOLDER", "OTHER_HOST", "S_KEY")
    ]
    shown = {row.name: (row.kind, row.default) for row in rows}
    assert shown["S_VERBOSE"] == ("true or false", "false")
    assert shown["S_LEVEL"] == ("`info` or `debug`", "info")
    assert shown["OTHER_HOST"] == ("text", "")
