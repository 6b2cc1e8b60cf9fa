"""The GPU's faults: which request they end, and when they end them all."""

from __future__ import annotations

import logging
from collections.abc import Callable

from images.serving.errors import ApiError
from images.serving.faults import Fault, classify
from images.serving.models import RETRY_AFTER_S

log = logging.getLogger(__name__)


class Gpu:
    """Whether the GPU can still be used by this process. Without one nothing is ever lost.

    Args:
        server: what is to be restarted, in sentences and in the error's code.
        out_of_memory: what is told where memory ran out.
        on_loss: called when the GPU is lost.
    """

    def __init__(
        self, server: str, out_of_memory: str, on_loss: Callable[[], None] = lambda: None
    ) -> None:
        self.is_lost = False
        self.detail = (
            "A CUDA error made the GPU unusable for this process: only a new process helps. "
            f"Restart the {server}; its log has the error."
        )
        self._code = f"{server}_fatal"
        self._out_of_memory = out_of_memory
        self._on_loss = on_loss

    def refuse_if_lost(self) -> None:
        """Raises ApiError 503 once the GPU is lost."""
        if self.is_lost:
            raise self._refusal()

    def lose(self) -> None:
        """Refuse everything from now on."""
        self.is_lost = True
        self._on_loss()

    def explain(self, error: Exception) -> Exception:
        """What a fault of the device is answered with; a fault of the program stays one."""
        if isinstance(error, ApiError):
            return error
        fault = classify(error)
        if fault is Fault.STICKY:
            log.error("the GPU is lost for this process", exc_info=error)
            self.lose()
            return self._refusal()
        if fault is Fault.MEMORY:
            log.error("memory ran out", exc_info=error)
            return ApiError(503, "out_of_memory", self._out_of_memory, retry_after_s=RETRY_AFTER_S)
        return error

    def _refusal(self) -> ApiError:
        return ApiError(503, self._code, self.detail)
