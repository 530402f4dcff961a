"""Teach the prior's text encoder the words before the UNet sees an image.

Learnt from the diffusion loss alone, words of colour still did nothing after 48,000 samples: at most noise levels the
image itself tells. Stable Diffusion's text encoder comes from CLIP, whose images tell of the words; here the attributes
of the closed world do. Each attribute, and the view, is classified from the end token's state.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from avatargen.headworld.attributes import VALUES, caption, sample
from avatargen.headworld.training import Budget, Trainer, batch_indices, fast_math
from avatargen.priors.view_prompts import VIEWS

BUDGET = Budget(steps=700, batch=128, lr=2e-3)
CAPTIONS = 30_000
TARGETS = {**VALUES, "view": ("", *VIEWS)}


def corpus(count: int, seed: int) -> tuple[list[str], Tensor]:
    """Random captions, half of them with a view, and the index of each of TARGETS, (count, targets)."""
    rng = np.random.default_rng(seed)
    lines, labels = [], []
    for _ in range(count):
        head = sample(rng)
        view = str(rng.choice(VIEWS)) if rng.random() < 0.5 else ""
        lines.append(f"{caption(head)}, {view}" if view else caption(head))
        values = {**{name: getattr(head, name) for name in VALUES}, "view": view}
        labels.append([options.index(values[name]) for name, options in TARGETS.items()])
    return lines, torch.tensor(labels)


class Heads(nn.Module):
    """A linear classifier for each of TARGETS."""

    def __init__(self, width: int):
        super().__init__()
        self.sizes = [len(options) for options in TARGETS.values()]
        self.linear = nn.Linear(width, sum(self.sizes))

    def forward(self, pooled: Tensor) -> tuple[Tensor, ...]:
        return self.linear(pooled).split(self.sizes, dim=-1)


def train_text(
    text: CLIPTextModel, tokenizer: CLIPTokenizer, work: Path, seed: int = 3, budget: Budget = BUDGET
) -> float:
    """Train in place; returns the share of attributes named rightly on captions drawn anew."""
    torch.manual_seed(seed)
    heads = Heads(text.config.hidden_size)
    lines, labels = corpus(CAPTIONS, seed)
    tokens = tokenizer(lines, padding="max_length", truncation=True, return_tensors="pt").input_ids

    def loss(step: int) -> Tensor:
        rows = torch.from_numpy(batch_indices(seed, step, budget.batch, len(tokens)))
        with fast_math():
            scores = heads(text(tokens[rows]).pooler_output)
        return sum(F.cross_entropy(s.float(), labels[rows, k]) for k, s in enumerate(scores)) / len(scores)

    Trainer("text", work, {"text": text, "heads": heads}, budget).run(loss)
    fresh, answers = corpus(500, seed + 1)
    tokens = tokenizer(fresh, padding="max_length", truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        named = torch.stack([s.argmax(-1) for s in heads(text(tokens).pooler_output)], dim=1)
    return float((named == answers).float().mean())
