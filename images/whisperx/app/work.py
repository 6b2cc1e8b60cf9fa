"""What the inference thread does with one request's audio."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from images.whisperx.app.diarization import Diarizer, SpeakerCount
from images.whisperx.app.engine import Engine, Job
from images.whisperx.app.preflight import available_memory, refuse_what_cannot_fit
from images.whisperx.app.probe_audio import Samples
from images.whisperx.app.transcription import Transcription, Wish
from proxy_app.audio.wav import HEADER_BYTES
from proxy_app.speech import Transcript, Turn, conversation, merge, to_json, to_verbose_json

log = logging.getLogger(__name__)


def transcribe(
    engine: Engine, job: Job, path: Path, wish: Wish, *, verbose: bool, words: bool
) -> dict[str, Any]:
    """Speech to text.

    Args:
        engine: whose models are used; the caller is its inference thread.
        job: to be kept informed.
        path: what `proxy_app.audio.to_wav` wrote.
        wish: language, prompt, temperature.
        verbose: verbose_json instead of json.
        words: whether verbose_json lists the words.

    Returns:
        The answer's body.
    """
    found = _transcribe(engine, job, _read(engine, job, path), wish)
    transcript = Transcript(found.segments, job.duration_s, found.language)
    return to_verbose_json(transcript, words=words) if verbose else to_json(transcript)


def transcribe_with_speakers(
    engine: Engine, job: Job, path: Path, wish: Wish, count: SpeakerCount, *, words: bool
) -> dict[str, Any]:
    """Speech to text with speakers.

    Args:
        engine: whose models are used; the caller is its inference thread.
        job: to be kept informed.
        path: what `proxy_app.audio.to_wav` wrote.
        wish: language and prompt.
        count: what is known about the number of speakers.
        words: whether each segment of the answer lists its words.

    Returns:
        The answer's body.
    """
    samples = _read(engine, job, path)
    transcription = _transcribe(engine, job, samples, wish)
    turns: tuple[Turn, ...] = ()
    if transcription.tokens:  # who is silent needs no name
        turns = engine.diarizer.diarize(samples, count, partial(engine.checkpoint, job))
    merged = merge(transcription.tokens, turns)
    for dropped in merged.dropped_turns:
        log.warning("%s gave an unusable turn: %s", engine.diarizer.name, dropped.reason)
    body = conversation(
        merged,
        duration=job.duration_s,
        language=transcription.language,
        models={
            "transcription": f"faster-whisper {engine.transcriber.name}",
            "diarization": engine.diarizer.name,
        },
        words=words,
    )
    warnings = _count_warnings(count, body["speakers_detected"], engine.diarizer)
    return body | {"warnings": warnings} if warnings else body


def _count_warnings(count: SpeakerCount, found: int, diarizer: Diarizer) -> list[str]:
    """What became of the number of speakers that was asked for, where that was not done."""
    warnings = []
    if count.is_given and not diarizer.obeys_count:
        warnings.append(
            f"{diarizer.name} counts the speakers itself; the number given had no effect."
        )
    if count.is_given and not count.allows(found):
        was = "was" if found == 1 else "were"
        warnings.append(f"Asked for {count}; {found or 'none'} {was} found in this recording.")
    return warnings


def _read(engine: Engine, job: Job, path: Path) -> Samples:
    # Here and not before: what was free when the request came may be in use when its turn comes.
    refuse_what_cannot_fit(job.duration_s, available_memory(), engine.settings)
    samples = np.fromfile(path, dtype="<i2", offset=HEADER_BYTES)
    return samples.astype(np.float32) / np.float32(32768)


def _transcribe(engine: Engine, job: Job, samples: Samples, wish: Wish) -> Transcription:
    checkpoint = partial(engine.checkpoint, job)
    return engine.transcriber.transcribe(samples, job.duration_s, wish, checkpoint)
