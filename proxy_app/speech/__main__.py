"""The command line: python -m proxy_app.speech merge WORDS.json TURNS.rttm."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from proxy_app.speech import (
    FormatError,
    Merged,
    Transcript,
    conversation,
    merge,
    parse_rttm,
    parse_words,
    to_diarized_json,
    to_rttm,
    to_srt,
    to_vtt,
)

T = TypeVar("T")

_STDIN, _STDOUT, _STDERR = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the merged conversation.

    Returns:
        The exit code: 2 if the input cannot be used, 1 if the output cannot be written.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.words and options.format != "json":
        parser.error("--words goes with --format json only")
    if options.words_file == options.turns_file == "-":
        parser.error("only one of the two files can be standard input")
    try:
        tokens = _read(options.words_file, parse_words)
        turns = _read(options.turns_file, parse_rttm)
    except FormatError as error:
        _say(str(error))
        return 2
    merged = merge(tokens, turns)
    for turn, reason in ((dropped.turn, dropped.reason) for dropped in merged.dropped_turns):
        _say(f"dropped the turn of {turn.speaker} from {turn.start} to {turn.end} s: {reason}")
    unusable = {dropped.turn for dropped in merged.dropped_turns}
    ends = [turn.end for turn in turns if turn not in unusable]
    ends += [segment.end for segment in merged.segments]
    try:
        _print(_rendered(merged, max(ends, default=0.0), options))
    except OSError as error:
        _say(f"standard output: {error.strerror}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m proxy_app.speech")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("merge", help="give the words of a recogniser their speakers")
    command.add_argument(
        "words_file",
        metavar="WORDS.json",
        help="a list of {word, start, end}, seconds or null; - is standard input",
    )
    command.add_argument(
        "turns_file", metavar="TURNS.rttm", help="the turns of a diarizer; - is standard input"
    )
    command.add_argument(
        "--format", choices=["json", "srt", "vtt", "rttm", "diarized_json"], default="json"
    )
    command.add_argument(
        "--words", action="store_true", help="add to each segment of the json its words"
    )
    return parser


def _read(name: str, parse: Callable[[str], T]) -> T:
    """What a file says.

    Raises:
        FormatError: it cannot be read or is of another form; begins with the file's name.
    """
    try:
        data = _standard_input() if name == "-" else Path(name).read_bytes()
        return parse(data.decode("utf-8-sig"))
    except OSError as error:
        raise FormatError(f"{name}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise FormatError(f"{name}: not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise FormatError(f"{name}: {error}") from None


def _standard_input() -> bytes:
    with open(_STDIN, "rb", closefd=False) as stdin:  # sys.stdin is None where it is closed
        return stdin.read()


def _rendered(merged: Merged, duration: float, options: argparse.Namespace) -> str:
    transcript = Transcript(merged.segments, duration)
    match options.format:
        case "srt":
            return to_srt(transcript)
        case "vtt":
            return to_vtt(transcript)
        case "rttm":
            return to_rttm(transcript)
        case "diarized_json":
            answer = to_diarized_json(transcript)
        case _:
            answer = conversation(
                merged, duration=duration, language=None, models={}, words=options.words
            )
    return json.dumps(answer, ensure_ascii=False, indent=2) + "\n"


def _print(text: str) -> None:
    """Write UTF-8 whatever the locale; a reader that has had enough is no error.

    Not through sys.stdout, which is None where it is closed, and which would try once more at the
    interpreter's end what has failed here.

    Raises:
        OSError: the disk is full, or standard output is closed.
    """
    with (
        suppress(BrokenPipeError),
        open(_STDOUT, "wb", closefd=False) as stdout,
    ):
        stdout.write(text.encode(errors="replace"))


def _say(message: str) -> None:
    """Write a line to standard error if anybody is there to read it."""
    with suppress(OSError), open(_STDERR, "wb", closefd=False) as stderr:
        stderr.write(f"proxy_app.speech: {message}\n".encode(errors="backslashreplace"))


if __name__ == "__main__":
    sys.exit(main())
