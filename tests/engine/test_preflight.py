"""What is refused before it starts, by its need of memory."""

from dataclasses import replace
from pathlib import Path

import pytest

from images.serving.errors import ApiError
from images.whisperx.app.preflight import available_memory, needed_memory, refuse_what_cannot_fit
from images.whisperx.app.settings import (
    PYANNOTE_BYTES_PER_HOUR,
    SENKO_BYTES_PER_HOUR,
    EngineSettings,
)

SETTINGS = EngineSettings(memory_per_hour_bytes=3_600_000, memory_reserve_bytes=1000)


def test_audio_that_just_fits_is_taken() -> None:
    refuse_what_cannot_fit(10.0, 10_000 + 1000, SETTINGS)


def test_audio_that_needs_a_byte_more_is_refused_with_the_numbers_and_the_settings() -> None:
    with pytest.raises(ApiError) as refusal:
        refuse_what_cannot_fit(10.0, 10_000 + 999, SETTINGS)
    assert (refusal.value.status, refusal.value.code) == (413, "insufficient_memory")
    for part in ("10 s", "ENGINE_MEMORY_PER_HOUR_BYTES", "ENGINE_MEMORY_RESERVE_BYTES"):
        assert part in refusal.value.message


def test_an_hour_is_counted_by_the_diarizer_that_is_used() -> None:
    senko = EngineSettings(diarizer="senko", hf_token="hf_x")
    assert needed_memory(360, senko) == SENKO_BYTES_PER_HOUR // 10
    assert needed_memory(360, replace(senko, diarizer="auto")) == PYANNOTE_BYTES_PER_HOUR // 10
    assert needed_memory(360, replace(senko, memory_per_hour_bytes=100)) == 10


def test_a_recording_of_hours_needs_no_more_than_its_longest_window() -> None:
    settings = EngineSettings(window_s=600.0, memory_per_hour_bytes=36_000)
    assert needed_memory(700, settings) == 7000
    assert needed_memory(720, settings) == needed_memory(6 * 3600, settings) == 7200


def test_without_a_cgroup_the_machine_s_memory_counts(tmp_path: Path) -> None:
    machine(tmp_path, available_kb=1000)
    assert available_memory(tmp_path) == 1_024_000


def test_the_tightest_cgroup_above_the_process_counts_and_page_cache_is_free(
    tmp_path: Path,
) -> None:
    machine(tmp_path, available_kb=1_000_000, cgroup="/a/b")
    cgroup(tmp_path, "a", limit="500000", used=300_000, cache=50_000)
    cgroup(tmp_path, "a/b", limit="max", used=1, cache=0)
    assert available_memory(tmp_path) == 250_000


def test_a_cgroup_over_its_limit_leaves_nothing(tmp_path: Path) -> None:
    machine(tmp_path, available_kb=1_000_000, cgroup="/")
    cgroup(tmp_path, ".", limit="100", used=300, cache=0)
    assert available_memory(tmp_path) == 0


def test_this_machine_has_memory() -> None:
    assert available_memory() > 0


def machine(root: Path, *, available_kb: int, cgroup: str | None = None) -> None:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(
        f"MemTotal:       99999999 kB\nMemFree:        1 kB\nMemAvailable:   {available_kb} kB\n"
    )
    if cgroup is not None:
        (root / "proc/self/cgroup").write_text(f"0::{cgroup}\n")


def cgroup(root: Path, name: str, *, limit: str, used: int, cache: int) -> None:
    folder = root / "sys/fs/cgroup" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cache}\nactive_file 7\n")
