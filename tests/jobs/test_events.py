"""A job's events: written whatever happens, read from anywhere."""

import itertools
import json
import resource
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_app.jobs.events import EventReader, EventWriter, plain
from proxy_app.jobs.secrets import Secrets, Seen


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def read(path: Path, after: int = 0) -> list[dict[str, object]]:
    reader = EventReader(path, after)
    try:
        return list(reader.rest())
    finally:
        reader.close()


def texts(path: Path) -> list[object]:
    return [event["text"] for event in read(path) if event["event"] == "log"]


def test_ids_count_all_events_and_lines_count_the_log(path: Path) -> None:
    writer = EventWriter(path)
    writer.log("one\r\ntwo\r\n")
    writer.phase("Build", "running")
    writer.log("three")
    writer.close()
    first, phase, last = read(path)
    assert (first["id"], first["line"], first["text"]) == (1, 1, "one\ntwo")
    assert (phase["id"], phase["name"], phase["state"]) == (2, "Build", "running")
    assert (last["id"], last["line"], last["text"]) == (3, 3, "three")
    assert path.stat().st_mode & 0o777 == 0o600


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(max_size=300), min_size=1, max_size=40), st.data())
def test_reading_from_behind_any_event_gives_the_rest_without_gap_or_double(
    written: list[str], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "events.jsonl")
        writer = EventWriter(path)
        for text in written:
            writer.log(text)
            writer.phase("Build", "running")
        writer.close()
        everything = read(path)
        after = data.draw(st.integers(0, len(everything) + 2))
        assert read(path, after) == everything[after:]
        assert [event["id"] for event in everything] == list(range(1, len(everything) + 1))


def test_a_line_that_is_being_written_is_read_when_it_is_complete(path: Path) -> None:
    whole = json.dumps({"id": 1, "event": "log", "text": "x", "line": 1}) + "\n"
    reader = EventReader(path)
    assert reader.read() == []  # no file yet
    path.write_text(whole[:10])
    assert reader.read() == []
    path.write_text(whole)
    assert [event["id"] for event in reader.read()] == [1]
    assert reader.read() == []
    reader.close()


def test_half_a_line_at_the_end_is_in_nobodys_way(path: Path) -> None:
    writer = EventWriter(path)
    for number in range(5):
        writer.log(str(number))
    writer.close()
    with path.open("a") as file:
        file.write('{"id": 6, "ev')  # its process was killed
    assert [[event["id"] for event in read(path, after)] for after in (0, 4, 5, 6)] == [
        [1, 2, 3, 4, 5],
        [5],
        [],
        [],
    ]


def test_a_torn_line_in_the_middle_costs_itself_alone(path: Path) -> None:
    lines = [json.dumps({"id": n, "event": "log", "line": n, "text": "x"}) for n in range(1, 9)]
    path.write_text("\n".join([*lines[:4], '{"id": 5, "ev' + lines[4], *lines[4:]]) + "\n")
    assert [event["id"] for event in read(path)] == list(range(1, 9))
    for after in range(9):
        assert {event["id"] for event in read(path, after)} >= set(range(after + 1, 9))


def test_secrets_are_never_written(path: Path) -> None:
    writer = EventWriter(path, lambda: ["hf_abcdefgh", "no"])
    writer.log("token: hf_abcdefgh, and \x1b[31mhf_abcdefgh\x1b[0m")
    writer.log("no is too short to be a secret")
    writer.close()
    assert b"hf_abcdefgh" not in path.read_bytes()
    assert texts(path) == [
        "token: ********, and \x1b[31m********\x1b[0m",
        "no is too short to be a secret",
    ]


def test_of_a_secret_that_is_replaced_during_the_job_both_are_hidden(
    path: Path, tmp_path: Path
) -> None:
    secrets = Secrets(tmp_path / "secrets")
    secrets.put("hf_token", "hf_before")
    writer = EventWriter(path, Seen(secrets))
    secrets.put("hf_token", "hf_before_and_after")
    secrets.put("ngc_key", "another")
    writer.log("hf_before hf_before_and_after another")
    secrets.remove("hf_token")
    writer.log("hf_before_and_after")
    writer.close()
    assert texts(path) == ["******** ******** ********", "********"]


def test_colours_stay_and_a_terminals_other_commands_go(path: Path) -> None:
    writer = EventWriter(path)
    writer.log("\x1b[1;31mred\x1b[0m\x1b[2J\x1b]0;title\x07\x1b[10;10H\x00 end\x1b")
    writer.close()
    (text,) = texts(path)
    assert isinstance(text, str)
    assert text.startswith("\x1b[1;31mred\x1b[0m")
    assert "\x1b" not in plain(text)
    assert not set("\x00\x07") & set(text)
    assert plain(text).endswith(" end")


def test_a_long_text_becomes_events_of_whole_lines(path: Path) -> None:
    lines = [f"{number} " + "x" * 200 for number in range(500)] + ["y" * 40_000]
    writer = EventWriter(path)
    writer.log("\n".join(lines))
    writer.close()
    found = read(path)
    assert all(len(str(event["text"])) <= 16 * 1024 for event in found)
    pieces = "\n".join(str(event["text"]) for event in found).split("\n")
    assert pieces[:500] == lines[:500]
    assert "".join(pieces[500:]) == lines[500]
    for event, following in itertools.pairwise(found):
        count = str(event["text"]).count("\n") + 1
        assert following["line"] == event["line"] + count  # type: ignore[operator]


def test_a_log_without_end_is_cut_and_its_phases_are_not(path: Path) -> None:
    writer = EventWriter(path, most_bytes=5000)
    for number in range(200):
        writer.log(f"line {number} " + "x" * 100)
    writer.phase("Verify", "running")
    writer.log("more")
    writer.close()
    found = read(path)
    assert path.stat().st_size < 6000
    assert found[-1]["name"] == "Verify"
    assert "left out" in str(found[-2]["text"])
    assert sum("left out" in str(event.get("text")) for event in found) == 1


def test_a_full_disk_costs_events_but_neither_the_job_nor_the_file(path: Path) -> None:
    writer = EventWriter(path)
    writer.log("before")
    size = path.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, limits[1]))
        writer.log("lost, and only a part of it would fit")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    writer.log("after")
    writer.close()
    assert writer.dropped == 1
    assert [(event["id"], event["text"]) for event in read(path)] == [(1, "before"), (2, "after")]
