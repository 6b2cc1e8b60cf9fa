"""Speakers by NVIDIA's Sortformer (NeMo); Parakeet's container serves them by sortformer_*.py."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sortformer_refusals import Refusal, unavailable
from sortformer_settings import GIB, POST_PROCESSING, Settings

STREAMING = {
    "chunk_len": 340,
    "chunk_left_context": 1,
    "chunk_right_context": 40,
    "fifo_len": 40,
    "spkcache_update_period": 300,
    "spkcache_len": 188,
}
"""Frames of 80 ms. The model card's "very high latency" (30.4 s): the most accurate for files."""
FRAME_S = 0.08
POST_PROCESSING_KEYS = (
    "onset",
    "offset",
    "pad_onset",
    "pad_offset",
    "min_duration_on",
    "min_duration_off",
)
STREAMING_BYTES_PER_S = 800_000
"""Memory for a second of audio in streaming: NeMo makes the features of the whole file at once."""
OFFLINE_BYTES_PER_FRAME2 = 215
"""Offline, every frame attends to every other: 8 heads, 32 bits, measured (12 minutes: 17 GB)."""


class SortformerDiarizer:
    """NVIDIA's Sortformer: who speaks when, for at most four people.

    Streaming models (v2, v2.1) take a file of any length in chunks and remember the voices. The
    offline model (v1) looks at all of a file at once, in memory that grows with the square of its
    length; its licence is non-commercial.

    Args:
        model: a name on the Hugging Face hub, or the path of a .nemo file.
        device: cpu, cuda, or auto.
        post_processing: dihard3, callhome or none (POST_PROCESSING).
        max_seconds: the longest recording; by default 4 hours, offline 8 minutes.

    Raises:
        Exception: whatever NeMo says when the model cannot be had.
    """

    def __init__(
        self,
        model: str = Settings.model,
        device: str = "auto",
        post_processing: str = "dihard3",
        max_seconds: float | None = None,
    ) -> None:
        # It brings torch along, and belongs in the diarizer's process alone.
        from nemo.collections.asr.models import SortformerEncLabelModel  # noqa: PLC0415

        options = {} if device == "auto" else {"map_location": device}
        is_file = model.endswith(".nemo")
        load = (
            SortformerEncLabelModel.restore_from
            if is_file
            else SortformerEncLabelModel.from_pretrained
        )
        loaded = load(model, **options)
        self.name = Path(model).stem if is_file else model
        self.device = str(loaded.device)
        self.streaming = bool(loaded.streaming_mode) or "streaming" in self.name
        self.max_seconds = max_seconds or (4 * 3600.0 if self.streaming else 480.0)
        self._thresholds = self._choose_thresholds(post_processing)
        self._model = loaded.eval()
        self._before_step: Callable[[], None] = lambda: None
        if self.streaming:
            self._set_up_streaming()

    def _choose_thresholds(self, name: str) -> dict[str, float]:
        generation = "v2" if self.streaming else "v1"
        values = POST_PROCESSING["none" if name == "none" else f"{generation}-{name}"]
        return dict(zip(POST_PROCESSING_KEYS, values, strict=True))

    def _set_up_streaming(self) -> None:
        step = getattr(self._model, "forward_streaming_step", None)
        if step is None:
            raise RuntimeError("this NeMo has no streaming Sortformer: 2.5 or later is needed")
        modules = self._model.sortformer_modules
        for name, frames in STREAMING.items():
            setattr(modules, name, frames)
        self._model.streaming_mode = True
        modules._check_streaming_parameters()  # noqa: SLF001 - NeMo's own examples call it

        def watched_step(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - passed through
            self._before_step()
            return step(*args, **kwargs)

        self._model.forward_streaming_step = watched_step

    @property
    def step_s(self) -> float | None:
        """Seconds of audio in one step; None where a recording is one single step."""
        return STREAMING["chunk_len"] * FRAME_S if self.streaming else None

    def bytes_needed(self, seconds: float) -> float:
        """What the recording takes in memory beyond the model, in bytes."""
        if self.streaming:
            return GIB + STREAMING_BYTES_PER_S * seconds
        return GIB + OFFLINE_BYTES_PER_FRAME2 * (seconds / FRAME_S) ** 2

    def check_length(self, seconds: float) -> None:
        """Refuse what this model cannot take.

        Raises:
            Refusal: 413.
        """
        if seconds <= self.max_seconds:
            return
        reason = "" if self.streaming else "the memory of an offline model grows with its square; "
        raise Refusal(
            413,
            "audio_too_long",
            f"The recording is longer than {self.max_seconds:.0f} s, the limit of {self.name} "
            f"(SORTFORMER_MAX_SECONDS): {reason}split it"
            + (", or run a streaming model." if reason else "."),
        )

    def check_memory(self, seconds: float) -> None:
        """Refuse what the machine's memory has no room for now.

        Raises:
            Refusal: 503.
        """
        needed, available = self.bytes_needed(seconds), available_bytes()
        if needed > available:
            raise unavailable(
                f"This recording needs about {needed / GIB:.1f} GiB of memory, and "
                f"{available / GIB:.1f} GiB are available now."
            )

    def diarize(
        self, wav: Path, seconds: float, before_step: Callable[[], None] = lambda: None
    ) -> list[dict[str, Any]]:
        """Find the turns of a recording.

        Args:
            wav: 16 kHz, mono, 16 bits, at least a second (`to_wav` makes it).
            seconds: how long the recording is without padding.
            before_step: called before each step of a streaming model; what it raises ends the work.

        Returns:
            {"start", "end", "speaker"}: seconds within the recording, and a label that holds for
            the whole of it; in order of their start. Turns of different people may overlap.
        """
        self._before_step = before_step
        # The only form that NeMo takes these in. JSON is YAML.
        thresholds = wav.with_suffix(".yaml")
        thresholds.write_text(json.dumps({"parameters": self._thresholds}))
        lines = self._model.diarize(
            audio=str(wav),
            batch_size=1,
            postprocessing_yaml=str(thresholds),
            num_workers=0,
            verbose=False,
        )[0]
        turns = []
        for line in lines:  # "0.000 14.480 speaker_1", one speaker after the other
            start, end, speaker = line.split()
            turn = {
                "start": round(max(0.0, float(start)), 3),
                "end": round(min(seconds, float(end)), 3),
                "speaker": speaker,
            }
            if turn["end"] > turn["start"]:
                turns.append(turn)
        return sorted(turns, key=lambda turn: (turn["start"], turn["end"], turn["speaker"]))


def available_bytes() -> float:
    """What the kernel could give now without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return float("inf")
