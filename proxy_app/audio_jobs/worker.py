"""Works on audio jobs, a few at a time, in turns among those who ask.

A job that was at work when the process died is begun again, a bounded number of times: what killed
the process may be the recording. What a stop ends is put back, and does not count. No end is lost
because the database does not take it: it is offered again until it does.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import gevent
from gevent import Greenlet
from sqlalchemy.exc import SQLAlchemyError

from proxy_app.audio_jobs.asked import Asked, from_json, write_end
from proxy_app.audio_jobs.ledger import RESULT, TRIES, UPLOAD, State
from proxy_app.audio_jobs.shown import kept
from proxy_app.audio_jobs.webhooks import AGAIN_S, secret_bytes, tell
from proxy_app.config import Config
from proxy_app.errors import DO_NOT_RETRY, ApiError
from proxy_app.errors.translations import as_api_error
from proxy_app.gateway import Gateway, make_gateway
from proxy_app.store import AudioJob
from proxy_app.telemetry import Cost, shared
from proxy_app.transcribing.asking import routes_for
from proxy_app.transcribing.attempts import Attempts
from proxy_app.upstreams import End, Event, Progress

log = logging.getLogger(__name__)

_LOOK_S = 0.3
_CLEAN_S = 60.0
_PROGRESS_S = 1.0
_AGAIN_S = 30.0
_LONGEST_WAIT_S = 3600.0
"""For so long a job waits for a service that can take it."""
_MOST_FAILURES = 5
"""So often a service may have worked on a job and failed: the recording costs hours of it."""
_LONGER = 3
"""So many times longer than before a job waits after such a failure: what fails may be mended."""
_NOT_NOW = (429, 503, 507)
"""Of 507 the disk is to blame: there may be room for the result, or the WAV, in a while."""
_WEBHOOKS = 8
_WITHOUT_DATABASE_S = 2.0


class Worker:
    """The process.

    Raises:
        SettingError: a setting cannot be used.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._secret = secret_bytes(config.webhook_secret)
        self._running: dict[str, Greenlet[..., None]] = {}
        self._telling: dict[str, Greenlet[..., None]] = {}
        self._ends = False
        self._clean_at = 0.0

    def stop(self, *_signal: object) -> None:
        """End after this round."""
        self._ends = True

    def run(self) -> None:
        """Work until `stop`; then put back what is at work. Another process goes first."""
        with (self._config.state_dir / "audio-jobs.lock").open("w") as lock:
            while not _taken(lock):
                if self._ends:
                    return
                gevent.sleep(_LOOK_S)
            self._open()
            while not self._ends:
                try:
                    self._round()
                except (SQLAlchemyError, OSError) as error:
                    log.error("audio jobs: %s", type(error).__name__)  # noqa: TRY400
                    gevent.sleep(_WITHOUT_DATABASE_S)
                gevent.sleep(_LOOK_S)
            self._drain()

    def _open(self) -> None:
        """Become the one that counts, and works."""
        shared.join(self._config.state_dir / "metrics", "audio")
        self._gateway = make_gateway(self._config)
        self._jobs = self._gateway.audio_jobs

    def _take_up(self) -> None:
        """Put back what counts as at work and is not: the process that had it was killed."""
        for job in self._jobs.in_state(State.RUNNING):
            if job.id in self._running:
                continue
            if job.tries >= TRIES:
                error = ApiError(
                    f"The process that worked on this recording died {TRIES} times at it. Convert"
                    " it to WAV or MP3, or cut it.",
                    code="process_died",
                    headers=DO_NOT_RETRY,
                )
                self._jobs.finish(job.id, State.FAILED, error=kept(error), service="")
                self._jobs.remove_recordings(job.id)
            else:
                self._jobs.put_back(job.id)

    def _round(self) -> None:
        for job in self._jobs.in_state(State.CANCELING):
            if work := self._running.pop(job.id, None):
                work.kill()
            self._jobs.forget(job.id)
        self._running = {id_: work for id_, work in self._running.items() if not work.dead}
        self._telling = {id_: work for id_, work in self._telling.items() if not work.dead}
        self._take_up()
        for job in self._jobs.claim(self._config.audio_jobs_at_once - len(self._running)):
            self._running[job.id] = gevent.spawn(_Doing(self._gateway, job).run)
        for job in self._jobs.to_be_told(_WEBHOOKS):
            if job.id not in self._telling and len(self._telling) < _WEBHOOKS:
                self._telling[job.id] = gevent.spawn(self._tell, job)
        if time.monotonic() >= self._clean_at:
            self._clean_at = time.monotonic() + _CLEAN_S
            self._jobs.expire(self._config.keep_audio_jobs_h * 3600)
            self._jobs.sweep()

    def _tell(self, job: AudioJob) -> None:
        if self._secret is None:
            problem = "SPEECH_WEBHOOK_SECRET is not set"
        else:
            problem = tell(job, self._config.webhook_hosts, self._secret)
        again_at = None
        if problem:
            log.warning("the webhook of audio job %s: %s", job.id, problem)
            if job.webhook_tries < len(AGAIN_S):
                again_at = time.time() + AGAIN_S[job.webhook_tries]
        # Else it would be told again at once, and again.
        _write_down(job, lambda: self._jobs.told(job.id, again_at=again_at))

    def _drain(self) -> None:
        gevent.killall([*self._telling.values(), *self._running.values()])
        try:
            for job in self._jobs.in_state(State.RUNNING):
                self._jobs.put_back(job.id, tries=max(0, job.tries - 1))
        except SQLAlchemyError as error:  # the next process does it
            log.error("audio jobs: %s", type(error).__name__)  # noqa: TRY400


