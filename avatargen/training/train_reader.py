"""Train a reader, which names a head's attributes from its latents, to teach the prior what its captions ask for.

Squared error ignores what pixels mean: a smile covers few of them. The reader sees the prior's own renders, none of a
judge's, and no judge is asked here. So a judge can still tell whether the prior has learnt the words, or only what
pleases the reader. The reader is not shipped.
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
"""A reader trained so names 0.98 of skins, 0.97 of hair styles and 0.90 of expressions in front views that it has seen,
and 0.84, 0.85 and 0.65 in others.

One that was trained too briefly, and named 0.58 of skins, missed less and less in 700 steps of a prior that used it,
while a judge found hair right in 0.75 of the samples instead of 0.95.
"""
WIDTHS = (96, 160, 256)
"""Channels at 16 x 16, 8 x 8 and 4 x 4.

Squares of 2 x 2 latents are channels: a step takes 0.20 s on two cores; with 48 channels at 32 x 32 it took 0.37 s.
"""
MEMBERS = 4
"""Members of a family in a batch; a family has one individual, so its skin says nothing about which member it is."""
FAMILY, PLACES = 0.5, 0.5
"""Weights of `family_loss` and of landmarks; that of the names is 1."""
NOISIEST, LITTLE = 130, 1.5
"""Timesteps are uniform draws to the power LITTLE, times NOISIEST: from 100 on, noise hides eyes and mouths."""
FRONT, FRONTS = 70.0, 3.0
"""Families seen from an azimuth up to FRONT, degrees, are FRONTS times as frequent."""
HARD = {
    "age": 3.0,
    "sex": 3.0,
    "weight": 1.5,
    "expression": 4.0,
    "feature": 3.0,
    "beard_colour": 2.0,
    "eyes": 1.5,
}
"""Weights of the attributes that are harder to see; others have 1."""


class Block(nn.Module):
    """A residual block of two convolutions.

    Args:
        given: channels of the input.
        made: channels of the output.
        stride: of the first convolution.
    """

    def __init__(self, given: int, made: int, stride: int = 1):
        super().__init__()
        self.first = nn.Conv2d(given, made, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(made), nn.BatchNorm2d(made)])
        around = given != made or stride > 1
        self.around = nn.Conv2d(given, made, 1, stride, bias=False) if around else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        inner = F.silu(self.norms[0](self.first(x)))
        return F.silu(self.norms[1](self.second(inner)) + self.around(x))


class Reader(nn.Module):
    """Predict TARGETS and landmarks from noisy latents; 2.9 M parameters.

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
        """Return what is read in latents of a signal level (alpha-bar).

        Returns:
            Logits of each of TARGETS, (B, values); landmarks in the image, (B, K, 2), and displaced, (B, K, 3).
        """
        level = (1 - signal).sqrt().view(-1, 1, 1, 1).expand(-1, 1, *latents.shape[2:])
        seen = self.body(torch.cat([latents, level], 1).contiguous(memory_format=torch.channels_last))
        return self.names(torch.cat([self.places(seen), seen.mean((2, 3))], 1)), self.shape(seen)


