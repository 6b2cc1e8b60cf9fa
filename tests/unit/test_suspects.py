"""Notes on services and recordings: atomic, bounded, shared by processes, forgotten in time."""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from proxy_app.services import Reports, Suspects, suspects


@pytest.fixture
def reports(tmp_path: Path) -> Reports:
    return Reports(tmp_path / "reports")


@pytest.fixture
def remembered(tmp_path: Path, reports: Reports) -> Suspects:
    return Suspects(tmp_path / "suspects", reports)


def notes(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "suspects").iterdir())


def fail_often(folder: Path) -> None:
    for number in range(100):
        Reports(folder).failed("asr", status=500, reason=f"{number} " + "x" * 3000)


def test_a_report_is_whole_whoever_writes_beside(tmp_path: Path, reports: Reports) -> None:
    folder = tmp_path / "reports"
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(fail_often, folder) for _ in range(4)]
        while not all(job.done() for job in jobs):
            failure = reports.last_failure("asr")  # raises where it is half of one
            assert failure is None or failure.reason.endswith("x")
        for job in jobs:
            job.result()
    assert [path.name for path in folder.iterdir()] == ["asr.failed"]


def test_nothing_is_known_of_a_service_that_was_never_asked(reports: Reports) -> None:
    assert reports.last_failure("asr") is None
    assert not reports.answered_since("asr", 0.0)


def test_an_answer_counts_from_its_moment_on(reports: Reports) -> None:
    before = time.time()
    reports.answered("asr")
    assert reports.answered_since("asr", before)
    assert not reports.answered_since("asr", time.time())
    assert not reports.answered_since("tts", before)


def test_one_services_answer_says_nothing_of_another(
    remembered: Suspects, reports: Reports
) -> None:
    assert not remembered.is_to_blame("asr", "a")
    reports.answered("tts")
    assert not remembered.is_to_blame("asr", "a")
    reports.answered("asr")
    assert not remembered.is_to_blame("tts", "a")
    assert remembered.is_to_blame("asr", "a")


def test_an_answer_before_the_last_500_proves_nothing(
    remembered: Suspects, reports: Reports
) -> None:
    reports.answered("asr")
    assert not remembered.is_to_blame("asr", "a")
    assert not remembered.is_to_blame("asr", "a")


@pytest.mark.parametrize(("age_s", "blamed"), [(599, True), (601, False), (-60, False)])
def test_ten_minutes_are_remembered_and_a_clock_that_went_back_is_not_believed(
    tmp_path: Path, remembered: Suspects, reports: Reports, age_s: float, blamed: bool
) -> None:
    remembered.is_to_blame("asr", "a")
    (note,) = notes(tmp_path)
    os.utime(note, (time.time() - age_s,) * 2)
    reports.answered("asr")
    assert remembered.is_to_blame("asr", "a") == blamed


def test_there_are_never_more_than_so_many_and_the_oldest_go_first(
    tmp_path: Path, remembered: Suspects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "MOST", 3)
    for age_s, content in ((700, "gone"), (30, "c"), (40, "d"), (20, "b")):
        remembered.is_to_blame("asr", content)
        note = tmp_path / "suspects" / f"asr.{content}"
        os.utime(note, (time.time() - age_s,) * 2)
    remembered.is_to_blame("asr", "a")
    assert [note.name for note in notes(tmp_path)] == ["asr.a", "asr.b", "asr.c"]
