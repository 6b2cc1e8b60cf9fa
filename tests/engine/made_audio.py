"""Audio files that tests make: honest ones and others."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

RATE = 16_000


def wav(
    samples: NDArray[np.int16], *, rate: int = RATE, channels: int = 1, claims: int | None = None
) -> bytes:
    """A 16-bit WAV; `claims` is what the header says its data's size is, in bytes."""
    data = samples.astype("<i2").tobytes()
    size = len(data) if claims is None else claims
    layout = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16)
    riff = min(36 + size, 0xFFFFFFFF)
    head = struct.pack("<4sI4s4sI", b"RIFF", riff, b"WAVE", b"fmt ", len(layout))
    return head + layout + struct.pack("<4sI", b"data", size) + data


def silence(seconds: float) -> bytes:
    """A WAV of nothing."""
    return wav(np.zeros(round(seconds * RATE), dtype=np.int16))


def music(seconds: float) -> bytes:
    """A WAV of plucked chords (Am F C G) over a beat."""
    count = int(seconds * RATE)
    sound = np.zeros(count)
    chords = ((220, 262, 330), (175, 220, 262), (131, 165, 196), (196, 247, 294))
    random = np.random.default_rng(0)
    for number, start in enumerate(range(0, count, RATE // 2)):
        time = np.arange(min(RATE // 2, count - start)) / RATE
        for frequency in chords[number // 2 % len(chords)]:
            for harmonic in (1, 2, 3, 4):
                tone = np.sin(2 * np.pi * frequency * harmonic * time) / harmonic
                sound[start : start + len(time)] += tone * np.exp(-4 * time)
        beat = random.standard_normal(len(time)) * np.exp(-40 * time)
        sound[start : start + len(time)] += 2 * beat
    return wav((20_000 * sound / np.abs(sound).max()).astype(np.int16))
