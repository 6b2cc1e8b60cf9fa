"""How much of a GPU models of NVIDIA's sizes take: `python -m tests.gpu.measure_nemo`.

The layouts are those of parakeet-tdt-0.6b and of the Sortformers (v2.1, v1), in NeMo's own classes;
the weights are RANDOM. Memory and time of the encoders do not depend on them; how long the decoder
takes over what it writes down does. Prints a table; to be run in the environment with NeMo.
"""

from __future__ import annotations

import sys
import tempfile
import time
import wave
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nemo.collections.asr.models import EncDecRNNTBPEModel, SortformerEncLabelModel
from omegaconf import OmegaConf

from images.parakeet.app.recogniser import Parakeet, set_up
from images.serving.probe_audio import speech_like
from tests.standins import parakeet_model, sortformer_model

RATE = 16_000
GB = 1e9
WINDOWS_S = (30, 60, 120, 240, 480, 1200)
STREAMED_S = (60, 1200, 5400)
OFFLINE_S = (60, 300, 480)


def parakeet(folder: Path) -> Parakeet:
    """parakeet-tdt-0.6b, but for its vocabulary."""
    parakeet_model.make_tokenizer(folder)
    config = parakeet_model.config(folder)
    config["model_defaults"] |= {"enc_hidden": 1024, "pred_hidden": 640, "joint_hidden": 640}
    config["preprocessor"]["features"] = 128
    config["encoder"] |= {
        "feat_in": 128,
        "n_layers": 24,
        "d_model": 1024,
        "n_heads": 8,
        "ff_expansion_factor": 4,
        "subsampling_conv_channels": 256,
        "xscaling": False,
    }
    config["decoder"]["prednet"] |= {"pred_hidden": 640, "pred_rnn_layers": 2}
    config["joint"]["jointnet"] |= {
        "encoder_hidden": 1024,
        "pred_hidden": 640,
        "joint_hidden": 640,
    }
    model = EncDecRNNTBPEModel(OmegaConf.create(config))
    set_up(model)
    return Parakeet(model.cuda(), "parakeet of random weights", "cuda")


def sortformer(folder: Path, *, streaming: bool) -> Path:
    """diar_streaming_sortformer_4spk-v2.1, or diar_sortformer_4spk-v1, as a file."""
    config = sortformer_model.config(streaming=streaming)
    config["model_defaults"] = {"fc_d_model": 512, "tf_d_model": 192}
    config["encoder"] |= {
        "n_layers": 17 if streaming else 18,
        "d_model": 512,
        "subsampling_conv_channels": 256,
    }
    config["transformer_encoder"] |= {"num_layers": 18, "hidden_size": 192, "inner_size": 768}
    config["sortformer_modules"] |= {"fc_d_model": 512, "tf_d_model": 192}
    file = folder / ("streaming.nemo" if streaming else "offline.nemo")
    SortformerEncLabelModel(cfg=OmegaConf.create(config)).save_to(str(file))
    return file


def measured(act: Callable[[], Any]) -> tuple[float, float, float]:
    """Seconds; memory of tensors at once, beyond what was there; and what torch has taken."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    began = time.monotonic()
    act()
    torch.cuda.synchronize()
    took = time.monotonic() - began
    peak = torch.cuda.max_memory_allocated() - before
    return took, peak / GB, torch.cuda.memory_reserved() / GB


def write(path: Path, seconds: float) -> None:
    """A made voice of any length."""
    sound = (speech_like(60.0) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(np.resize(sound, int(seconds * RATE)).tobytes())


def row(what: str, seconds: float, figures: tuple[float, float, float]) -> None:
    """One line of the table."""
    took, peak, reserved = figures
    print(
        f"{what:28} {seconds:6.0f} s  {took:8.2f} s  {peak:7.2f} GB  {reserved:7.2f} GB", flush=True
    )


def measure_parakeet(folder: Path) -> None:
    """The encoder over windows of all lengths, and everything over one."""
    heard = parakeet(folder)
    weights = torch.cuda.memory_allocated() / GB
    row("parakeet 0.6b, loaded", 0, (0.0, weights, torch.cuda.memory_reserved() / GB))
    voice = torch.as_tensor(speech_like(60.0))

    def encode(seconds: int) -> None:
        sound = voice.repeat(seconds // 60 + 1)[: seconds * RATE][None].cuda()
        length = torch.tensor([sound.shape[1]]).cuda()
        with torch.inference_mode():
            heard._model.forward(input_signal=sound, input_signal_length=length)

    for seconds in WINDOWS_S:
        row("parakeet 0.6b, encoder", seconds, measured(partial(encode, seconds)))
    for seconds in (3, 60):
        act = partial(heard.hear, speech_like(seconds))
        row("parakeet 0.6b, everything", seconds, measured(act))


def measure_sortformer(folder: Path, *, streaming: bool, lengths: Sequence[int]) -> None:
    """Whole recordings, by the patch's own class."""
    from diarizer import SortformerDiarizer  # noqa: PLC0415 - its folder is no package

    diarizer = SortformerDiarizer(str(sortformer(folder, streaming=streaming)), "cuda")
    kind = "streaming" if streaming else "offline"
    for seconds in lengths:
        path = folder / f"{seconds}.wav"
        write(path, seconds)
        act = partial(diarizer.diarize, path, seconds)
        row(f"sortformer, {kind}", seconds, measured(act))
        print(f"{'':28} reckoned with {diarizer.bytes_needed(seconds) / GB:.2f} GB")


def main() -> None:
    """Measure all."""
    print(torch.cuda.get_device_name(), torch.__version__)
    print(f"{'model':28} {'audio':>8}  {'time':>10}  {'at once':>10}  {'taken':>10}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure_parakeet(folder)
        torch.cuda.empty_cache()
        measure_sortformer(folder, streaming=True, lengths=STREAMED_S)
        torch.cuda.empty_cache()
        measure_sortformer(folder, streaming=False, lengths=OFFLINE_S)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "images/sortformer"))
    main()
