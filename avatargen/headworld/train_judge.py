"""Train a mini CLIP in open_clip's own format: open_clip_config.json, weights, tokenizer in one folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from avatargen.headworld.attributes import caption, parse
from avatargen.headworld.pools import negatives
from avatargen.headworld.tokens import LENGTH, write_tokenizer
from avatargen.headworld.training import Budget, Trainer, batch_indices, fast_math

BUDGET = Budget(steps=4000, batch=48, lr=1e-3)
MEAN, STD = 0.5, 0.25


def write_config(folder: Path) -> None:
    """Write the model's configuration and tokenizer: a small ModifiedResNet and a two-layer text tower."""
    write_tokenizer(folder)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    text = {"context_length": LENGTH, "vocab_size": len(vocabulary), "width": 96, "heads": 4, "layers": 2}
    model = {
        "embed_dim": 96,
        "vision_cfg": {"layers": [1, 1, 1, 1], "width": 24, "head_width": 32, "image_size": 128},
        "text_cfg": {**text, "hf_tokenizer_name": "."},
    }
    preprocess = {"mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}, indent=1)
    )


def train_judge(
    images: np.ndarray, captions: list[str], output: Path, work: Path, seed: int = 2, budget: Budget = BUDGET
) -> None:
    """Train on uint8 (N, 128, 128, 3) images and captions; equal captions in a batch are positives of each other.

    Beside its caption each image meets one that differs in one attribute (as in NegCLIP, arXiv 2210.01936): those are
    what the pools of CLIP-R hold, and a random batch hardly ever does.
    """
    torch.manual_seed(seed)
    building = work / "judge-model"
    building.mkdir(parents=True, exist_ok=True)
    write_config(building)
    name = f"local-dir:{building}"
    model = open_clip.create_model(name, load_weights=False).to(memory_format=torch.channels_last)
    tokenizer = open_clip.get_tokenizer(name)
    own, swapped = tokenizer(captions), _swapped(captions, tokenizer, seed)
    trainer = Trainer("judge", work, {"clip": model}, budget)

    def loss(step: int) -> Tensor:
        rows = batch_indices(seed, step, budget.batch, len(images))
        pixels = torch.from_numpy(images[rows]).permute(0, 3, 1, 2).float() / 255
        other = swapped[torch.from_numpy(rows), step % swapped.shape[1]]
        pixels = ((pixels - MEAN) / STD).contiguous(memory_format=torch.channels_last)
        return contrastive(model, pixels, torch.cat([own[torch.from_numpy(rows)], other]))

    trainer.run(loss)
    half = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    save_file(half, building / "open_clip_model.safetensors")
    shutil.copytree(building, output, dirs_exist_ok=True)


def _swapped(captions: list[str], tokenizer: Callable[[list[str]], Tensor], seed: int, count: int = 6) -> Tensor:
    """Tokens of captions with one attribute changed, (N, count, L); a shape caption's changes are of shape."""
    rng = np.random.default_rng(seed)
    made: dict[str, Tensor] = {}
    for text in dict.fromkeys(captions):
        head = parse(text)
        assert head is not None, text
        made[text] = tokenizer(negatives(head, rng, count, colours=caption(head, colours=False) != text))
    return torch.stack([made[text] for text in captions])


def contrastive(model: nn.Module, pixels: Tensor, tokens: Tensor) -> Tensor:
    """Symmetric cross-entropy of B images and 2 B texts, the first B their own; equal texts share the probability."""
    with fast_math():
        images, texts, scale = model(pixels, tokens)[:3]
    logits = scale.float() * images.float() @ texts.float().T
    same = (tokens[: len(pixels), None] == tokens[None]).all(-1).float()
    to_text = F.cross_entropy(logits, same / same.sum(1, keepdim=True))
    back, square = logits[:, : len(pixels)].T, same[:, : len(pixels)].T
    return (to_text + F.cross_entropy(back, square / square.sum(1, keepdim=True))) / 2
