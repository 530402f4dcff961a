"""Train a mini CLIP in open_clip's own format: open_clip_config.json, weights, tokenizer in one folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from avatargen.headworld.tokens import LENGTH, write_tokenizer
from avatargen.headworld.training import Budget, Trainer, batch_indices

BUDGET = Budget(steps=500, batch=48, lr=1e-3)
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
    """Train on uint8 (N, 128, 128, 3) images and captions; equal captions in a batch are positives of each other."""
    torch.manual_seed(seed)
    building = work / "judge-model"
    building.mkdir(parents=True, exist_ok=True)
    write_config(building)
    name = f"local-dir:{building}"
    model = open_clip.create_model(name, load_weights=False)
    tokens = open_clip.get_tokenizer(name)(captions)
    trainer = Trainer("judge", work, {"clip": model}, budget)
    trainer.run(lambda step: contrastive(model, *_batch(images, tokens, seed, step, budget.batch)))
    half = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    save_file(half, building / "open_clip_model.safetensors")
    shutil.copytree(building, output, dirs_exist_ok=True)


def _batch(images: np.ndarray, tokens: Tensor, seed: int, step: int, batch: int) -> tuple[Tensor, Tensor]:
    rows = batch_indices(seed, step, batch, len(images))
    pixels = torch.from_numpy(images[rows]).permute(0, 3, 1, 2).float() / 255
    return (pixels - MEAN) / STD, tokens[torch.from_numpy(rows)]


def contrastive(model: open_clip.CLIP, pixels: Tensor, tokens: Tensor) -> Tensor:
    """Symmetric cross-entropy with soft targets: captions that are equal share the probability."""
    images, texts, scale = model(pixels, tokens)[:3]
    logits = scale * images @ texts.T
    same = (tokens[:, None] == tokens[None]).all(-1).float()
    targets = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
