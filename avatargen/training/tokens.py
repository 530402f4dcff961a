"""Learn a small byte-pair tokenizer in CLIP's own format from the closed world's captions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from avatargen.headworld.attributes import sample
from avatargen.headworld.phrases import caption
from avatargen.priors.view_prompts import LATENT_PAINT

LENGTH = 40
"""Tokens per caption, with start and end."""
CORPUS = 6000
"""Number of captions that the merges are learnt from."""
START, END = "<|startoftext|>", "<|endoftext|>"


def write_tokenizer(folder: Path, vocabulary: int = 1024) -> None:
    """Learn the merges and write ``vocab.json``, ``merges.txt`` and ``tokenizer_config.json``.

    Words that no caption contains fall back to bytes, so any prompt can be encoded.

    Args:
        folder: is created.
        vocabulary: greatest number of words, with bytes.
    """
    rng = np.random.default_rng(0)
    corpus = [f"{caption(sample(rng), rng=rng)}, {rng.choice(LATENT_PAINT.names)}" for _ in range(CORPUS)]
    tokenizer = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.BPEDecoder()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    _write(folder, json.loads(tokenizer.to_str())["model"]["merges"], alphabet)


def _write(folder: Path, merges: list[list[str]], alphabet: list[str]) -> None:
    """Write the three files of a CLIP tokenizer with these merges, best first."""
    words = alphabet + [f"{letter}</w>" for letter in alphabet]
    words += list(dict.fromkeys("".join(pair) for pair in merges if "".join(pair) not in words))
    vocabulary = {word: index for index, word in enumerate([*words, START, END])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": LENGTH,
        "unk_token": END,
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1))
