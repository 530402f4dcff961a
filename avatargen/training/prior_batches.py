"""Make the prior's training batches: which samples are shown, under which captions, at which timesteps.

A share of each batch is pairs: one noisy image under its own caption, and under a relative's, whose head it then ought
to become. From noisy images alone a network hardly learns what covers few pixels: at most timesteps the image says more
of a smile than the caption, a smile is 1% of the error, and the noise hides it. A relative's caption says what the
image does not, as when score distillation begins at the template.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.priors.diffusion import add_noise
from avatargen.training.prior_parts import build_scheduler
from avatargen.training.trainer import batch_indices

EARLY = 1.5
"""Exponent of the pairs' timesteps: 1 trains the middle of the schedule most, more trains its beginning, where details
are decided.

These latents are flat where colours are, so little noise hides a face: at timestep 100 a prior that saw 4% of its
samples below it (exponent 1.2) has neither eyes nor lips in its estimate of a pale head. One that saw a quarter of them
there (2.2) forgot what high noise decides: after 5,700 steps 70% of its samples had the right hair colour, 98% before.
With 1.5 for all samples it forgot some too, so samples in no pair are spread evenly.
"""
PAIRED = 0.5
"""Share of samples in pairs."""
EDIT_FROM = 25
"""Lowest timestep of pairs: what is in plain sight stays."""
CHANGED = 0.3
"""Difference of a latent from a relative's that counts as a full change."""
SEEN = 0.008
"""Least share of the image by which relatives must differ to be a pair: from behind, no smile is seen.

Relatives that differ in less are drawn more often, in inverse proportion to the root of that share. In inverse
proportion to the share itself, pairs that differ in hair were so few that its colours were forgotten.
"""
UNCONDITIONAL = 0.12
"""Share of samples trained with an empty prompt, for classifier-free guidance (arXiv 2207.12598)."""


@dataclass(frozen=True)
class Samples:
    """What the prior is trained on.

    Attributes:
        latents: scaled, float16 (N, 4, h, w).
        weights: of the loss, float16 (N, 1, h, w); see `loss_weights`.
        relatives: indices of each sample's relatives, (N, R); see `relatives`.
        prompts: N texts.
    """

    latents: Tensor
    weights: Tensor
    relatives: Tensor
    prompts: list[str]


@dataclass(frozen=True)
class Shown:
    """What one step shows, B rows: P under their relatives' captions, the same P under their own, then others.

    Attributes:
        rows: index of the sample whose caption is shown, (B,).
        pairs: P.
        latents: what is under the noise, (B, C, h, w).
        target: what the captions make of it, (B, C, h, w).
        noisy: latents with noise, (B, C, h, w).
        t: timesteps, (B,).
        signal: alpha-bar at `t`, (B,).
        tokens: of the captions, (B, L).
        untold: bool (B,), which captions are replaced by the empty prompt.
    """

    rows: Tensor
    pairs: int
    latents: Tensor
    target: Tensor
    noisy: Tensor
    t: Tensor
    signal: Tensor
    tokens: Tensor
    untold: Tensor


class PriorBatches:
    """Make batches, each a function of (seed, step), on the CPU.

    Timesteps of pairs are means of two uniform draws to the power EARLY (cf. arXiv 2403.03206, 3.1), those of other
    samples are uniform.

    Args:
        samples: the data set.
        tokens: of the samples' prompts, (N, L).
        empty: tokens of the empty prompt, (L,).
        seed: of everything random.
        batch: B.
    """

    def __init__(self, samples: Samples, tokens: Tensor, empty: Tensor, seed: int, batch: int):
        self.samples, self.tokens, self.empty, self.seed, self.batch = samples, tokens, empty, seed, batch
        self.signal = build_scheduler().alphas_cumprod
        share = changed_share(samples)
        weight = share.rsqrt().where(share > SEEN, torch.tensor(1e-6)).flatten().double()
        self.cumulative = weight.cumsum(0) / weight.sum()

    def __call__(self, step: int) -> Shown:
        """Return the batch of a step."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        pairs, samples = round(PAIRED * self.batch / 2), self.samples
        own, told = self._pairs(pairs, generator)
        alone = torch.from_numpy(batch_indices(self.seed, step, self.batch - 2 * pairs, len(samples.latents)))
        rows, seen = torch.cat([told, own, alone]), torch.cat([own, own, alone])
        latents, single = samples.latents[seen].float(), self.batch - pairs
        noise = _twice(torch.randn(single, *latents.shape[1:], generator=generator), pairs)
        drawn = torch.rand(2, single, generator=generator)
        share = torch.cat([drawn[:, :pairs].mean(0).pow(EARLY), drawn[0, pairs:]])
        t = (share * len(self.signal)).long()
        t[:pairs].clamp_(min=EDIT_FROM)
        t = _twice(t, pairs)
        untold = torch.rand(self.batch, generator=generator) < UNCONDITIONAL / (1 - PAIRED)
        untold[: 2 * pairs] = False
        noisy = add_noise(latents, noise, self.signal[t]).contiguous(memory_format=torch.channels_last)
        tokens = torch.where(untold[:, None], self.empty, self.tokens[rows])
        return Shown(rows, pairs, latents, samples.latents[rows].float(), noisy, t, self.signal[t], tokens, untold)

    def _pairs(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return indices of samples and of a relative of each, preferring relatives that differ in little."""
        uniform = torch.rand(count, generator=generator, dtype=torch.float64)
        drawn = torch.searchsorted(self.cumulative, uniform).clamp(max=len(self.cumulative) - 1)
        size = self.samples.relatives.shape[1]
        rows = torch.div(drawn, size, rounding_mode="floor")
        return rows, self.samples.relatives[rows, drawn % size]


def _twice(values: Tensor, first: int) -> Tensor:
    """Return the first `first` rows, followed by all rows."""
    return torch.cat([values[:first], values])


def changes(own: Float[Tensor, "N 4 h w"], relative: Float[Tensor, "N 4 h w"]) -> Float[Tensor, "N 1 h w"]:
    """Return how far latents differ from a relative's, from 0 to 1 (by CHANGED or more).

    Example:
        >>> changes(torch.zeros(1, 4, 1, 1), torch.full((1, 4, 1, 1), 0.15)).item()
        0.5
    """
    return ((own - relative).abs().mean(1, keepdim=True) / CHANGED).clamp(max=1)


def changed_share(samples: Samples) -> Float[Tensor, "N R"]:
    """Return the share of the image in which each sample differs from each of its relatives."""
    made = torch.empty(samples.relatives.shape)
    for rows in torch.arange(len(made)).split(1024):
        own = samples.latents[rows].float()
        for k, relative in enumerate(samples.relatives[rows].T):
            made[rows, k] = changes(own, samples.latents[relative].float()).mean((1, 2, 3))
    return made
