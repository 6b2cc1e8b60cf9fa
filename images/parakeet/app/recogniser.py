"""A Parakeet model in NeMo: where it comes from, how it is set up, what it hears."""

from __future__ import annotations

import logging
import os
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from images.parakeet.app.settings import ParakeetSettings
from images.serving import hub
from images.serving.recording import RATE, Samples
from proxy_app.speech import Token

log = logging.getLogger(__name__)

_DRIVER = Path("/proc/driver/nvidia/version")
_LANGUAGES = {
    "nvidia/parakeet-tdt-0.6b-v2": "en",
    "nvidia/parakeet-tdt-0.6b-v3": (
        "bg cs da de el en es et fi fr hr hu it lt lv mt nl pl pt ro ru sk sl sv uk"
    ),
}
"""By the models' cards on the hub; a .nemo file does not say."""


class Recogniser(Protocol):
    """A loaded speech-to-text model. Called from one thread at a time."""

    @property
    def name(self) -> str:
        """The model's name, as /health and /v1/models show it."""

    @property
    def device(self) -> str:
        """Where it runs: cpu or cuda."""

    @property
    def languages(self) -> Collection[str]:
        """The codes of what it can write, or nothing where that is not known."""

    def hear(self, samples: Samples) -> list[Token]:
        """The words of some audio, in order, with times in seconds from its beginning."""

    def encode(self, text: str) -> Sequence[int]:
        """The model's tokens for a text."""


class Parakeet:
    """A NeMo transducer.

    Args:
        model: set up by `set_up`.
        name: see `Recogniser`.
        device: see `Recogniser`.
    """

    def __init__(self, model: Any, name: str, device: str) -> None:  # noqa: ANN401 - NeMo has no types
        self._model = model
        self.name = name
        self.device = device
        self.languages = frozenset(_LANGUAGES.get(name, "").split())

    @classmethod
    def load(cls, settings: ParakeetSettings) -> Parakeet:
        """Load the model that the settings name.

        Raises:
            ModelError: it cannot be had, is none that this server can use, or has no GPU.
        """
        import torch  # noqa: PLC0415 - this and the next take seconds

        if settings.threads:
            torch.set_num_threads(settings.threads)
        device = _choose_device(settings.device, has_gpu=torch.cuda.is_available())
        file = settings.model_file or _fetch(settings.model)
        from nemo.collections.asr.models import EncDecRNNTBPEModel  # noqa: PLC0415
        from nemo.utils import logging as nemo_logging  # noqa: PLC0415

        nemo_logging.set_verbosity(logging.WARNING)  # or it has a line for every window
        model = _restore(file, device, settings.spool)
        if not isinstance(model, EncDecRNNTBPEModel):
            raise hub.ModelError(
                f"{settings.model} is a {type(model).__name__}: a TDT or RNNT model is needed, "
                "such as nvidia/parakeet-tdt-0.6b-v3"
            )
        set_up(model)
        return cls(
            model, settings.model_file.stem if settings.model_file else settings.model, device
        )

    def hear(self, samples: Samples) -> list[Token]:
        """See `Recogniser`."""
        length_s = len(samples) / RATE
        # NeMo would lengthen what is shorter than a second at both ends, and count from there.
        padded = np.pad(samples, (0, max(0, RATE - len(samples))))
        (heard,) = self._model.transcribe([padded], batch_size=1, timestamps=True, verbose=False)
        return list(_tokens(heard.timestamp["word"], length_s))

    def encode(self, text: str) -> list[int]:
        """See `Recogniser`."""
        ids: list[int] = self._model.tokenizer.text_to_ids(text)
        return ids


def set_up(model: Any) -> None:  # noqa: ANN401 - as above
    """Have a model decode with word times and without CUDA graphs, before it decodes anything.

    After a decoding with CUDA graphs torch.load fails in the whole process (NeMo#15423). It has to
    be in the model's own configuration, from which `transcribe` may make the decoder anew. Emptying
    CUDA's cache in between leads to illegal memory accesses (NeMo#14727).
    """
    from omegaconf import OmegaConf  # noqa: PLC0415 - comes with NeMo

    for key, value in (
        ("strategy", "greedy_batch"),
        ("compute_timestamps", True),
        ("greedy.use_cuda_graph_decoder", False),
    ):
        OmegaConf.update(model.cfg, f"decoding.{key}", value, force_add=True)
    model.change_decoding_strategy(model.cfg.decoding, verbose=False)
    model.joint.preserve_memory = False  # would empty it
    model.eval()


def _restore(file: Path, device: str, spool: Path) -> Any:  # noqa: ANN401 - as above
    """A .nemo file's model.

    It is unpacked here, because NeMo would do so in the system's temporary folder, which may be
    memory, and by what Python has from 3.11.4 on; Debian 12 has 3.11.2.
    """
    from nemo.collections.asr.models import ASRModel  # noqa: PLC0415 - as above
    from nemo.core.connectors.save_restore_connector import SaveRestoreConnector  # noqa: PLC0415
    from nemo.utils.tar_utils import is_safe_tar_member  # noqa: PLC0415

    connector = SaveRestoreConnector()
    with tempfile.TemporaryDirectory(dir=spool) as folder, tarfile.open(file) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        members = [each for each in archive if is_safe_tar_member(each, os.path.realpath(folder))]
        archive.extractall(folder, members)  # noqa: S202 - just looked at
        connector.model_extracted_dir = folder
        return ASRModel.restore_from(
            str(file), map_location=device, save_restore_connector=connector
        )


def _tokens(words: Sequence[dict[str, Any]], length_s: float) -> Iterator[Token]:
    """NeMo's words, which are bare, behind spaces; in order, and within the audio."""
    latest = 0.0
    for word in words:
        text = word["word"].strip()
        latest = max(latest, float(word["start"]))
        if text and latest < length_s:
            yield Token(f" {text}", latest, min(max(latest, float(word["end"])), length_s))


def _choose_device(wanted: str, *, has_gpu: bool) -> str:
    if wanted == "cuda" and not has_gpu:
        raise hub.ModelError(
            "PARAKEET_DEVICE='cuda', but torch sees no GPU: none is given to this process, or "
            "torch is a CPU build; PARAKEET_DEVICE=cpu runs without one"
        )
    if wanted == "auto" and not has_gpu and _DRIVER.exists():
        log.warning("there is an NVIDIA driver, but torch sees no GPU: running on the CPU")
    return "cuda" if has_gpu and wanted != "cpu" else "cpu"


def _fetch(model: str) -> Path:
    """The .nemo file of a model of the hub; what is cached is used without asking the hub."""
    from huggingface_hub import hf_hub_download  # noqa: PLC0415 - takes a second

    file = f"{model.rpartition('/')[2]}.nemo"
    try:
        return Path(hf_hub_download(model, file, local_files_only=True))
    except Exception:  # noqa: BLE001 - whatever it is: the hub is asked, and its answer told
        log.info("%s is not in the cache: it is fetched from the hub", model)
    try:
        return Path(hf_hub_download(model, file))
    except Exception as error:
        raise hub.explain(error, model, "set PARAKEET_MODEL to the path of a .nemo file") from error
