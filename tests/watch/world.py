"""A service, its host, its jobs and the time, as a test wants them; the database is a real one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from proxy_app.jobs import ActiveJobError
from proxy_app.jobs.project import ProjectError
from proxy_app.jobs.states import ACTIVE, State
from proxy_app.services import Health, Reports, Service, Verdict
from proxy_app.services.health import READY
from proxy_app.store import Job, ServiceState, Store
from proxy_app.watch.clocks import Moment
from proxy_app.watch.probing import Check, Found
from proxy_app.watch.records import Records
from proxy_app.watch.standing import At, Standing
from proxy_app.watch.watcher import LOOK_S, Senses, Terms, Watcher

SERVICE = Service(
    "whisperx", "WhisperX", "speakers", "whisperx", "http://127.0.0.1:1", "spark1", "whisperx-asr"
)
TERMS = Terms(probe_every_s=300, stuck_s=120, load_limit_s=1800)
TICK_S = 0.2
FINE_S = 5.0
"""Afterwards a round is made only every LOOK_S, so that hours go by fast."""
WELL = Health(READY, uptime_s=None)
GOOD = Check(Found.GOOD, "It heard what was said.", 0.5, "Good morning.", "Good morning.")
BAD = Check(Found.BAD, "It answered other words than were said.", 0.5, "la la", "Good morning.")
LATE = Check(Found.LATE, "It did not finish.", 60.0)
SILENT = Check(Found.SILENT, "It cannot be reached.")
RUNNING = Standing(At.RUNNING, "Its container runs.", "life 1", "container 1", 0)


class Clock:
    """A machine's clocks, which a test moves."""

    def __init__(self) -> None:
        self.boot_id, self.monotonic, self.wall = "boot 1", 5000.0, 1_800_000_000.0

    def __call__(self) -> Moment:
        return Moment(self.boot_id, self.monotonic, self.wall)

    def sleep(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds


@dataclass
class World:
    """What the watcher meets. Tests change the fields and let time go by."""

    folder: Path
    service: Service = SERVICE
    clock: Clock = field(default_factory=Clock)
    health: Health = WELL
    checks: Check | list[Check] = GOOD
    """What the next probes find; of a list the last one for ever."""
    standing: Standing = RUNNING
    names: list[str] = field(default_factory=lambda: [SERVICE.name])
    """Of the services of its container."""
    computes: bool = False
    """Whether its device is at work."""
    in_use: bool = False
    """Whether a request has been there since time began."""
    in_use_since: float | None = None
    """Since when, where that matters."""
    works: bool = False
    """Whether it has work that advances, and says so."""
    restart_helps: bool = True
    """Whether a restart makes probes good again."""
    meanwhile: Callable[[], object] = bool
    """What happens while the next probe is under way."""
    fails: Exception | None = None
    """What asking for jobs and ordering them meets."""
    probes: list[float] = field(default_factory=list)
    asked_host: int = 0
    jobs: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Store(None, self.folder)
        self.records = Records(self.store, self.clock)
        self.reports = Reports(self.folder / "reports")
        self.watcher = self.start()

    def start(self) -> Watcher:
        """A watch process begins; the one before may have been killed at any moment."""
        self.watcher = Watcher(
            self.service,
            senses=Senses(
                self.says, self.check, self.host_says, lambda: self.computes, self.used_s
            ),
            hands=self,
            names=lambda: self.names,
            records=self.records,
            reports=self.reports,
            terms=TERMS,
            now=self.clock,
        )
        return self.watcher

    # What the watcher does.

    def check(self) -> Check:
        check = self.checks
        if isinstance(check, list):
            check = check.pop(0) if len(check) > 1 else check[0]
        self.probes.append(self.clock.monotonic)
        self.clock.sleep(check.took_s)
        happens, self.meanwhile = self.meanwhile, bool
        happens()
        return check

    def says(self) -> Health:
        if not self.works:
            return self.health
        done = self.clock.monotonic // 30
        return replace(self.health, tells_progress=True, in_flight=2, progress=done)

    def used_s(self) -> float | None:
        if self.in_use_since is not None:
            return self.clock.monotonic - self.in_use_since
        return self.clock.monotonic if self.in_use else None

    def host_says(self) -> Standing:
        self.asked_host += 1
        return self.standing

    def last_on(self, _service: Service) -> Job | None:
        if isinstance(self.fails, ProjectError):
            raise self.fails
        return self.jobs[-1] if self.jobs else None

    def switch(self, verb: str, _service: Service, *, by: str, why: str) -> Job:
        if self.fails:
            raise self.fails
        if self.jobs and self.jobs[-1].state in ACTIVE:
            raise ActiveJobError(self.jobs[-1])
        number = len(self.jobs) + 1
        job = Job(
            id=f"job{number}", number=number, kind=f"service.{verb}", state=State.RUNNING, by=by,
            why=why, reason="",
        )  # fmt: skip
        self.jobs.append(job)
        return job

    # What happens.

    def end_job(self, state: State = State.SUCCEEDED) -> None:
        job = self.jobs[-1]
        job.state = state
        job.reason = f"It {state}."
        job.finished_at = self.clock.wall
        if state is State.SUCCEEDED and job.kind in ("service.restart", "service.start"):
            self.new_life()
            if self.restart_helps:
                self.checks = GOOD

    def new_life(self, *, restarts: int = 0) -> None:
        self.standing = replace(RUNNING, life=f"life {self.standing.life[5:]}+", restarts=restarts)

    def person(self, verb: str) -> None:
        """Somebody clicks, and it is done."""
        self.switch(verb, self.service, by="the API", why="")
        self.go(3)
        self.end_job()

    def fail(self, count: int = 1, status: int = 500) -> None:
        """Requests meet a failure."""
        for _ in range(count):
            self.reports.failed(self.service.name, status=status, reason="status 500")

    def go(self, seconds: float) -> None:
        """Let time go by."""
        began = self.clock.monotonic
        while (gone_by := self.clock.monotonic - began) < seconds:
            self.watcher.round()
            self.clock.sleep(TICK_S if gone_by < FINE_S else LOOK_S)

    # What comes of it.

    @property
    def row(self) -> ServiceState:
        row = self.records.state(self.service.name)
        assert row is not None
        return row

    @property
    def state(self) -> str:
        return self.row.state

    @property
    def restarts(self) -> int:
        return sum(job.kind == "service.restart" and job.by != "the API" for job in self.jobs)

    @property
    def left(self) -> int:
        return self.records.left(self.service.name)

    def verdict(self) -> Verdict:
        found = self.told()
        assert found is not None
        return found

    def told(self) -> Verdict | None:
        with self.reports.watching(lambda: True):
            return self.reports.verdict(self.service.name)
