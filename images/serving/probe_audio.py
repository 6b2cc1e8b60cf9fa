"""Made sound that voice detectors take for speech: a warm-up with it runs the whole model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from images.serving.recording import RATE, Samples
from proxy_app.audio.wav import header

_SYLLABLE_S = 0.22
# Formants of five English vowels in Hz (Peterson and Barney, 1952, men), with bandwidth and gain.
_VOWELS = (
    (730, 1090, 2440),
    (270, 2290, 3010),
    (300, 870, 2240),
    (530, 1840, 2480),
    (570, 840, 2410),
)
_FORMANT_SHAPES = ((80, 1.0), (90, 0.5), (120, 0.25))


def speech_like(seconds: float) -> Samples:
    """A voice that says vowels: pulses of a gliding pitch through formants, by syllables."""
    count = int(seconds * RATE)
    time = np.arange(count) / RATE
    pitch = 120 + 25 * np.sin(np.pi * time) + 10 * np.sin(4.6 * np.pi * time)
    pulses = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0)
    breath = 0.01 * np.random.default_rng(0).standard_normal(count)
    voice = pulses + breath
    step = int(_SYLLABLE_S * RATE)
    frequency = np.fft.rfftfreq(2 * step, 1 / RATE)
    sound = np.zeros(count)
    for number, start in enumerate(range(0, count, step)):
        formants = zip(_VOWELS[number % len(_VOWELS)], _FORMANT_SHAPES, strict=True)
        filtered = sum(
            gain / (1 + ((frequency - centre) / width) ** 2) for centre, (width, gain) in formants
        )
        part = voice[start : start + step]
        syllable = np.fft.irfft(np.fft.rfft(part, 2 * step) * filtered)[: len(part)]
        loudness = np.sqrt(np.sin(np.pi * np.arange(len(part)) / step))
        sound[start : start + len(part)] = syllable * loudness
    loudest: float = np.abs(sound).max()
    return np.asarray(0.3 * sound / loudest, dtype=np.float32)


def write_speech_like(path: Path, seconds: float) -> None:
    """Write it as the kind of WAV that requests' audio is decoded to."""
    stored = (speech_like(seconds) * 32767).astype("<i2").tobytes()
    path.write_bytes(header(len(stored)) + stored)
