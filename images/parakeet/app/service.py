"""The model and the requests for it: loading, turns, limits, and the state of it all."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from images.parakeet.app.recogniser import Parakeet, Recogniser
from images.parakeet.app.settings import ParakeetSettings
from images.serving.decoding import Decoder
from images.serving.gpu import Gpu
from images.serving.models import Place
from images.serving.probe_audio import speech_like
from images.serving.rooms import room_for_requests, room_for_uploads
from images.serving.scheduling import Job, Scheduler, Steps

WARM_UP_S = 3.0
_LANE = "transcription"

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
    queue: int
    """How many requests may wait beside the one that is worked on."""
    progress: Progress | None
    detail: str


class Service:
    """Loads the model in the background and works on all requests with it, window by window.

    Args:
        settings: limits, and the model.
        load: makes the model.
    """

    def __init__(self, settings: ParakeetSettings, load: Load = Parakeet.load) -> None:
        self.settings = settings
        self.uploads = room_for_uploads()
        self.requests = room_for_requests(settings.queue, "PARAKEET_QUEUE")
        self.decoder = Decoder(settings.max_audio_s, "PARAKEET_MAX_AUDIO_S")
        self._load = load
        self._gpu = Gpu(
            "server", "Memory ran out over this audio (PARAKEET_WINDOW_S). Try again later."
        )
        self._place: Place[Recogniser] = Place("Parakeet", self._load_and_hear, self._gpu.lose)
        self._scheduler = Scheduler(
            [[_LANE]], before=self._gpu.refuse_if_lost, translate=self._gpu.explain
        )
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
        self._gpu.refuse_if_lost()
        return self._place.use()

    def health(self) -> Health:
        """The state of now; never waits for anything."""
        loaded = self._place.model
        if self._gpu.is_lost:
            status, detail = "fatal", self._gpu.detail
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
            queue=self.settings.queue,
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
        await self._scheduler.do(job, {_LANE: steps}, gone)

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
