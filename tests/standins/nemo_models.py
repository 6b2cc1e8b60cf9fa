"""The stand-ins for Parakeet's and Sortformer's weights: `python -m tests.standins.nemo_models
FOLDER` writes tiny-random.nemo, tiny-streaming.nemo and tiny-offline.nemo.

It runs in the environment that has NeMo, which takes longer to import than all three to make.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.standins import parakeet_model, sortformer_model


def main(folder: Path) -> None:
    """Write all models."""
    for kind in ("streaming", "offline"):
        sortformer_model.make(folder / f"tiny-{kind}.nemo", streaming=kind == "streaming")
    parakeet_model.make(folder / "tiny-random.nemo")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
