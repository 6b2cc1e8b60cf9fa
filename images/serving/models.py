"""The models' places: empty while one loads, loaded, dropped when nobody needs it, loaded again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from images.serving import faults
from images.serving.errors import ApiError
from images.serving.hub import ModelError, first_line

log = logging.getLogger(__name__)

RETRY_AFTER_S = 10
"""What clients are told while a model loads."""
LOAD_AGAIN_S = 60.0
"""A model that could not be loaded is tried again: the hub or the memory may be back."""


class Named(Protocol):
    """What every model has."""

    @property
    def name(self) -> str:
        """Its name, as /health and the answers show it."""


M = TypeVar("M", bound=Named)


class Place(Generic[M]):
    """A place for a model.

    Args:
        title: what it is called in sentences.
        load: makes the model, and does a real inference with it.
        lost: called where loading it lost the GPU for this process.
    """

    def __init__(self, title: str, load: Callable[[], M], lost: Callable[[], None]) -> None:
        self.title = title
        self.name = ""
        """The loaded model's own name; it stays when the model is dropped."""
        self.model: M | None = None
        self.unloaded = False
        """It was loaded once, and is dropped until somebody wants it."""
        self._error = ""
        self._failed_at = 0.0
        self._load = load
        self._lost = lost
        self._lock = threading.Lock()

    def fill(self, stopping: threading.Event) -> None:
        """Load the model; until that succeeds, say why not and try again."""
        while not stopping.is_set():
            try:
                self._fill()
            except Exception as error:
                log.exception("%s cannot be loaded", self.title)
                if faults.classify(error) is faults.Fault.STICKY:
                    self._lost()
                    return
                self._fail(error, "every minute")
            else:
                return
            stopping.wait(LOAD_AGAIN_S)

    def require(self) -> None:
        """Refuse work that needs the model, where it was never loaded.

        Raises:
            ApiError: 503; it is being loaded, or that failed.
        """
        if self.model is not None or self.unloaded:
            return
        if self.error:
            raise self._failed()
        raise ApiError(
            503,
            "model_loading",
            f"{self.title} is being loaded. Try again in a moment.",
            retry_after_s=RETRY_AFTER_S,
        )

    def use(self) -> M:
        """The model; loads it first where it was dropped.

        Raises:
            ApiError: as `require`.
        """
        self.require()
        with self._lock:
            if self.model is None:
                self._load_again()
            assert self.model is not None
            return self.model

    @property
    def error(self) -> str:
        """A sentence, where loading failed.

        That of a model that had been dropped is told for LOAD_AGAIN_S: only a request loads it
        again, and as long as it is told, those who look first send none.
        """
        over = self.unloaded and time.monotonic() - self._failed_at >= LOAD_AGAIN_S
        return "" if over else self._error

    @property
    def is_loading(self) -> bool:
        """Whether it is being loaded for the first time.

        Afterwards a request only waits for it, and nobody needs to be told to stay away.
        """
        return self.model is None and not (self.error or self.unloaded)

    def unload(self) -> None:
        """Drop the model; who uses it now keeps it until the work is done."""
        with self._lock:
            if self.model is not None:
                self.unloaded, self.model = True, None

    def _load_again(self) -> None:
        try:
            self._fill()
        except Exception as error:
            if faults.classify(error) is faults.Fault.STICKY:
                raise
            log.exception("%s cannot be loaded again", self.title)
            self._fail(error, "with the next request")
            raise self._failed() from error

    def _fill(self) -> None:
        began = time.monotonic()
        model = self._load()
        self.model = model  # first: who asks meanwhile must not find neither
        self.name, self._error, self.unloaded = model.name, "", False
        log.info("%s is ready after %.1f s", self.title, time.monotonic() - began)

    def _fail(self, error: Exception, again: str) -> None:
        self._failed_at = time.monotonic()
        self._error = f"{self.title}: {_reason(error)}. It is tried again {again}"

    def _failed(self) -> ApiError:
        return ApiError(
            503,
            "model_failed",
            f"{self.title} could not be loaded; GET /health says why.",
            retry_after_s=int(LOAD_AGAIN_S),
        )


def _reason(error: Exception) -> str:
    if isinstance(error, ModelError):
        return str(error)
    return f"{type(error).__name__}: {first_line(error)}"
