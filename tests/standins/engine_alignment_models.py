"""A stand-in for an alignment model from the hub: this program writes one with RANDOM weights to
the folder that ENGINE_ALIGN_MODELS names for English, if it names one, and becomes the engine.

The code that runs is all whisperx's and transformers'; so words get times by the rules of forced
alignment, only not the right ones. In that engine whoever connects to another machine is refused,
and the log says so: alignment has to do without.

To be run in the engine's environment.
"""

from __future__ import annotations

import json
import os
import string
import sys
from pathlib import Path

import torch
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
)

REFUSED = "no connection is allowed here"
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


def write_folder(folder: Path, **sizes: object) -> None:
    """Write a model for English with its processor; without sizes it is wav2vec2's base (95 M)."""
    folder.mkdir(parents=True)
    characters = ["<pad>", "<s>", "</s>", "<unk>", "|", "'", *string.ascii_uppercase]
    vocabulary = {character: number for number, character in enumerate(characters)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=len(vocabulary), **sizes)).save_pretrained(folder)


def refuse_connections(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook (PEP 578): Python's own sockets all come by here, accepting ones do not."""
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        sys.stderr.write(f"{REFUSED}: {event} {arguments[1:]}\n")
        raise OSError(REFUSED)


if __name__ == "__main__":
    _, _, english = os.environ["ENGINE_ALIGN_MODELS"].partition("en=")
    if Path(english).is_absolute():
        write_folder(Path(english), **SMALL)
    sys.addaudithook(refuse_connections)
    from images.whisperx.app.__main__ import main

    sys.exit(main(os.environ))
