"""The last step of the image's build: `check_image.py cpu`, or cuda.

Imports what the server imports, which also writes its bytecode: at run time the image is read-only.
Then makes sure that torch is the flavour's; no GPU is needed for that.
"""

from __future__ import annotations

import importlib
import sys

SERVER = (
    "images.serving.program",
    "av",
    "huggingface_hub",
    "nemo.collections.asr.models",
    "main",
)


def main(flavour: str) -> int:
    """The exit status is 1 where the image would not work."""
    sys.path.insert(0, "/opt/parakeet/app")
    for name in SERVER:
        importlib.import_module(name)
    import torch  # noqa: PLC0415 - the server's modules come first, as in the server

    cuda = torch.version.cuda or "none"
    if cuda.startswith("13.") if flavour == "cuda" else cuda == "none":
        return 0
    sys.stderr.write(f"{flavour}: torch is a build for CUDA {cuda}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
