"""Teach a text encoder the words before it meets an image.

Learnt from the prior's diffusion loss alone, words of colour still did nothing after 48,000 samples: at most noise
levels the image itself tells. Stable Diffusion's text encoder comes from CLIP, whose images tell of the words; here
the attributes of the closed world do. Each attribute, and the view, is classified from the end token's state.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from avatargen.headworld.attributes import VALUES, Attributes, sample_training
from avatargen.headworld.phrases import worded
from avatargen.priors.view_prompts import ALL_NAMES
from avatargen.training.artifact_cache import code
from avatargen.training.trainer import Budget, Trainer, batch_indices, fast_math

BUDGET = Budget(steps=1000, batch=128, lr=2e-3)
CAPTIONS = 30_000
Encode = Callable[[Tensor], Tensor]
TARGETS = {**VALUES, "view": ("", *ALL_NAMES)}


def labels_of(head: Attributes) -> list[int]:
    """The index of each attribute's value, in the order of VALUES."""
    return [options.index(getattr(head, name)) for name, options in VALUES.items()]


def corpus(count: int, seed: int, views: float = 0.5, clay: float = 0.0) -> tuple[list[str], Tensor]:
    """Random captions of heads that are not held out, and the index of each of TARGETS, (count, targets).

    Args:
        views: share of captions that name a view.
        clay: share that speak of shape only; the attributes they cannot name are the template's.
    """
    rng = np.random.default_rng(seed)
    lines, labels = [], []
    for _ in range(count):
        head, colours = sample_training(rng), bool(rng.random() >= clay)
        head = head if colours else head.shape_only()
        view = str(rng.choice(ALL_NAMES)) if rng.random() < views else ""
        text = worded(head, rng, colours)
        lines.append(f"{text}, {view}" if view else text)
        labels.append([*labels_of(head), TARGETS["view"].index(view)])
    return lines, torch.tensor(labels)


class Heads(nn.Module):
    """A linear classifier for each of TARGETS."""

    def __init__(self, width: int):
        super().__init__()
        self.sizes = [len(options) for options in TARGETS.values()]
        self.linear = nn.Linear(width, sum(self.sizes))

    def forward(self, pooled: Tensor) -> tuple[Tensor, ...]:
        return self.linear(pooled).split(self.sizes, dim=-1)


class Naming(nn.Module):
    """How far a text tower's pooled states are from naming what captions say: cross-entropy, averaged over TARGETS.

    Args:
        tokenize: of B captions, tokens (B, L).
        clay: see `corpus`.
    """

    def __init__(self, width: int, tokenize: Callable[[list[str]], Tensor], seed: int, clay: float = 0.0):
        super().__init__()
        self.heads, self.seed = Heads(width), seed
        lines, self.labels = corpus(CAPTIONS, seed, clay=clay)
        self.captions = tokenize(lines)

    def forward(self, encode: Encode, step: int, batch: int) -> Tensor:
        """The loss of a step's captions; `encode` turns tokens (B, L) into states (B, width)."""
        rows = torch.from_numpy(batch_indices(self.seed, step, batch, len(self.captions)))
        device = self.heads.linear.weight.device
        with fast_math():
            scores = self.heads(encode(self.captions[rows].to(device)))
        answers = self.labels[rows].to(device)
        return sum(F.cross_entropy(s.float(), answers[:, k]) for k, s in enumerate(scores)) / len(scores)

    @torch.no_grad()
    def accuracy(self, encode: Encode, tokens: Tensor, labels: Tensor) -> Tensor:
        """Share of captions (N, L) of whom each of TARGETS is named rightly, (targets,)."""
        named = torch.stack([s.argmax(-1) for s in self.heads(encode(tokens))], dim=1)
        return (named == labels).float().mean(0)


def train_words(
    name: str, text: nn.Module, width: int, encode: Encode, tokenize: Callable[[list[str]], Tensor], work: Path,
    seed: int, clay: float = 0.0, budget: Budget = BUDGET,
) -> None:  # fmt: skip
    """Train a text tower in place; prints the share of attributes named rightly on captions drawn anew.

    Args:
        name: of the training, for its checkpoint.
        text, encode: the tower, and what turns tokens (N, L) into its pooled state (N, width).
        clay: see `corpus`.
    """
    torch.manual_seed(seed)
    naming = Naming(width, tokenize, seed, clay)
    facts = {"seed": seed, "clay": clay, "code": code("train_text")}
    trainer = Trainer(name, work, {"text": text, "heads": naming.heads}, budget, facts)
    trainer.run(lambda step: naming(encode, step, budget.batch))
    fresh, answers = corpus(500, seed + 1, clay=clay)
    right = naming.accuracy(encode, tokenize(fresh), answers).mean()
    print(f"{name}: {100 * right:.1f}% of attributes named rightly", flush=True)


def train_text(text: CLIPTextModel, tokenizer: CLIPTokenizer, work: Path, seed: int = 3) -> None:
    """`train_words` of the prior's text encoder."""

    def tokenize(lines: list[str]) -> Tensor:
        return tokenizer(lines, padding="max_length", truncation=True, return_tensors="pt").input_ids

    train_words("text", text, text.config.hidden_size, lambda tokens: text(tokens).pooler_output, tokenize, work, seed)
