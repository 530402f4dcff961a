"""Train the mini CLIPs in open_clip's own format: open_clip_config.json, weights, tokenizer in one folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from avatargen.headworld.attributes import Attributes
from avatargen.headworld.phrases import caption, parse
from avatargen.headworld.pools import negatives
from avatargen.headworld.tokens import LENGTH, write_tokenizer
from avatargen.headworld.train_text import Heads, labels_of, train_words
from avatargen.headworld.training import Budget, Trainer, batch_indices, fast_math

MEAN, STD = 0.5, 0.25
NAMING = 10.0
"""Length of the unit embeddings that the classifier of attributes sees."""


@dataclass(frozen=True)
class Spec:
    """A judge's architecture and training.

    Attributes:
        vision: open_clip's ``vision_cfg`` without the image size.
        width, layers: of the text tower; width is also the embedding's.
    """

    vision: dict[str, Any]
    width: int
    layers: int
    seed: int
    budget: Budget


BUDGET = Budget(steps=10_000, batch=48, lr=1e-3, cool=0.6)
RESNET = {"layers": [1, 1, 1, 1], "width": 24, "head_width": 32}
REGNET = {
    "timm_model_name": "regnetx_004", "timm_model_pretrained": False, "timm_pool": "avg", "timm_proj": "linear"
}  # fmt: skip
JUDGES = {"judge": Spec(RESNET, 96, 2, 2, BUDGET), "guide": Spec(REGNET, 80, 3, 5, BUDGET)}
"""The first judges; the second guides `clip_guided`, and judges all other methods too."""


def write_config(folder: Path, spec: Spec) -> None:
    """Write the model's configuration and tokenizer."""
    write_tokenizer(folder)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    text = {"context_length": LENGTH, "vocab_size": len(vocabulary), "width": spec.width, "heads": 4}
    model = {
        "embed_dim": spec.width,
        "vision_cfg": {**spec.vision, "image_size": 128},
        "text_cfg": {**text, "layers": spec.layers, "hf_tokenizer_name": "."},
    }
    preprocess = {"mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}, indent=1)
    )


def train_judge(name: str, images: np.ndarray, captions: list[str], output: Path, work: Path) -> None:
    """Train one of JUDGES on uint8 (N, 128, 128, 4) renders; equal captions in a batch are each other's positives.

    The text tower learns the words first. Beside its caption each image meets one that differs in one attribute (as in
    NegCLIP, arXiv 2210.01936): those are what the pools of CLIP-R hold, and a random batch hardly ever does. A
    linear classifier of the attributes keeps the image tower to what is small in the picture (mouth, nose, ears).
    """
    spec = JUDGES[name]
    seed, budget = spec.seed, spec.budget
    torch.manual_seed(seed)
    building = work / f"{name}-model"
    building.mkdir(parents=True, exist_ok=True)
    write_config(building, spec)
    source = f"local-dir:{building}"
    model = open_clip.create_model(source, load_weights=False).to(memory_format=torch.channels_last)
    tokenizer = open_clip.get_tokenizer(source)
    if not (work / f"{name}.ckpt").exists():
        train_words(f"{name}-text", model, spec.width, model.encode_text, tokenizer, work, seed, clay=0.45)
    heads = Heads(spec.width)
    own, swapped = tokenizer(captions), _swapped(captions, tokenizer, seed)
    labels = torch.tensor([labels_of(_head(text)) for text in captions])
    trainer = Trainer(name, work, {"clip": model, "heads": heads}, budget)

    def loss(step: int) -> Tensor:
        rows = batch_indices(seed, step, budget.batch, len(images))
        at = torch.from_numpy(rows)
        pixels = augment(images[rows], np.random.default_rng((seed, step, 1)))
        tokens = torch.cat([own[at], swapped[at, step % swapped.shape[1]]])
        return contrastive(model, heads, ((pixels - MEAN) / STD), tokens, labels[at])

    trainer.run(loss)
    half = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    save_file(half, building / "open_clip_model.safetensors")
    shutil.copytree(building, output, dirs_exist_ok=True)


def _head(text: str) -> Attributes:
    head = parse(text)
    assert head is not None, text
    return head


def augment(images: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Pixels in [0, 1], (N, 3, H, W), of uint8 (N, H, W, 4) renders: mirrored, zoomed, moved, lit, on plain colours."""
    count = len(images)
    zoom, mirror = rng.uniform(0.75, 1.1, count), rng.choice((-1.0, 1.0), count)
    shift = rng.normal(0, 0.06, (count, 2))
    turn = np.stack(
        [np.stack([zoom * mirror, 0 * zoom, shift[:, 0]], 1), np.stack([0 * zoom, zoom, shift[:, 1]], 1)], 1
    )
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255)
    grid = F.affine_grid(torch.from_numpy(turn).float(), list(planes.shape), align_corners=False)
    moved = F.grid_sample(planes, grid, align_corners=False)
    light = torch.from_numpy(rng.uniform(0.85, 1.1, (count, 1, 1, 1))).float()
    background = torch.from_numpy(rng.uniform(0, 1, (count, 3, 1, 1))).float()
    return (moved[:, :3] * light + (1 - moved[:, 3:]) * background).clamp(0, 1)


def _swapped(captions: list[str], tokenizer: Callable[[list[str]], Tensor], seed: int, count: int = 6) -> Tensor:
    """Tokens of captions with one attribute changed, (N, count, L); a shape caption's changes are of shape."""
    rng = np.random.default_rng(seed)
    made: dict[str, Tensor] = {}
    for text in dict.fromkeys(captions):
        head = _head(text)
        made[text] = tokenizer(negatives(head, rng, count, colours=caption(head, colours=False) != text))
    return torch.stack([made[text] for text in captions])


def contrastive(
    model: nn.Module, heads: Callable[[Tensor], Sequence[Tensor]], pixels: Tensor, tokens: Tensor, labels: Tensor
) -> Tensor:
    """Symmetric cross-entropy of B images and 2 B texts, the first B their own; equal texts share the probability.

    Added is the classification of each image's attributes, labels (B, attributes).
    """
    with fast_math():
        images, texts, scale = model(pixels.contiguous(memory_format=torch.channels_last), tokens)[:3]
        named = heads(images * NAMING)
    logits = scale.float() * images.float() @ texts.float().T
    same = (tokens[: len(pixels), None] == tokens[None]).all(-1).float()
    to_text = F.cross_entropy(logits, same / same.sum(1, keepdim=True))
    back, square = logits[:, : len(pixels)].T, same[:, : len(pixels)].T
    naming = sum(F.cross_entropy(scores.float(), labels[:, k]) for k, scores in enumerate(named[: labels.shape[1]]))
    return (to_text + F.cross_entropy(back, square / square.sum(1, keepdim=True))) / 2 + naming / labels.shape[1]
