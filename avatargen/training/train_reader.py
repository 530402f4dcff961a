"""Train a reader: what names a head's attributes from its latents, to teach the prior what its captions ask for.

Squared error knows nothing of what pixels mean: a smile is few of them. The reader sees the prior's own renders alone,
none of a judge's, and no judge is asked here: so they can still tell whether the prior has learnt the words, or only
what pleases the reader. It ships with nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from avatargen.headworld.pools import known
from avatargen.priors.diffusion import add_noise
from avatargen.priors.view_prompts import mirrored
from avatargen.training.artifact_cache import Facts, code
from avatargen.training.dataset import Renders
from avatargen.training.landmarks import Regressor, landmark_loss, standardised
from avatargen.training.train_text import TARGETS, Heads, labels_of
from avatargen.training.trainer import Budget, Trainer, fast_math

BUDGET = Budget(steps=5000, batch=96, lr=2e-3, cool=0.6)
"""After these a reader names .98 of skins, .97 of hair styles and .90 of expressions in front views that it has learnt
from, and .84, .85 and .65 in others. One that was trained for too short, and named .58 of skins, found less and less
missing in 700 steps of a prior that it was asked about, while a judge found hair right in .75 of samples, not in .95.
"""
WIDTHS = (96, 160, 256)
"""Channels at 16 x 16, 8 x 8 and 4 x 4. Squares of 2 x 2 latents are channels: with 48 channels at 32 x 32 a step took
.37 s on two cores, so it takes .20.
"""
MEMBERS = 4
"""Of a family that are seen together: a family has one individual, whose skin tells the same as its relatives'."""
FAMILY, PLACES = 0.5, 0.5
"""Weights of `family_loss` and of landmarks, beside names' one."""
NOISIEST, LITTLE = 130, 1.5
"""Noise hides eyes and mouths from timestep 100 on: uniform draws to the power LITTLE, times NOISIEST, are read."""
FRONT, FRONTS = 70.0, 3.0
"""Families seen from an azimuth up to FRONT, degrees, are FRONTS times as frequent."""
HARD = {
    "age": 3.0, "sex": 3.0, "weight": 1.5, "expression": 4.0, "feature": 3.0, "beard_colour": 2.0, "eyes": 1.5
}  # fmt: skip
"""Weights of attributes that are harder to see than others, whose weight is 1."""


class Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, given: int, made: int, stride: int = 1):
        super().__init__()
        self.first = nn.Conv2d(given, made, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(made), nn.BatchNorm2d(made)])
        around = given != made or stride > 1
        self.around = nn.Conv2d(given, made, 1, stride, bias=False) if around else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = F.silu(self.norms[0](self.first(x)))
        return F.silu(self.norms[1](self.second(inner)) + self.around(x))


class Reader(nn.Module):
    """Logits of each of TARGETS, and landmarks, from latents with noise: 2.9 M parameters.

    Args:
        channels: of the latents.
    """

    def __init__(self, channels: int = 4):
        super().__init__()
        wide, last = WIDTHS[0], WIDTHS[-1]
        first = nn.Conv2d(4 * (channels + 1), wide, 3, 1, 1, bias=False)
        stem = nn.Sequential(nn.PixelUnshuffle(2), first, nn.BatchNorm2d(wide), nn.SiLU())
        levels = [Block(wide, wide)]
        for given, made in pairwise(WIDTHS):
            levels += [Block(given, made, 2)] + ([Block(made, made)] if made < last else [])
        self.body = nn.Sequential(stem, *levels)
        self.places = nn.Sequential(nn.Conv2d(last, 64, 1), nn.Flatten(), nn.Linear(64 * 16, 256), nn.SiLU())
        self.names, self.shape = Heads(256 + last), Regressor(last, 4)

    def forward(
        self, latents: Float[Tensor, "B C 32 32"], signal: Float[Tensor, " B"]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, Tensor]]:
        """What is read in latents of a signal level (alpha-bar): logits of TARGETS, (B, values) each; landmarks."""
        level = (1 - signal).sqrt().view(-1, 1, 1, 1).expand(-1, 1, *latents.shape[2:])
        seen = self.body(torch.cat([latents, level], 1).contiguous(memory_format=torch.channels_last))
        return self.names(torch.cat([self.places(seen), seen.mean((2, 3))], 1)), self.shape(seen)


