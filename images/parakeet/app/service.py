"""The model and the requests for it: loading, turns, limits, and the state of it all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from images.parakeet.app.recogniser import Parakeet, Recogniser
from images.parakeet.app.settings import ParakeetSettings
from images.serving import faults
from images.serving.errors import ApiError
from images.serving.memory import trim
from images.serving.models import RETRY_AFTER_S, Place
from images.serving.probe_audio import speech_like
from images.serving.scheduling import Job, Scheduler, Steps

log = logging.getLogger(__name__)

MAX_UPLOADS = 100
"""Half-sent uploads take no place in the queue; so many may hang before new ones are refused."""
WARM_UP_S = 3.0
_LANE = "transcription"
_FATAL = (
    "A CUDA error made the GPU unusable for this process: only a new process helps. "
    "Restart the server; its log has the error."
)

Load = Callable[[ParakeetSettings], Recogniser]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work at hand is; `steps` counts windows over the life of the process."""

    done_s: float
    total_s: float
    steps: int


@dataclass(frozen=True, slots=True)
class Health:
    """The body of GET /health; status is loading, ready, failed or fatal."""

    status: str
    model_loaded: bool
    model: str
    device: str
    uptime_s: float
    in_flight: int
    progress: Progress | None
    detail: str


class Room:
    """A place that holds so many requests. Only the event loop goes in and out.

    Args:
        limit: how many.
        refusal: what one more is told.
    """

    def __init__(self, limit: int, refusal: Callable[[int], ApiError]) -> None:
        self._limit = limit
        self._refusal = refusal
        self.count = 0

    def refuse_when_full(self) -> None:
        """Raises ApiError where there is no room."""
        if self.count >= self._limit:
            raise self._refusal(self.count)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be in the room; raises ApiError where there is none."""
        self.refuse_when_full()
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


class Service:
    """Loads the model in the background and works on all requests with it, window by window.

    Args:
        settings: limits, and the model.
        load: makes the model.
    """

    def __init__(self, settings: ParakeetSettings, load: Load = Parakeet.load) -> None:
        self.settings = settings
        self.uploads = Room(MAX_UPLOADS, _too_many_uploads)
        self.requests = Room(settings.queue + 1, _queue_full)
        self._load = load
        self._place: Place[Recogniser] = Place("Parakeet", self._load_and_hear, self._die)
        self._scheduler = Scheduler(
            [[_LANE]], before=self._refuse_if_fatal, translate=self._refusal
        )
        self._fatal = False
        self._started = time.monotonic()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to load the model; returns at once."""
        self._scheduler.start()
        threading.Thread(
            target=self._place.fill, args=(self._stopping,), name="loading", daemon=True
        ).start()

    def stop(self) -> None:
        """End the work at hand at its next window, and take no more."""
        self._stopping.set()
        self._scheduler.stop()

    @property
    def model(self) -> str:
        """The model's name; what the settings call it until it is loaded."""
        return self._place.name or self.settings.model

    def recogniser(self) -> Recogniser:
        """The model.

        Raises:
            ApiError: 503; it is being loaded, or that failed, or the GPU is lost.
        """
        self._refuse_if_fatal()
        return self._place.use()

    def health(self) -> Health:
        """The state of now; never waits for anything."""
        loaded = self._place.model
        if self._fatal:
            status, detail = "fatal", _FATAL
        elif self._place.error:
            status, detail = "failed", self._place.error
        elif loaded is None:
            status, detail = "loading", f"loading {self.settings.model}"
        else:
            status, detail = "ready", ""
        return Health(
            status=status,
            model_loaded=loaded is not None,
            model=self.model,
            device=loaded.device if loaded else self.settings.device,
            uptime_s=round(time.monotonic() - self._started, 1),
            in_flight=self.requests.count,
            progress=self._progress(),
            detail=detail,
        )

    async def run(self, job: Job, steps: Steps, gone: asyncio.Future[None]) -> None:
        """Do a job's work, whenever its windows have their turn.

        Args:
            job: an account of the work.
            steps: the work; it runs in the model's thread.
            gone: done once nobody wants the answer any more; the work then ends at its next window.

        Raises:
            Unwanted: nobody waits for the answer.
            ApiError: the model cannot be used (503).
        """
        self._scheduler.submit(job, {_LANE: steps})
        gone.add_done_callback(lambda _: self._scheduler.abandon(job))
        try:
            await asyncio.wrap_future(job.finished)
        finally:
            self._scheduler.abandon(job)  # the server may cancel this task, when it stops
            asyncio.get_running_loop().run_in_executor(None, trim)

    def _progress(self) -> Progress | None:
        at_hand = self._scheduler.at_hand
        if at_hand is None:
            return None
        job, _ = at_hand
        return Progress(round(job.done_s, 2), round(job.duration_s, 2), self._scheduler.steps)

    def _load_and_hear(self) -> Recogniser:
        """Load the model, and have it do everything once before anybody waits for it."""
        recogniser = self._load(self.settings)
        recogniser.hear(speech_like(WARM_UP_S))
        return recogniser

    def _refuse_if_fatal(self) -> None:
        if self._fatal:
            raise ApiError(503, "server_fatal", _FATAL)

    def _refusal(self, error: Exception) -> Exception:
        """What a fault of the device is answered with; a fault of the program stays one."""
        fault = faults.classify(error)
        if fault is faults.Fault.STICKY:
            log.error("the GPU is lost for this process", exc_info=error)
            self._die()
            return ApiError(503, "server_fatal", _FATAL)
        if fault is faults.Fault.MEMORY:
            log.error("memory ran out", exc_info=error)
            message = "Memory ran out over this audio (PARAKEET_WINDOW_S). Try again later."
            return ApiError(503, "out_of_memory", message, retry_after_s=RETRY_AFTER_S)
        return error

    def _die(self) -> None:
        self._fatal = True


def _too_many_uploads(count: int) -> ApiError:
    message = f"{count} uploads are being read already. Try again later."
    return ApiError(503, "too_many_uploads", message, retry_after_s=RETRY_AFTER_S)


def _queue_full(count: int) -> ApiError:
    message = f"{count} requests are here already (PARAKEET_QUEUE). Try again later."
    return ApiError(429, "queue_full", message, retry_after_s=RETRY_AFTER_S)
