"""Which errors of CUDA's libraries end a process."""

import sys
from types import SimpleNamespace

import pytest

from images.serving.faults import Fault, classify
from images.whisperx.app.transcription.whisper import past_a_left_over_error


@pytest.mark.parametrize(
    "text",
    [
        "CUDA failed with error an illegal memory access was encountered",
        "CUDA failed with error unspecified launch failure",
        "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously",
        "CUDA error: misaligned address",
        "CUDA error: an illegal instruction was encountered",
        "CUDA error: the launch timed out and was terminated",
        "CUDA error: uncorrectable ECC error encountered",
        "cuBLAS failed with status CUBLAS_STATUS_EXECUTION_FAILED",
        "CUDA error: CUBLAS_STATUS_INTERNAL_ERROR when calling `cublasSgemm(handle, ...)`",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    ],
)
def test_an_error_that_loses_the_context_is_sticky(text: str) -> None:
    assert classify(RuntimeError(text)) is Fault.STICKY


@pytest.mark.parametrize(
    "text",
    [
        "CUDA failed with error out of memory",
        "CUDA out of memory. Tried to allocate 2.00 GiB.",
        "cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuFFT error: CUFFT_INTERNAL_ERROR",  # seen on an H100 whose memory was full
    ],
)
def test_a_shortage_of_memory_is_not_sticky(text: str) -> None:
    assert classify(RuntimeError(text)) is Fault.MEMORY


def test_python_s_own_shortage_of_memory_is_one() -> None:
    assert classify(MemoryError()) is Fault.MEMORY


@pytest.mark.parametrize(
    "text",
    [
        # int8 on a Blackwell with an old CTranslate2: another compute type heals it, no restart.
        "cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED",
        "CUDA error: invalid argument",
        "CUDA failed with error no kernel image is available for execution on the device",
        "Invalid input features shape: expected an input with shape (1, 80, 3000)",
        "",
    ],
)
def test_any_other_error_concerns_its_request_alone(text: str) -> None:
    assert classify(RuntimeError(text)) is Fault.OTHER


def test_a_ring_of_causes_has_an_end() -> None:
    error = RuntimeError("this")
    error.__cause__ = error
    assert classify(error) is Fault.OTHER


def test_the_cause_behind_an_error_is_read() -> None:
    error = RuntimeError("inference failed")
    error.__cause__ = RuntimeError("CUDA error: an illegal memory access was encountered")
    assert classify(error) is Fault.STICKY


class StandInTorch(SimpleNamespace):
    """torch with a GPU that raises `error` when it is waited for."""

    def __init__(self, error: Exception | None) -> None:
        def synchronize() -> None:
            if error is not None:
                raise error

        super().__init__(cuda=SimpleNamespace(is_initialized=lambda: True, synchronize=synchronize))


@pytest.mark.parametrize(
    "text",
    [
        "cuFFT error: CUFFT_INTERNAL_ERROR",
        "cuFFT error: CUFFT_EXEC_FAILED",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "CUDA error: unknown error",
    ],
)
def test_where_a_library_s_words_tell_little_the_gpu_is_asked(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    lost = RuntimeError("CUDA error: unspecified launch failure")
    monkeypatch.setitem(sys.modules, "torch", StandInTorch(lost))
    assert classify(RuntimeError(text)) is Fault.STICKY
    for answer in (None, RuntimeError("CUDA error: out of memory")):
        monkeypatch.setitem(sys.modules, "torch", StandInTorch(answer))
        assert classify(RuntimeError(text)) is not Fault.STICKY


def test_a_fault_of_the_program_asks_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = RuntimeError("CUDA error: unspecified launch failure")
    monkeypatch.setitem(sys.modules, "torch", StandInTorch(lost))
    assert classify(ValueError("no such character")) is Fault.OTHER


FULL = "CUDA failed with error out of memory"
LEFT_OVER = "parallel_for failed: cudaErrorInvalidDevice: invalid device ordinal"
"""What CTranslate2's first call after a full memory said on an H100."""


def calls(*said: str) -> tuple[list[str], str]:
    """What is left of these errors after one piece of work, and what that came to."""
    errors = list(said)

    def act() -> str:
        if errors:
            raise RuntimeError(errors.pop(0))
        return "done"

    try:
        return errors, past_a_left_over_error(act)
    except RuntimeError as error:
        return errors, str(error)


@pytest.mark.parametrize(
    ("said", "comes_to"),
    [
        ((LEFT_OVER,), "done"),
        (
            (LEFT_OVER, "CUDA failed with error out of memory"),
            "CUDA failed with error out of memory",
        ),
        ((LEFT_OVER, LEFT_OVER), LEFT_OVER),
        ((FULL,), FULL),
    ],
)
def test_what_a_full_memory_left_behind_fails_nobody_else(
    said: tuple[str, ...], comes_to: str
) -> None:
    assert calls(*said) == ([], comes_to)