class _Doing:
    """One job at work."""

    def __init__(self, gateway: Gateway, job: AudioJob) -> None:
        self._gateway = gateway
        self._jobs = gateway.audio_jobs
        self._job = job
        self._folder = gateway.audio_jobs.folder(job.id)
        self._cost = Cost()
        self._tell_at = 0.0
        self._began = time.monotonic()
        self._was_at_work = False
        self._by = ""

    def run(self) -> None:
        """Do it, and write down what became of it."""
        try:
            write = self._succeeded(self._done())
        except Exception as error:  # noqa: BLE001 - told to who asks for the result
            write = self._failed(as_api_error(error))
        _write_down(self._job, write)

    def _done(self) -> End:
        """What was said; it is kept when this returns, and nothing else."""
        wav = self._gateway.spool.new_stem().with_suffix(".wav")
        # Who works on an upload removes it; it may be needed once more.
        upload = (self._folder / UPLOAD).with_suffix(".at-work")
        try:
            upload.unlink(missing_ok=True)
            os.link(self._folder / UPLOAD, upload)
            return self._transcribed(upload, wav)
        finally:
            for path in (wav, upload):
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:  # what became of the work is worth more
                    log.warning("audio job %s: a file stays: %s", self._job.id, error.strerror)

    def _transcribed(self, upload: Path, wav: Path) -> End:
        """What was said; it is kept when this returns."""
        asked = from_json(self._job.asked, Asked)
        tiers = routes_for(self._gateway, asked.options, speakers=asked.speakers)
        attempts = Attempts(
            self._gateway, tiers, asked.options, wav, lambda: None,
            cost=self._cost, speakers=asked.speakers, is_read=False,
        )  # fmt: skip
        try:
            end = attempts.run(upload, self._told)
        finally:
            self._by = attempts.by
        self._was_at_work = True
        write_end(self._folder / RESULT, end)
        return end

    def _told(self, event: Event) -> None:
        self._was_at_work = self._was_at_work or not isinstance(event, Progress) or event.done_s > 0
        if isinstance(event, Progress) and time.monotonic() >= self._tell_at:
            self._tell_at = time.monotonic() + _PROGRESS_S
            try:
                self._jobs.progress(self._job.id, event.stage, event.done_s, event.total_s)
            except SQLAlchemyError as error:  # the work is worth more than the news of it
                log.warning("audio job %s: no progress: %s", self._job.id, type(error).__name__)
                self._tell_at = time.monotonic() + _AGAIN_S

    def _succeeded(self, end: End) -> Callable[[], None]:
        self._cost.count(self._gateway.metrics, self._by, is_good=True)

        def write() -> None:
            length_s = end.transcript.duration
            self._jobs.finish(
                self._job.id, State.SUCCEEDED, service=self._by, done_s=length_s, total_s=length_s
            )
            self._jobs.remove_recordings(self._job.id)  # the disk is needed

        return write

    def _failed(self, error: ApiError) -> Callable[[], None]:
        job = self._job
        is_for_good = error.headers.get("x-should-retry") == "false"
        self._cost.count(self._gateway.metrics, self._by, is_good=False)
        failures = job.failures + self._was_at_work
        may_pass = error.status in _NOT_NOW and not is_for_good and job.waits < _LONGEST_WAIT_S
        if may_pass and failures < _MOST_FAILURES:
            log.info("audio job %s waits: %s", job.id, error.message)
            again_s, in_vain_s = _AGAIN_S, time.monotonic() - self._began
            if self._was_at_work:
                again_s, in_vain_s = _AGAIN_S * _LONGER**job.failures, 0.0
            waits = job.waits + round(in_vain_s + again_s)
            again = {"waits": waits, "tries": job.tries - 1, "failures": failures}
            due_at = time.time() + again_s
            return lambda: self._jobs.put_back(job.id, **again, due_at=due_at)
        log.warning("audio job %s failed: %s", job.id, error.message)

        def write() -> None:
            self._jobs.finish(job.id, State.FAILED, error=kept(error), service=self._by)
            self._jobs.remove_recordings(job.id)

        return write


def _write_down(job: AudioJob, write: Callable[[], None]) -> None:
    """Say what became of it, however long the database, or its disk, does not take it."""
    while True:
        try:
            write()
        except (SQLAlchemyError, OSError) as error:
            log.error("audio job %s: %s", job.id, type(error).__name__)  # noqa: TRY400
            gevent.sleep(_WITHOUT_DATABASE_S)
        else:
            return


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
