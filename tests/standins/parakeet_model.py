"""A stand-in for Parakeet's weights: a transducer of the same kind (FastConformer, TDT,
SentencePiece), tiny, with RANDOM WEIGHTS.

What it writes down is nonsense. nemo_models.py makes it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from images.serving.probe_audio import speech_like

SEED = 3
HIDDEN = 32
DURATIONS = [0, 1, 2, 3, 4]
PIECES = 64
BLANK, BEGINNING = 2.0, 0.5
"""What is added to the scores of silence, and of pieces that begin a word."""
TEXT = (
    "Good morning everybody. Shall we begin? The parakeet sat on the green branch and sang.",
    "Nobody knew where it had come from. It was small, bright, and not at all afraid!",
    "One two three four five six seven eight nine ten. What a day; what a night, my friend.",
)


def config(tokenizer: Path) -> dict[str, Any]:
    """The layout of parakeet-tdt-0.6b, with fewer and smaller layers."""
    return {
        "sample_rate": 16_000,
        "model_defaults": {
            "enc_hidden": HIDDEN,
            "pred_hidden": HIDDEN,
            "joint_hidden": HIDDEN,
            "tdt_durations": DURATIONS,
            "num_tdt_durations": len(DURATIONS),
        },
        "tokenizer": {"dir": str(tokenizer), "type": "bpe"},
        "preprocessor": {
            "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
            "sample_rate": 16_000,
            "normalize": "per_feature",
            "window_size": 0.025,
            "window_stride": 0.01,
            "window": "hann",
            "features": 32,
            "n_fft": 512,
            "dither": 1e-5,
            "pad_to": 0,
        },
        "encoder": {
            "_target_": "nemo.collections.asr.modules.ConformerEncoder",
            "feat_in": 32,
            "feat_out": -1,
            "n_layers": 1,
            "d_model": HIDDEN,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": 16,
            "ff_expansion_factor": 2,
            "self_attention_model": "rel_pos",
            "n_heads": 4,
            "att_context_size": [-1, -1],
            "conv_kernel_size": 9,
        },
        "decoder": {
            "_target_": "nemo.collections.asr.modules.RNNTDecoder",
            "normalization_mode": None,
            "random_state_sampling": False,
            "blank_as_pad": True,
            "vocab_size": PIECES,
            "prednet": {"pred_hidden": HIDDEN, "pred_rnn_layers": 1, "t_max": None, "dropout": 0.0},
        },
        "joint": {
            "_target_": "nemo.collections.asr.modules.RNNTJoint",
            "log_softmax": None,
            "preserve_memory": True,
            "fuse_loss_wer": False,
            "fused_batch_size": 1,
            "num_classes": PIECES,
            "num_extra_outputs": len(DURATIONS),
            "jointnet": {
                "encoder_hidden": HIDDEN,
                "pred_hidden": HIDDEN,
                "joint_hidden": HIDDEN,
                "activation": "relu",
                "dropout": 0.0,
            },
        },
        "decoding": {
            "strategy": "greedy_batch",
            "model_type": "tdt",
            "durations": DURATIONS,
            "greedy": {"max_symbols": 10},
            "beam": {"beam_size": 2},
        },
        "loss": {
            "loss_name": "tdt",
            "tdt_kwargs": {
                "fastemit_lambda": 0.0,
                "durations": DURATIONS,
                "sigma": 0.02,
                "omega": 0.1,
            },
        },
        "optim": {"name": "adamw", "lr": 1e-3},
    }


def make_tokenizer(folder: Path) -> None:
    """A SentencePiece model in the form that NeMo reads."""
    import sentencepiece  # noqa: PLC0415 - comes with NeMo

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=PIECES,
        minloglevel=2,
        bos_id=-1,
        eos_id=-1,
    )
    rows = (folder / "tokenizer.vocab").read_text(encoding="utf-8").splitlines()
    pieces = [row.partition("\t")[0] for row in rows if not row.startswith("<unk>")]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")


def make_talkative(model: Any) -> None:  # noqa: ANN401 - NeMo has no types
    """Have the model say different things to different sounds, and nothing to some.

    Random weights say one thing for ever. So the sound gets more weight than what was said before,
    and the scores of all outputs have the same mean over a made voice.
    """
    import torch  # noqa: PLC0415 - not in the environment of the tests themselves

    last = model.joint.joint_net[-1]
    model.eval()
    with torch.inference_mode():
        model.joint.enc.weight *= 20
        model.joint.pred.weight *= 0.3
        sound = torch.as_tensor(speech_like(20.0))[None]
        length = torch.tensor([sound.shape[1]])
        encoded, _ = model.forward(input_signal=sound, input_signal_length=length)
        nothing = torch.zeros((1, 1), dtype=torch.long)
        said, _, _ = model.decoder(targets=nothing, target_length=torch.tensor([1]))
        scores = model.joint(encoder_outputs=encoded, decoder_outputs=said)[0, :, 0]
        spread = scores.std(0).mean()
        last.weight /= spread
        last.bias.copy_((last.bias - scores.mean(0)) / spread)
        pieces = model.tokenizer.tokenizer.get_vocab()
        last.bias[pieces["<unk>"]] -= 10
        for piece, number in pieces.items():
            last.bias[number] += BEGINNING if piece.startswith("▁") else 0
        last.bias[len(pieces)] += BLANK


def make(target: Path) -> None:
    """Write the model to a .nemo file."""
    import torch  # noqa: PLC0415 - as above
    from nemo.collections.asr.models import EncDecRNNTBPEModel  # noqa: PLC0415
    from omegaconf import OmegaConf  # noqa: PLC0415

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    with tempfile.TemporaryDirectory() as folder:
        make_tokenizer(Path(folder))
        model = EncDecRNNTBPEModel(OmegaConf.create(config(Path(folder))))
        make_talkative(model)
        model.save_to(str(target))
