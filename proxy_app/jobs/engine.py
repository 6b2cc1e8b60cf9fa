"""A job on the embedded engine, which is no container: a word to the supervisor that started it."""

from __future__ import annotations

import threading
import time
import xmlrpc.client
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import Faults

from proxy_app.jobs.events import EventWriter
from proxy_app.jobs.states import State
from proxy_app.jobs.work import Outcome, Phases
from proxy_app.services import Health
from proxy_app.supervision import ENGINE, supervisor

_POLL_S = 0.2
_ENDED = ("STOPPED", "EXITED", "FATAL", "UNKNOWN")


class _StoppedError(Exception):
    """The job was told to stop."""


class _FailedError(Exception):
    """It cannot be done; the message says why."""


class Engine:
    """Starts, stops or restarts the embedded engine.

    Args:
        verb: start, stop or restart.
        socket: supervisord's.
        health: asks the engine how it is.
        events: where it is told what happens.
        phases: the same, of phases.
    """

    def __init__(
        self,
        verb: str,
        *,
        socket: Path,
        health: Callable[[], Health],
        events: EventWriter,
        phases: Phases,
    ) -> None:
        self._verb = verb
        self._socket = socket
        self._health = health
        self._events = events
        self._phases = phases
        self._is_told_to_stop = threading.Event()

    def run(self) -> Outcome:
        """Do it, and wait until it is so."""
        try:
            with supervisor(self._socket) as rpc:
                if self._verb in ("stop", "restart"):
                    self._stop(rpc.supervisor)
                if self._verb in ("start", "restart"):
                    self._start(rpc.supervisor)
                    self._verify(rpc.supervisor)
        except _StoppedError:
            return Outcome(State.CANCELED, "Canceled; the engine is left as it was at that moment.")
        except _FailedError as error:
            self._phases.failed_here()
            return Outcome(State.FAILED, str(error))
        except (OSError, xmlrpc.client.Error) as error:
            self._phases.failed_here()
            return Outcome(State.FAILED, f"The supervisor of the engine does not answer: {error}")
        return Outcome(State.SUCCEEDED, "The engine is as asked for.")

    def stop(self, *, force: bool) -> None:  # noqa: ARG002 - there is nothing to end by force
        """Wait no longer; what the supervisor has been told, it does."""
        self._is_told_to_stop.set()

    def _stop(self, rpc: Any) -> None:  # noqa: ANN401 - XML-RPC
        self._phases.begin("Stop")
        try:
            rpc.stopProcess(ENGINE, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != Faults.NOT_RUNNING:
                raise
        self._wait_for(rpc, *_ENDED)
        self._events.log("The engine is stopped.")

    def _start(self, rpc: Any) -> None:  # noqa: ANN401 - XML-RPC
        self._phases.begin("Start")
        try:
            rpc.startProcess(ENGINE, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != Faults.ALREADY_STARTED:
                raise
        self._wait_for(rpc, "RUNNING")
        self._events.log("The engine is started.")

    def _verify(self, rpc: Any) -> None:  # noqa: ANN401 - XML-RPC
        """Wait until it can serve; the job's own limit ends this."""
        self._phases.begin("Verify")
        told = ""
        while not (health := self._health()).ready:
            said = health.detail or health.state
            if said != told:
                self._events.log(told := said)
            self._pause()
            _refuse_end(rpc.getProcessInfo(ENGINE))
        self._events.log("The engine is ready.")

    def _wait_for(self, rpc: Any, *states: str) -> None:  # noqa: ANN401 - XML-RPC
        while (info := rpc.getProcessInfo(ENGINE))["statename"] not in states:
            _refuse_end(info)
            self._pause()

    def _pause(self) -> None:
        if self._is_told_to_stop.is_set():
            raise _StoppedError
        time.sleep(_POLL_S)


def _refuse_end(info: Mapping[str, Any]) -> None:
    """What is being started must not be given up, and not be stopped by somebody else."""
    if info["statename"] == "FATAL":
        raise _FailedError(f"The engine does not stay up; {info['stdout_logfile']} says why.")
    if info["statename"] == "STOPPED":
        raise _FailedError("Somebody else stopped the engine meanwhile.")
