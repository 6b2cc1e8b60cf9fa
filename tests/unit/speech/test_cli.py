import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RTTM = (
    "SPEAKER a 1 6.690 0.430 <NA> <NA> s90 <NA> <NA>\n"
    "SPEAKER a 1 7.550 0.800 <NA> <NA> s91 <NA> <NA>\n"
)
WORDS = [
    {"word": "Hello.", "start": 6.69, "end": 7.12},
    {"word": "Grüß", "start": 7.55, "end": 8.0},
    {"word": "Gott.", "start": None},
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "words.json").write_text(json.dumps(WORDS), encoding="utf-8")
    (tmp_path / "turns.rttm").write_text(RTTM, encoding="utf-8")
    return tmp_path


def call(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy_app.speech", *map(str, arguments)],
        input=stdin,
        cwd=ROOT,
        capture_output=True,
        check=False,
        encoding="utf-8",
    )


def shell(command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which "$@" is the merge of the arguments."""
    merge = [sys.executable, "-m", "proxy_app.speech", "merge", *map(str, arguments)]
    return subprocess.run(
        ["sh", "-c", command, "sh", *merge],
        cwd=ROOT,
        capture_output=True,
        check=False,
        encoding="utf-8",
    )


def test_json_is_the_answer_of_transcribe_with_speakers(files: Path) -> None:
    done = call("merge", files / "words.json", files / "turns.rttm")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "duration": 8.4,
        "language": None,
        "speakers_detected": 2,
        "segments": [
            {"start_ms": 6690, "end_ms": 7120, "speaker": "Speaker_0", "text": "Hello."},
            {"start_ms": 7550, "end_ms": 8400, "speaker": "Speaker_1", "text": "Grüß Gott."},
        ],
        "models": {},
    }


def test_words_are_added_to_the_segments(files: Path) -> None:
    done = call("merge", files / "words.json", files / "turns.rttm", "--words")
    assert json.loads(done.stdout)["segments"][1]["words"] == [
        {"word": "Grüß", "start": 7.55, "end": 8.0},
        {"word": "Gott.", "start": 8.0, "end": 8.4},
    ]


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("srt", "1\n00:00:06,690 --> "),
        ("vtt", "WEBVTT\n\n00:00:06.690 --> "),
        ("rttm", "SPEAKER audio 1 6.690 0.430 <NA> <NA> Speaker_0 <NA> <NA>\n"),
        ("diarized_json", '{\n  "task": "transcribe",'),
    ],
)
def test_every_format_is_printed(files: Path, name: str, start: str) -> None:
    done = call("merge", files / "words.json", files / "turns.rttm", "--format", name)
    assert done.returncode == 0
    assert done.stdout.startswith(start)


def test_a_file_can_come_from_standard_input(files: Path) -> None:
    done = call("merge", "-", files / "turns.rttm", stdin=json.dumps(WORDS))
    assert json.loads(done.stdout)["speakers_detected"] == 2


def test_a_dropped_turn_is_named_and_the_rest_is_merged(files: Path) -> None:
    with (files / "turns.rttm").open("a") as turns:
        turns.write("SPEAKER a 1 20.0 0.0 <NA> <NA> s92 <NA> <NA>\n")
    done = call("merge", files / "words.json", files / "turns.rttm")
    assert done.returncode == 0
    assert json.loads(done.stdout)["duration"] == 8.4
    assert "dropped the turn of s92 from 20.0 to 20.0 s: it has no length" in done.stderr


@pytest.mark.parametrize(
    ("words", "turns", "message"),
    [
        (None, RTTM, "words.json: No such file or directory"),
        (json.dumps(WORDS), None, "turns.rttm: No such file or directory"),
        ("{", RTTM, "words.json: not JSON"),
        ("{}", RTTM, "words.json: a list of {word, start, end} is expected"),
        ('["a"]', RTTM, 'words.json: entry 1: an object with a text "word" is expected'),
        (json.dumps(WORDS), "SPEAKER a 1 0 1", "turns.rttm: line 1: a SPEAKER line has 8 to 10 f"),
        (b"\xff\xfe", RTTM, "words.json: not UTF-8 at byte 0"),
    ],
)
def test_bad_input_is_one_line_that_names_the_file_and_the_place(
    tmp_path: Path, words: str | bytes | None, turns: str | None, message: str
) -> None:
    for name, content in (("words.json", words), ("turns.rttm", turns)):
        if content is not None:
            data = content if isinstance(content, bytes) else content.encode()
            (tmp_path / name).write_bytes(data)
    done = call("merge", tmp_path / "words.json", tmp_path / "turns.rttm")
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "srt", "--words"], "--words goes with --format json only"),
        (["--format", "docx"], "invalid choice: 'docx'"),
    ],
)
def test_bad_options_are_refused(files: Path, arguments: list[str], message: str) -> None:
    done = call("merge", files / "words.json", files / "turns.rttm", *arguments)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize("redirection", ["> /dev/full", ">&-"])
def test_output_that_cannot_be_written_is_one_line_and_an_exit_code(
    files: Path, redirection: str
) -> None:
    done = shell(f'"$@" {redirection}', files / "words.json", files / "turns.rttm")
    assert done.returncode == 1
    assert done.stderr.startswith("proxy_app.speech: standard output: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("reader", ["head -n 1", "true"])
def test_a_reader_that_has_had_enough_is_no_error(files: Path, reader: str) -> None:
    words = [{"word": "word", "start": n, "end": n + 0.5} for n in range(5000)]
    (files / "many.json").write_text(json.dumps(words))
    command = f'{{ "$@"; echo $? >&2; }} | {reader}'
    done = shell(command, files / "many.json", files / "turns.rttm")
    assert done.stderr == "0\n"


def test_closed_standard_streams_are_no_traceback(files: Path) -> None:
    done = shell('"$@" <&-', "-", files / "turns.rttm")
    assert (done.returncode, done.stderr) == (2, "proxy_app.speech: -: Bad file descriptor\n")
    assert shell('"$@" 2>&-', files / "none.json", files / "turns.rttm").returncode == 2


def test_standard_input_cannot_be_both_files() -> None:
    done = call("merge", "-", "-")
    assert done.returncode == 2
    assert "only one of the two files can be standard input" in done.stderr


def test_text_that_is_no_unicode_is_printed_with_a_question_mark(files: Path) -> None:
    (files / "words.json").write_text('[{"word": "a\\ud800b", "start": 7, "end": 7.1}]')
    done = call("merge", files / "words.json", files / "turns.rttm", "--format", "diarized_json")
    assert json.loads(done.stdout)["text"] == "A: a?b"
