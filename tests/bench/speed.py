"""How fast the engine is and what memory it takes, beside its peers; and what alignment costs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import peers
from tests.bench.peers import PeerError, Run
from tests.bench.printing import gigabytes, say, table
from tests.bench.recordings import MissingAudioError, Recording, Recordings
from tests.bench.serving import CORES, PYTHON, SPEAKERS, TEXT, engine, peak_bytes, stream
from tests.engine.conftest import ROOT

HEAD = (
    "recording", "", "time", "x real time", "RTF", "first text", "peak memory", "speakers found",
)  # fmt: skip
Contender = Callable[[Path, int], Run]
"""Works on a recording so many times, one after another; gives the run with the median time."""
ROUNDS = {"sample.wav": 3}
"""Recordings that are measured more than once."""
ALIGNED_MIN = 10
DEFAULTS: Mapping[str, str] = {}


def speed(recordings: Recordings, minutes: Iterable[int]) -> None:
    """Print the table of all recordings and contenders.

    Raises:
        MissingAudioError: there are no recordings to join; the sample's rows are printed.
    """
    contenders: dict[str, Contender] = {
        "engine, with speakers": partial(ask_engine, SPEAKERS),
        f"{version('faster_whisper')}, then {version('senko')}": peers.sequence,
        "engine, no speakers": partial(ask_engine, TEXT),
        f"{version('whisperx')} --no_align, no speakers": peers.whisperx,
    }
    measured: list[Recording] = []
    missing: MissingAudioError | None = None
    try:
        measured = [recordings.call, *(recordings.joined(length) for length in minutes)]
    except MissingAudioError as error:
        measured, missing = [recordings.call], error
    print(
        f"tiny.en int8 and, but for whisperx, senko; {CORES} cores. A fresh process each. The time "
        "of whisperx's command is with its start, the others' is without; first text is from the "
        "same moment on. The sample's times are medians of 3.\n"
    )
    for recording in measured:
        print(f"- {recording.name}: {recording.origin}")
    rows = [row(recording, name, run) for recording in measured for name, run in contenders.items()]
    table(HEAD, rows)
    if missing is not None:
        raise missing


def alignment(recordings: Recordings) -> None:
    """Print what forced alignment costs.

    Raises:
        MissingAudioError: there are no recordings to join.
    """
    recording = recordings.joined(ALIGNED_MIN)
    with TemporaryDirectory() as folder:
        model = Path(folder) / "wav2vec2-base"
        say("making an alignment model")
        write_alignment_model(model)
        settings = {"ENGINE_ALIGN": "on", "ENGINE_ALIGN_MODELS": f"en={model}"}
        rows = [
            row(recording, "without alignment", partial(ask_engine, SPEAKERS)),
            row(recording, "with alignment", partial(ask_engine, SPEAKERS, settings=settings)),
        ]
    print(
        "Forced alignment, ENGINE_ALIGN=on, by a wav2vec2 of base size (95 million weights) with "
        "random weights, on 10 minutes of the joined recordings with speakers."
    )
    table(HEAD, rows)


def row(recording: Recording, name: str, contender: Contender) -> list[str]:
    """One contender's row of the table, or why there is none."""
    say(f"{recording.name}: {name}")
    try:
        done = contender(recording.path, ROUNDS.get(recording.name, 1))
    except PeerError as error:
        return [recording.name, name, str(error)]
    return [
        recording.name,
        name,
        f"{done.took_s:.1f} s",
        f"{recording.seconds / done.took_s:.1f}",
        f"{done.took_s / recording.seconds:.3f}",
        "" if done.first_text_s is None else f"{done.first_text_s:.1f} s",
        gigabytes(done.peak_bytes),
        "" if done.speakers is None else f"{done.speakers} of {recording.people or '?'}",
    ]


def ask_engine(
    path: str, recording: Path, rounds: int, settings: Mapping[str, str] = DEFAULTS
) -> Run:
    """Start an engine, and have a recording streamed."""
    with engine(**settings) as running:
        answers = [stream(running, path, recording) for _ in range(rounds)]
        peak = peak_bytes(running)
    for one in answers:
        if warnings := one.answer.get("warnings"):
            raise RuntimeError(f"the engine left something out: {warnings}")
    return peers.middle(
        [
            Run(one.took_s, peak, one.first_text_s, one.answer.get("speakers_detected"))
            for one in answers
        ]
    )


def write_alignment_model(folder: Path) -> None:
    """Have one made in the engine's environment, which has the libraries."""
    code = (
        "import pathlib, sys; from tests.standins.engine_alignment_models import write_folder; "
        "write_folder(pathlib.Path(sys.argv[1]))"
    )
    subprocess.run(
        [str(PYTHON), "-c", code, str(folder)],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        check=True,
    )


def version(package: str) -> str:
    """The name and version of a package, as one of the environments has it."""
    for environment in (PYTHON.parent.parent, peers.WHISPERX.parent.parent):
        for found in environment.glob(f"lib/python3*/site-packages/{package}-*.dist-info"):
            return found.stem.replace("-", " ").replace("_", "-")
    return package
