"""Teach a text encoder the words before it meets an image.

Learnt from the prior's diffusion loss alone, words of colour had no effect after 48,000 samples: at most noise levels
the image itself shows the colour. Stable Diffusion's text encoder comes from CLIP, whose images explain the words; here
the attributes of the closed world do. Each attribute, and the view, is classified from the text tower's pooled state.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
"""Number of captions that a text tower learns from."""
FRESH = 500
"""Number of new captions that it is measured on."""
Encode = Callable[[Tensor], Tensor]
"""Turns tokens (N, L) into pooled states (N, width)."""
Tokenize = Callable[[list[str]], Tensor]
"""Turns N captions into tokens (N, L)."""
TARGETS = {**VALUES, "view": ("", *ALL_NAMES)}
"""What is classified: each attribute's values, and the views' names."""


def labels_of(head: Attributes) -> list[int]:
    """Return the index of each attribute's value, in the order of VALUES.

    Example:
        >>> labels_of(Attributes(age=VALUES["age"][2]))[list(VALUES).index("age")]
        2
    """
    return [options.index(getattr(head, name)) for name, options in VALUES.items()]


def corpus(count: int, seed: int, views: float = 0.5, clay: float = 0.0) -> tuple[list[str], Tensor]:
    """Return random captions of heads that are not held out, and the index of each of TARGETS, (count, targets).

    Args:
        count: number of captions.
        seed: of everything random.
        views: share of captions that name a view.
        clay: share that name shape only; the attributes they cannot name have the template's value.

    Example:
        >>> lines, labels = corpus(3, seed=0)
        >>> len(lines), labels.shape == (3, len(TARGETS))
        (3, True)
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
    """A linear classifier for each of TARGETS.

    Args:
        width: of the pooled states.
    """

    def __init__(self, width: int):
        super().__init__()
        self.sizes = [len(options) for options in TARGETS.values()]
        self.linear = nn.Linear(width, sum(self.sizes))

    def forward(self, pooled: Tensor) -> tuple[Tensor, ...]:
        """Return logits of each of TARGETS, (N, values), from pooled states (N, width)."""
        return self.linear(pooled).split(self.sizes, dim=-1)


class Naming(nn.Module):
    """Measure how well TARGETS are classified from a text tower's pooled states: cross-entropy, averaged over them.

    Args:
        width: of the pooled states.
        tokenize: of the captions.
        seed: of captions and batches.
        clay: see `corpus`.
    """

    def __init__(self, width: int, tokenize: Tokenize, seed: int, clay: float = 0.0):
        super().__init__()
        self.heads, self.seed = Heads(width), seed
        lines, self.labels = corpus(CAPTIONS, seed, clay=clay)
        self.captions = tokenize(lines)

    def forward(self, encode: Encode, step: int, batch: int) -> Tensor:
        """Return the loss of a step's `batch` captions."""
        rows = torch.from_numpy(batch_indices(self.seed, step, batch, len(self.captions)))
        device = self.heads.linear.weight.device
        with fast_math():
            scores = self.heads(encode(self.captions[rows].to(device)))
        answers = self.labels[rows].to(device)
        losses = [F.cross_entropy(s.float(), answers[:, k]) for k, s in enumerate(scores)]
        return torch.stack(losses).mean()

    @torch.no_grad()
    def accuracy(self, encode: Encode, tokens: Tensor, labels: Tensor) -> Tensor:
        """Return the share of captions for which each of TARGETS is classified correctly, (targets,).

        Args:
            encode: the text tower.
            tokens: of the captions, (N, L).
            labels: of the captions, (N, targets).
        """
        named = torch.stack([s.argmax(-1) for s in self.heads(encode(tokens))], dim=1)
        return (named == labels).float().mean(0)


def train_words(
    name: str,
    text: nn.Module,
    width: int,
    encode: Encode,
    tokenize: Tokenize,
    work: Path,
    seed: int,
    clay: float = 0.0,
    budget: Budget = BUDGET,
) -> None:
    """Train a text tower in place; print how often attributes of new captions are classified correctly.

    Args:
        name: of the training.
        text: the tower.
        width: of its pooled states.
        encode: its call.
        tokenize: of captions.
        work: where checkpoint and curve go.
        seed: of captions and batches.
        clay: see `corpus`.
        budget: of the training.

    Raises:
        InputError: the checkpoint is of another training.
    """
    torch.manual_seed(seed)
    naming = Naming(width, tokenize, seed, clay)
    facts = {"seed": seed, "clay": clay, "code": code("training.train_text")}
    trainer = Trainer(name, work, {"text": text, "heads": naming.heads}, budget, facts)
    trainer.run(lambda step: naming(encode, step, budget.batch))
    fresh, answers = corpus(FRESH, seed + 1, clay=clay)
    right = naming.accuracy(encode, tokenize(fresh), answers).mean()
    print(f"{name}: {100 * right:.1f}% of attributes classified correctly", flush=True)


def padded_tokens(tokenizer: CLIPTokenizer, lines: list[str]) -> Tensor:
    """Return the tokens of N captions, padded or truncated to the tokenizer's length L: (N, L)."""
    return tokenizer(lines, padding="max_length", truncation=True, return_tensors="pt").input_ids


def train_text(text: CLIPTextModel, tokenizer: CLIPTokenizer, work: Path, seed: int = 3) -> None:
    """Train the prior's text encoder in place; see `train_words`."""
    tokenize = partial(padded_tokens, tokenizer)
    train_words("text", text, text.config.hidden_size, lambda tokens: text(tokens).pooler_output, tokenize, work, seed)
