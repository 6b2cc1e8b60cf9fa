"""Notes of what the gateway met and what was found: also those of a machine that went down."""

import json
import os
import time
from pathlib import Path

import pytest

from proxy_app.services import Removed, Reports, Suspects, Verdict

CONTENT = "0" * 64


@pytest.fixture
def reports(tmp_path: Path) -> Reports:
    return Reports(tmp_path / "reports")


@pytest.mark.parametrize(
    "note", ["", '{"state": "re', "[]", "7", '{"colour": "red"}', "\0" * 90, "[" * 10**5]
)
def test_a_note_that_is_torn_or_another_versions_is_none(
    reports: Reports, tmp_path: Path, note: str
) -> None:
    reports.failed("asr", status=500, reason="status 500")
    reports.tell("asr", Verdict("given_up", "", refuses=True))
    for kind in ("failed", "verdict"):
        (tmp_path / "reports" / f"asr.{kind}").write_text(note)
    assert reports.last_failure("asr") is None
    with reports.watching(lambda: True):
        assert reports.verdict("asr") is None
        reports.tell("asr", Verdict("ready", "", refuses=False))  # written anew
        assert reports.verdict("asr") is not None


def test_a_broken_note_is_told_of_once(
    reports: Reports, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "reports/asr.failed").touch()
    for _ in range(3):
        assert reports.last_failure("asr") is None
    (told,) = caplog.messages
    assert "asr.failed cannot be read" in told


def test_a_note_is_on_the_disk_before_it_takes_the_others_place(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    replace = Path.replace

    def replaced(new: Path, old: Path) -> Path:
        done.append("replaced")
        return replace(new, old)

    monkeypatch.setattr(os, "fsync", lambda _file: done.append("synced"))
    monkeypatch.setattr(Path, "replace", replaced)
    reports.tell("asr", Verdict("ready", "", refuses=False))
    assert done == ["synced", "replaced"]


@pytest.mark.parametrize("note", ["", "[]", "7", "[1]", '{"asr": ', "null"])
def test_a_broken_list_of_what_is_removed_hides_nothing_and_is_written_anew(
    tmp_path: Path, note: str
) -> None:
    file, removed = tmp_path / "removed.json", Removed(tmp_path)
    for digests in ({"asr": "0" * 64}, {}):
        file.write_text(note)
        assert removed.hides({}) == set()
        removed.write(digests)
        assert json.loads(file.read_text()) == digests


def test_a_note_that_cannot_be_written_leaves_nothing(
    reports: Reports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_full(_path: Path, _to: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", is_full)
    with pytest.raises(OSError, match="No space"):
        reports.tell("asr", Verdict("ready", "", refuses=False))
    reports.failed("asr", status=500, reason="status 500")  # the client gets its answer
    assert list((tmp_path / "reports").iterdir()) == []


def test_what_is_withdrawn_is_told_no_more(reports: Reports) -> None:
    for name in ("asr", "tts"):
        reports.tell(name, Verdict("ready", "", refuses=False))
    with reports.watching(lambda: True):
        reports.withdraw("asr")
        assert (reports.verdict("asr"), reports.verdict("tts") is None) == (None, False)
        reports.withdraw()
        assert reports.verdict("tts") is None


def test_an_answer_of_tomorrow_blames_no_recording(reports: Reports, tmp_path: Path) -> None:
    """The clock was set back: the service may well be the one that is broken."""
    suspects = Suspects(tmp_path / "suspects", reports)
    reports.answered("asr")
    tomorrow = time.time() + 86_400
    os.utime(tmp_path / "reports" / "asr.answered", (tomorrow, tomorrow))
    assert not suspects.is_to_blame("asr", CONTENT)
    assert not suspects.is_to_blame("asr", CONTENT)
    reports.answered("asr")
    assert suspects.is_to_blame("asr", CONTENT)
