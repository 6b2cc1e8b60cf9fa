"""Which device the models run on, and in which arithmetic."""

from __future__ import annotations

import logging
from pathlib import Path

from images.whisperx.app.settings import EngineSettings
from proxy_app.settings import SettingError

log = logging.getLogger(__name__)

_DRIVER = Path("/proc/driver/nvidia/version")


def choose_device(settings: EngineSettings) -> str:
    """`cuda` or `cpu`.

    Raises:
        SettingError: CUDA was asked for, and this build of CTranslate2 cannot use a GPU here.
            PyPI's wheel for aarch64 never can: it is compiled without CUDA.
    """
    if settings.device == "cpu":
        return "cpu"
    import ctranslate2  # noqa: PLC0415 - not needed, and slow, where the CPU was asked for

    if ctranslate2.get_cuda_device_count() > 0:
        return "cuda"
    if settings.device == "cuda":
        raise SettingError(
            f"ENGINE_DEVICE='cuda': CTranslate2 {ctranslate2.__version__} sees no GPU. Either no "
            "GPU is given to this process, or CTranslate2 is a build without CUDA, as the aarch64 "
            "wheel is; ENGINE_DEVICE=cpu runs without one"
        )
    if _DRIVER.exists():
        log.warning("there is an NVIDIA driver, but CTranslate2 sees no GPU: running on the CPU")
    return "cpu"


def choose_compute_type(settings: EngineSettings, device: str) -> str:
    """CTranslate2's arithmetic. On CUDA never int8 by itself: Blackwell's cuBLAS lacks it."""
    if settings.compute_type != "auto":
        return settings.compute_type
    return "float16" if device == "cuda" else "int8"