def family_loss(logits: tuple[Tensor, ...], labels: Int[Tensor, "B targets"], members: int) -> Float[Tensor, ""]:
    """Cross-entropy of whose attributes an image shows, among those of its family (`members` rows in a row).

    What families share drops out, and what captions of relatives differ in is all that is left.
    """
    score = torch.zeros(len(labels) // members, members, members, device=labels.device)
    for values, own in zip(logits, labels.T, strict=True):
        named = values.float().log_softmax(-1).unflatten(0, (-1, members))
        score = score + named.gather(2, own.view(-1, 1, members).expand(-1, members, members))
    answers = torch.arange(members, device=labels.device).repeat(len(score))
    return F.cross_entropy(score.flatten(0, 1), answers)


def misread(told: tuple[Tensor, ...], shown: tuple[Tensor, ...], weights: Sequence[float]) -> Float[Tensor, " B"]:
    """How much less is read in what a network made than in what it ought to make: Kullback-Leibler, over TARGETS.

    What cannot be seen in the true image either (a smile from behind) costs nothing.

    Args:
        told: logits of the true images; shown: of those made.
        weights: of TARGETS.
    """
    return sum(
        weight * F.kl_div(made.float().log_softmax(-1), true.float().softmax(-1), reduction="none").sum(-1)
        for weight, made, true in zip(weights, shown, told, strict=True)
    )


@dataclass(frozen=True)
class Answers:
    """What there is to read in each of N images.

    Attributes:
        labels: indices of the values of TARGETS, (N, targets).
        landmarks, displaced: (N, K, 2) in the image, (N, K, 3) from the template's, of deviation one.
        azimuths: of the cameras, degrees, (N,).
        mirrored: bool (N,), images whose landmarks are another side's, and so none to learn.
    """

    labels: Tensor
    landmarks: Tensor
    displaced: Tensor
    azimuths: Tensor
    mirrored: Tensor


def answers_of(renders: Renders, flips: list[bool]) -> Answers:
    """The answers of copies of renders, one after the other, each mirrored or not."""
    names = TARGETS["view"]
    heads = torch.tensor([labels_of(known(text)) for text in renders.captions])
    views = [[mirrored(view) if flip else view for view in renders.views] for flip in flips]
    labels = [torch.cat([heads, torch.tensor([[names.index(view)] for view in row])], 1) for row in views]
    return Answers(
        labels=torch.cat(labels),
        landmarks=torch.cat([torch.from_numpy(renders.points(flip)) for flip in flips]),
        displaced=standardised(renders.displaced).repeat(len(flips), 1, 1),
        azimuths=torch.from_numpy(renders.azimuths).repeat(len(flips)),
        mirrored=torch.tensor(flips).repeat_interleave(len(heads)),
    )


class ReaderLoss(nn.Module):
    """What a reader learns from families of latents, everything random keyed by (seed, step).

    Args:
        latents: scaled (N, C, h, w); relatives: indices of each one's relatives, (N, R).
        signal: alpha-bar of each timestep.
    """

    def __init__(
        self, latents: Tensor, relatives: Tensor, answers: Answers, signal: Tensor, seed: int, batch: int
    ):  # fmt: skip
        super().__init__()
        self.latents, self.relatives, self.answers = latents, relatives, answers
        self.signal, self.seed, self.members = signal, seed, min(MEMBERS, 1 + relatives.shape[1])
        self.families = batch // self.members
        near = answers.azimuths.abs() <= FRONT
        self.cumulative = torch.where(near, FRONTS, 1.0).double().cumsum(0)
        self.weights = torch.tensor([HARD.get(name, 1.0) for name in TARGETS])

    def forward(self, reader: Reader, step: int) -> Tensor:
        """The loss of a step's families: of their names, of whose names they are, and of their landmarks."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        rows, device = self._families(generator), reader.names.linear.weight.device
        labels, plain = self.answers.labels[rows].to(device), ~self.answers.mirrored[rows]
        found, displaced = (part[rows[plain]].to(device) for part in (self.answers.landmarks, self.answers.displaced))
        t = torch.rand(self.families, generator=generator).pow(LITTLE).mul(NOISIEST).long()
        signal = self.signal[t].repeat_interleave(self.members)
        clean = self.latents[rows].float()
        noisy = add_noise(clean, torch.randn(clean.shape, generator=generator), signal)
        with fast_math():
            logits, shape = reader(noisy.to(device), signal.to(device))
        names = torch.stack([F.cross_entropy(v.float(), y) for v, y in zip(logits, labels.T, strict=True)])
        weights = self.weights.to(device)
        loss = (weights * names).sum() / weights.sum() + FAMILY * family_loss(logits, labels, self.members)
        if not plain.any():
            return loss
        return loss + PLACES * landmark_loss(tuple(part[plain.to(device)] for part in shape), found, displaced)

    def _families(self, generator: torch.Generator) -> Tensor:
        """Rows of images, family after family, those seen from the front more often."""
        uniform = torch.rand(self.families, generator=generator, dtype=torch.float64) * self.cumulative[-1]
        own = torch.searchsorted(self.cumulative, uniform).clamp(max=len(self.cumulative) - 1)
        order = torch.rand(self.families, self.relatives.shape[1], generator=generator).argsort(1)
        others = self.relatives[own].gather(1, order[:, : self.members - 1])
        return torch.cat([own[:, None], others], 1).flatten()


def train_reader(
    latents: Tensor, relatives: Tensor, answers: Answers, signal: Tensor, made_from: Facts, work: Path, seed: int = 4,
    budget: Budget = BUDGET,
) -> Reader:  # fmt: skip
    """Train a reader; it comes back frozen.

    Args:
        made_from: facts of the latents.
    """
    torch.manual_seed(seed)
    reader = Reader(latents.shape[1]).to(memory_format=torch.channels_last)
    loss = ReaderLoss(latents, relatives, answers, signal, seed, budget.batch)
    facts = {"seed": seed, "code": code("train_reader"), **made_from}
    Trainer("reader", work, {"reader": reader}, budget, facts).run(lambda step: loss(reader, step))
    return reader.eval().requires_grad_(False)
