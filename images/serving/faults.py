"""Which exceptions of the model libraries mean what, told by their text.

CUDA's C++ errors reach Python as RuntimeError with a sentence from CTranslate2, torch, cuBLAS,
cuDNN or cuFFT. The words often tell little: one status comes from a full memory and from a
lost context. Where they are all there is, the GPU is asked.
"""

from __future__ import annotations

import re
import sys
from enum import Enum


class Fault(Enum):
    """What an exception says about the process."""

    STICKY = "sticky"
    """The CUDA context is lost: every later call fails, and only a new process helps."""
    MEMORY = "memory"
    """Memory ran out; the next, smaller request can succeed."""
    OTHER = "other"
    """A fault of this request or of the program."""


# Looked at in this order: cuBLAS reports a shortage with words that resemble a lost context.
_MEMORY = (
    "out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    # cublasCreate and cudnnCreate answer so when they cannot get their workspace.
    "cublas_status_not_initialized",
    "cudnn_status_not_initialized",
    "failed to allocate memory",
    "cannot allocate memory",
    # Of a plan without memory; cuFFT has a status for that, too, and was not seen to use it.
    "cufft_internal_error",
    "cufft_alloc_failed",
)

# First the texts of cudaGetErrorString for those errors of which NVIDIA's documentation of
# cudaError says "This leaves the process in an inconsistent state" or that the hardware failed;
# then the names that the driver, cuBLAS and cuDNN give the same.
_STICKY = (
    "an illegal memory access was encountered",
    "the launch timed out and was terminated",
    "device-side assert triggered",
    "hardware stack error",
    "an illegal instruction was encountered",
    "misaligned address",
    "operation not supported on global/shared address space",
    "invalid program counter",
    "unspecified launch failure",
    "uncorrectable ecc error encountered",
    "uncorrectable nvlink error detected during the execution",
    "cuda_error_illegal_address",
    "cuda_error_launch_failed",
    "cuda_error_assert",
    "cudaerrorillegaladdress",
    "cudaerrorlaunchfailure",
    "cudaerrorassert",
    "cublas_status_execution_failed",
    "cublas_status_internal_error",
    "cublas_status_mapping_error",
    "cudnn_status_execution_failed",
    "cudnn_status_internal_error",
    "cudnn_status_mapping_error",
)

_OF_A_GPU = re.compile("cuda|cublas|cudnn|cufft")
_DEPTH = 10  # a chain of causes may be a ring


def classify(error: BaseException) -> Fault:
    """Say what an exception means; its causes and contexts are read as well.

    To be called in the thread that used the GPU.
    """
    text = ""
    seen: BaseException | None = error
    for _ in range(_DEPTH):
        if seen is None:
            break
        if isinstance(seen, MemoryError):
            return Fault.MEMORY
        text += f"{seen}\n".lower()
        seen = seen.__cause__ or seen.__context__
    if any(fragment in text for fragment in _MEMORY):
        return Fault.STICKY if _is_lost() else Fault.MEMORY
    if any(fragment in text for fragment in _STICKY):
        return Fault.STICKY
    return Fault.STICKY if _OF_A_GPU.search(text) and _is_lost() else Fault.OTHER


def _is_lost() -> bool:
    """Whether the GPU refuses to wait for its own work, as it does once the context is lost."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except Exception as error:  # noqa: BLE001 - torch's own kinds of it change
        text = str(error).lower()
        return not any(fragment in text for fragment in _MEMORY)
    return False