def family_loss(logits: tuple[Tensor, ...], labels: Int[Tensor, "B targets"], members: int) -> Float[Tensor, ""]:
    """Return the cross-entropy of whose attributes an image shows, among the members of its family.

    What the members share cancels; only what their captions differ in is left.

    Args:
        logits: of each of TARGETS, (B, values).
        labels: of the images, `members` rows of each family in a row.
        members: of each family.

    Example:
        >>> labels = torch.zeros(2, len(TARGETS), dtype=torch.long)  # two that look alike
        >>> logits = tuple(torch.zeros(2, len(values)) for values in TARGETS.values())
        >>> round(family_loss(logits, labels, 2).item(), 4)  # log 2
        0.6931
    """
    score = torch.zeros(len(labels) // members, members, members, device=labels.device)
    for values, own in zip(logits, labels.T, strict=True):
        named = values.float().log_softmax(-1).unflatten(0, (-1, members))
        score = score + named.gather(2, own.view(-1, 1, members).expand(-1, members, members))
    answers = torch.arange(members, device=labels.device).repeat(len(score))
    return F.cross_entropy(score.flatten(0, 1), answers)


def misread(told: tuple[Tensor, ...], shown: tuple[Tensor, ...], weights: Sequence[float]) -> Float[Tensor, " B"]:
    """Return how much less is read in a network's images than in the true ones: Kullback-Leibler, summed over TARGETS.

    What cannot be seen in the true image either (a smile from behind) costs nothing.

    Args:
        told: logits of the true images.
        shown: logits of the network's.
        weights: of TARGETS.
    """
    parts = [
        weight * F.kl_div(made.float().log_softmax(-1), true.float().softmax(-1), reduction="none").sum(-1)
        for weight, made, true in zip(weights, shown, told, strict=True)
    ]
    return torch.stack(parts).sum(0)


@dataclass(frozen=True)
class Answers:
    """What there is to read in each of N images.

    Attributes:
        labels: indices of the values of TARGETS, (N, targets).
        landmarks: in the image, (N, K, 2).
        displaced: from where the template has them, standardised, (N, K, 3).
        azimuths: of the cameras, degrees, (N,).
        mirrored: bool (N,); the landmarks of these are on the wrong side, and are not learnt.
    """

    labels: Tensor
    landmarks: Tensor
    displaced: Tensor
    azimuths: Tensor
    mirrored: Tensor


def answers_of(renders: Renders, flips: list[bool]) -> Answers:
    """Return the answers of copies of renders, one after the other.

    Args:
        renders: the data set.
        flips: of each copy, whether it is mirrored.
    """
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
    """Compute a reader's loss on families of latents; everything random is keyed by (seed, step).

    Args:
        latents: scaled, (N, C, h, w).
        relatives: indices of each one's relatives, (N, R).
        answers: what there is to read.
        signal: alpha-bar of each timestep.
        seed: of families and noise.
        batch: images per step.
    """

    def __init__(self, latents: Tensor, relatives: Tensor, answers: Answers, signal: Tensor, seed: int, batch: int):
        super().__init__()
        self.latents, self.relatives, self.answers = latents, relatives, answers
        self.signal, self.seed, self.members = signal, seed, min(MEMBERS, 1 + relatives.shape[1])
        self.families = batch // self.members
        near = answers.azimuths.abs() <= FRONT
        self.cumulative = torch.where(near, FRONTS, 1.0).double().cumsum(0)
        self.weights = torch.tensor([HARD.get(name, 1.0) for name in TARGETS])

    def forward(self, reader: Reader, step: int) -> Tensor:
        """Return the loss of a step: of the names, of whose names they are, and of the landmarks."""
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
        """Return rows of images, family after family; those seen from the front are more frequent."""
        uniform = torch.rand(self.families, generator=generator, dtype=torch.float64) * self.cumulative[-1]
        own = torch.searchsorted(self.cumulative, uniform).clamp(max=len(self.cumulative) - 1)
        order = torch.rand(self.families, self.relatives.shape[1], generator=generator).argsort(1)
        others = self.relatives[own].gather(1, order[:, : self.members - 1])
        return torch.cat([own[:, None], others], 1).flatten()


def train_reader(
    latents: Tensor,
    relatives: Tensor,
    answers: Answers,
    signal: Tensor,
    made_from: Facts,
    work: Path,
    seed: int = 4,
    budget: Budget = BUDGET,
) -> Reader:
    """Train a reader and return it, frozen.

    Args:
        latents: scaled, (N, C, h, w).
        relatives: indices of each one's relatives, (N, R).
        answers: what there is to read.
        signal: alpha-bar of each timestep.
        made_from: facts of the latents.
        work: where checkpoint and curve go.
        seed: of weights, families and noise.
        budget: of the training.

    Raises:
        InputError: the checkpoint is of another training.
    """
    torch.manual_seed(seed)
    reader = Reader(latents.shape[1]).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    loss = ReaderLoss(latents, relatives, answers, signal, seed, budget.batch)
    facts = {"seed": seed, "code": code("training.train_reader"), **made_from}
    Trainer("reader", work, {"reader": reader}, budget, facts).run(lambda step: loss(reader, step))
    return reader.eval().requires_grad_(False)
