"""Stand-in for the Sortformer's weights: a tiny one with random weights, saved as .nemo.

Everything but the weights is NeMo's own. nemo_models.py makes a streaming one (as v2.1) and an
offline one (as v1).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def config(*, streaming: bool) -> dict[str, Any]:
    """The configuration of NVIDIA's models (v2.1 and v1), with everything smaller."""
    encoder_size, transformer_size, speakers = 64, 32, 4
    features = 128 if streaming else 80
    return {
        "sample_rate": 16000,
        "pil_weight": 0.5,
        "ats_weight": 0.5,
        "max_num_of_spks": speakers,
        "streaming_mode": streaming,
        "model_defaults": {"fc_d_model": encoder_size, "tf_d_model": transformer_size},
        "preprocessor": {
            "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
            "normalize": "NA" if streaming else "per_feature",
            "window_size": 0.025,
            "sample_rate": 16000,
            "window_stride": 0.01,
            "window": "hann",
            "features": features,
            "n_fft": 512,
            "frame_splicing": 1,
            "dither": 0.00001,
        },
        "encoder": {
            "_target_": "nemo.collections.asr.modules.ConformerEncoder",
            "feat_in": features,
            "feat_out": -1,
            "n_layers": 2,
            "d_model": encoder_size,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": 32,
            "self_attention_model": "rel_pos",
            "n_heads": 8,
            "att_context_size": [-1, -1],
            "xscaling": True,
            "untie_biases": True,
            "pos_emb_max_len": 5000,
            "conv_kernel_size": 9,
            "conv_norm_type": "batch_norm",
        },
        "transformer_encoder": {
            "_target_": "nemo.collections.asr.modules.transformer.transformer_encoders"
            ".TransformerEncoder",
            "num_layers": 2,
            "hidden_size": transformer_size,
            "inner_size": 64,
            "num_attention_heads": 8,
            "attn_score_dropout": 0.5,
            "attn_layer_dropout": 0.5,
            "ffn_dropout": 0.5,
            "hidden_act": "relu",
            "pre_ln": False,
        },
        "sortformer_modules": {
            "_target_": "nemo.collections.asr.modules.sortformer_modules.SortformerModules",
            "num_spks": speakers,
            "dropout_rate": 0.5,
            "fc_d_model": encoder_size,
            "tf_d_model": transformer_size,
        },
        "loss": {
            "_target_": "nemo.collections.asr.losses.bce_loss.BCELoss",
            "weight": None,
            "reduction": "mean",
        },
        "optim": {"name": "adam", "lr": 0.001},
    }


def make(target: Path, *, streaming: bool) -> None:
    """Write one model."""
    import torch  # noqa: PLC0415 - only where NeMo is
    from nemo.collections.asr.models import SortformerEncLabelModel  # noqa: PLC0415
    from omegaconf import OmegaConf  # noqa: PLC0415

    torch.manual_seed(4)
    made = SortformerEncLabelModel(cfg=OmegaConf.create(config(streaming=streaming))).eval()
    last = made.sortformer_modules.single_hidden_to_spks
    heard: list[torch.Tensor] = []
    last.register_forward_hook(lambda _module, inputs, _output: heard.append(inputs[0]))
    # Ten seconds that change every second: noise, a tone, nothing...
    time = torch.arange(16000) / 16000
    kinds = (torch.randn(16000) / 5, torch.sin(1400 * time) / 2, torch.zeros(16000))
    audio = torch.cat([kinds[second % 3] for second in range(10)])[None]
    with torch.no_grad():
        made.forward(audio_signal=audio, audio_signal_length=torch.tensor([audio.shape[1]]))
        # Random weights say the same all the time: have them tell the seconds apart.
        inside = torch.cat([part.flatten(0, -2) for part in heard])
        last.weight *= 4 / (inside @ last.weight.T).std(0)[:, None]
        last.bias.copy_(-(inside @ last.weight.T).mean(0))
    made.save_to(str(target))
