"""The thread of the diarizer's process that has the model, and the recordings that wait for it."""

import os
import queue
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diarizer import SortformerDiarizer
from sortformer_refusals import ClientLeftError, Refusal, unavailable
from sortformer_settings import Settings, log

LEAST_LIMIT_S = 300
SHORTAGE = re.compile(r"out of memory|alloc_failed|cannot allocate", re.IGNORECASE)
"""What an error says after which a smaller recording can succeed."""
GPU_FAULT = re.compile(r"cuda|cublas|cudnn|cufft|accelerator", re.IGNORECASE)
"""What any other error of the GPU says; after most of them every later call here fails."""


@dataclass
class Job:
    """A recording that waits for its turn, or has it."""

    wav: Path
    seconds: float
    began: float | None = None
    steps: int = 0
    left: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    segments: list[dict[str, Any]] = field(default_factory=list)
    refusal: Refusal | None = None

    def before_step(self) -> None:
        """Count a step, or end the work that nobody waits for."""
        if self.left:
            raise ClientLeftError
        self.steps += 1


class Worker(threading.Thread):
    """The one thread that touches the model: loads it, then takes one recording after the other."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="model", daemon=True)
        self._settings = settings
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._current: Job | None = None
        self.places = threading.BoundedSemaphore(settings.waiting + 1)
        self.diarizer: SortformerDiarizer | None = None
        self.status = "loading"
        self.detail = "The model is being loaded."
        self.doomed = False
        """Whether this process has to end, and to be made anew."""

    def run(self) -> None:
        """Work for as long as this process lives."""
        self._load()
        while True:
            job = self._jobs.get()
            if not job.left:
                self._current = job
                self._do(job)
                self._current = None
            job.done.set()

    def _load(self) -> None:
        pause_s = 10
        while self.diarizer is None:
            chosen = self._settings
            try:
                self.diarizer = SortformerDiarizer(
                    chosen.model, chosen.device, chosen.post_processing, chosen.max_seconds
                )
            except Exception as error:
                log.exception("%s cannot be loaded; next attempt in %d s", chosen.model, pause_s)
                said = f"{type(error).__name__}: {error}"
                self.status = "failed"
                self.detail = f"The model {chosen.model} could not be loaded: {said[:500]}"
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, 300)
        self.status = "ready"
        log.warning("%s is loaded on %s", self.diarizer.name, self.diarizer.device)

    def _do(self, job: Job) -> None:
        job.began = time.monotonic()
        try:
            diarizer = self.ready()
            diarizer.check_memory(job.seconds)
            job.segments = diarizer.diarize(job.wav, job.seconds, job.before_step)
        except ClientLeftError:
            pass
        except Refusal as refusal:
            job.refusal = refusal
        except Exception as error:
            if job.left:
                return  # its file is gone
            log.exception("a recording of %.0f s failed", job.seconds)
            text = str(error)
            if isinstance(error, MemoryError) or SHORTAGE.search(text):
                job.refusal = unavailable("Memory ran out on this recording.")
            elif GPU_FAULT.search(text):
                self.doomed = True
                job.refusal = unavailable("The GPU failed; the diarizer is started again.")
            else:
                message = "The diarizer failed on this recording; its log says why."
                job.refusal = Refusal(500, "diarization_failed", message)

    def ready(self) -> SortformerDiarizer:
        """The model.

        Raises:
            Refusal: 503 while there is none.
        """
        if self.diarizer is None:
            raise unavailable(self.detail)
        return self.diarizer

    @property
    def stuck(self) -> bool:
        """Whether the recording at hand takes longer than any honest work does."""
        job = self._current
        if job is None or job.began is None:
            return False
        return time.monotonic() - job.began > max(LEAST_LIMIT_S, 2 * job.seconds)

    def add(self, wav: Path, seconds: float) -> Job:
        """Queue a recording; whoever does holds one of the places."""
        job = Job(wav, seconds)
        self._jobs.put(job)
        return job

    def health(self) -> tuple[int, dict[str, Any]]:
        """The status, and what is shown."""
        shown: dict[str, Any] = {"status": self.status, "model": self._settings.model}
        if self.diarizer is None:
            shown["detail"] = self.detail
        else:
            shown |= {
                "mode": "streaming" if self.diarizer.streaming else "offline",
                "device": self.diarizer.device,
                "max_seconds": self.diarizer.max_seconds,
            }
        job = self._current
        shown |= {"busy": job is not None, "waiting": self._jobs.qsize()}
        shown |= {"queue": self._settings.waiting, "pid": os.getpid()}
        if job is not None and self.diarizer is not None:
            done_s = min(job.seconds, job.steps * (self.diarizer.step_s or 0.0))
            shown["work"] = {"audio_s": round(job.seconds, 1), "done_s": round(done_s, 1)}
        return 200 if self.status == "ready" else 503, shown
