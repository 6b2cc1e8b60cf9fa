"""Stand-in for NeMo: a Sortformer that does what the .nemo file says, which here is JSON.

What it stands in for is a model that is slow, that cannot be loaded, or that meets a fault of the
GPU; everything else is tested with NeMo itself (tests/sortformer/test_model.py). Keys of the file:
`streaming`, `load_error` (text), `load_s`, `step_s` (seconds for a step), `error` (text; raised in
diarize), `lock_up` (true: diarize never returns, and holds Python's lock).
"""

from __future__ import annotations

import json
import re
import time
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

STEP_S = 27.2


class SortformerEncLabelModel:
    """As much of the class as diarizer.py uses."""

    device = "cpu"

    def __init__(self, said: dict[str, Any]) -> None:
        self._said = said
        self.streaming_mode = said.get("streaming", True)
        self.sortformer_modules = SimpleNamespace(_check_streaming_parameters=lambda: None)

    @classmethod
    def restore_from(cls, path: str) -> SortformerEncLabelModel:
        said = json.loads(Path(path).read_text())
        time.sleep(said.get("load_s", 0))
        if "load_error" in said:
            raise RuntimeError(said["load_error"])
        return cls(said)

    def eval(self) -> SortformerEncLabelModel:
        return self

    def forward_streaming_step(self) -> None:
        time.sleep(self._said.get("step_s", 0))

    def diarize(self, audio: str, postprocessing_yaml: str, **_options: object) -> list[list[str]]:
        """One person for the first half, another for the second, and the first at its very end."""
        assert json.loads(Path(postprocessing_yaml).read_text())["parameters"]["onset"] > 0
        with wave.open(audio) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
            seconds = file.getnframes() / 16000
        if self._said.get("lock_up"):
            re.match(r"(a+)+$", "a" * 60 + "b")
        for _ in range(int(seconds // STEP_S) + 1):
            self.forward_streaming_step()
        if "error" in self._said:
            raise RuntimeError(self._said["error"])
        half = seconds / 2
        return [
            [
                f"0.000 {half:.3f} speaker_0",
                f"{seconds - 0.25:.3f} {seconds + 0.08:.3f} speaker_0",
                f"{half:.3f} {seconds:.3f} speaker_1",
            ]
        ]
