"""What the mini prior learns from: errors of v, of what captions change, and what a reader misses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel

from avatargen.priors.diffusion import add_noise
from avatargen.training.prior_parts import build_scheduler
from avatargen.training.train_reader import misread
from avatargen.training.train_text import TARGETS
from avatargen.training.trainer import batch_indices, fast_math

EARLY = 1.5
"""Of pairs' timesteps: 1 trains the middle of the schedule most, more its beginning, where details are decided.

These latents are flat where colours are, so that little noise hides a face: at timestep 100 a prior that saw 4% of its
samples below that (1.2) has neither eyes nor lips in its estimate of a pale head. With 2.2, a quarter of them, it
forgot what high noise decides: after 5,700 steps 70% of its samples had the hair's colour right, of 98% before. With
1.5 for all samples it forgot some, too: where its predecessor of some 15,000 steps before took over above timestep 600,
a judge found .73 of 120 samples instead of .68. So samples that are in no pair are spread evenly.
"""
PAIRED = 0.5
"""Share of samples in pairs: one noisy image under its own caption and under a relative's; see `PriorLoss`."""
EDIT_FROM = 25
"""Timestep below which there are none: what is in plain sight stays."""
CHANGED = 0.3
"""Difference of a latent from a relative's that counts as a change of all of it."""
CHANGE, SMALLEST = 1.0, 0.004
"""Error added by leaving all as it is in the relative, whatever the change; of changes smaller than SMALLEST, less.

So another expression, whose squared difference is 1/30 of that of the template's shape, weighs as much.
"""
SEEN = 0.008
"""Share of the image by which relatives must differ, that one is shown for the other: from behind no smile is seen.

Those that differ in less of it are shown more often, in inverse proportion to that share's root: in inverse proportion
to itself, pairs that differ in hair were so few that its colours were forgotten.
"""
DIFFERENCE = 3.0
"""Weight of the error of what the other caption changes, beside each one's own error.

Of the true difference of relatives' latents (front views, timestep 300), a prior that was trained without this made
.04 where captions differ in expression, .07 in sex, .12 in age, .13 in the beard's colour; after 2,200 steps of pairs
it was .16, .20, .25 and .40.
"""
READING, MISREAD, TAKEN = 0.4, 3.0, 2.0
"""Weights of what a reader misses in the estimates: altogether, of what it names, and of whose attributes those are.

Its gradient is several times as long as that of the errors, most of which is what no caption tells. In 1,500 steps on
from a prior that had never met a reader, with 0.8, the share of pairs' estimates that show the attributes told rather
than the image's went from .69 to .76 (of the true latents .88), and faces got eyes and teeth; in 2,700 more, with 0.4
and a better reader, from .76 to .80 (of .91), and a judge found expressions in .70 of samples instead of .57.
"""
SUBTLE = {"age": 3.0, "sex": 2.0, "expression": 2.0, "feature": 2.0, "weight": 1.5, "eyes": 1.5}
"""How much more what is missed of some attributes weighs: those that samples and avatars miss most."""
_UNSCALED = [SUBTLE.get(name, 1.0) for name in TARGETS]
WEIGHTS = [weight * len(TARGETS) / sum(_UNSCALED) for weight in _UNSCALED]
"""Of TARGETS, one on average."""
READ_AT = (5, 110)
"""Timesteps of the noise that estimates are read under."""
UNCONDITIONAL = 0.12
"""Share of samples trained with an empty prompt, for classifier-free guidance (Ho & Salimans 2022)."""


@dataclass(frozen=True)
class Samples:
    """What the prior is trained on.

    Attributes:
        latents: scaled, float16 (N, 4, h, w).
        weights: float16 (N, 1, h, w); see `loss_weights`.
        relatives: indices of each sample's relatives, (N, R); see `relatives`.
        prompts: N texts.
    """

    latents: Tensor
    weights: Tensor
    relatives: Tensor
    prompts: list[str]


@dataclass(frozen=True)
class Shown:
    """What one step of training shows, B rows: pairs first, under relatives' captions, again under their own, others.

    Attributes:
        rows: indices of the samples whose captions are told; pairs: how many rows are told a relative's.
        latents, target: what is under the noise, and what the captions make of it, (B, C, h, w).
        noisy, t, signal: latents with noise, their timesteps and alpha-bar, (B,).
        tokens: (B, L); untold: which are the empty prompt's, bool (B,).
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


class Reading(nn.Module):
    """What a reader misses in the prior's estimates, beside what it reads in the true latents.

    Both get the same noise first, so that no pattern below it can please the reader. For each estimate: how much less
    is read in it (see `misread`); for pairs, whose attributes are read in it, the image's or those told, against the
    same question of the true latents, so that there is nothing to gain beyond them.

    Args:
        reader: gives logits of TARGETS, and landmarks, as a `Reader` does.
        labels: of the samples, (N, targets).
    """

    def __init__(self, reader: nn.Module, labels: Tensor, signal: Tensor, seed: int):
        super().__init__()
        self.reader, self.labels, self.signal, self.seed = reader, labels, signal, seed

    def forward(self, estimate: Tensor, shown: Shown, step: int) -> Tensor:
        generator, count = torch.Generator().manual_seed(self.seed * 1_000_003 + step), len(estimate)
        signal = self.signal[torch.randint(*READ_AT, (count,), generator=generator)].to(estimate.device)
        noise = torch.randn(estimate.shape, generator=generator).to(estimate.device)
        with fast_math():
            made, _ = self.reader(add_noise(estimate, noise, signal), signal)
            with torch.no_grad():
                true, _ = self.reader(add_noise(shown.target.to(estimate.device), noise, signal), signal)
        missed = (misread(true, made, WEIGHTS) * ~shown.untold.to(estimate.device)).mean() / len(made)
        taken, due = (self._margins(logits, shown) for logits in (made, true))
        pairs = F.binary_cross_entropy_with_logits(taken, due.clamp(min=0).sigmoid())
        return MISREAD * missed + TAKEN * 2 * shown.pairs / count * pairs

    def _margins(self, logits: tuple[Tensor, ...], shown: Shown) -> Tensor:
        """Log odds, in each row of pairs, of the attributes told against those of the other of the pair."""
        pairs = shown.pairs
        labels = self.labels[shown.rows[: 2 * pairs]].to(logits[0].device)
        other, odds = labels.roll(pairs, 0), torch.zeros(2 * pairs, device=labels.device)
        for k, values in enumerate(logits):
            named = values[: 2 * pairs].float().log_softmax(-1)
            odds = odds + (named.gather(1, labels[:, k : k + 1]) - named.gather(1, other[:, k : k + 1]))[:, 0]
        return odds


class PriorLoss(nn.Module):
    """Weighted mean squared error of v (arXiv 2202.00512, eq. 10), everything random keyed by (seed, step).

    Computed on the device of the modules given. Timesteps of pairs are means of two uniform draws to the power EARLY
    (cf. arXiv 2403.03206, 3.1), those of other samples uniform.

    A PAIRED share of the samples are pairs: under noise, the same image is shown with its own caption, and with a
    relative's, whose head it then ought to become: the same individual in the same view, light and background, with
    other attributes. From noisy images alone a network hardly learns what few pixels show: at most timesteps the image
    says more of a smile than its caption does, a smile is 1% of the error, and the noise hides that (of this prior's
    predecessor, after 34,400 steps, neither plain errors nor a margin between those of right and wrong captions taught
    it any expression). A relative says all but what the caption has to, which is also where score distillation begins:
    at the template under little noise. Weighed by the area that changes alone, that taught hair, sex and weight, but in
    6,900 steps still neither expressions nor features: hence CHANGE. These errors are measured on the image, not on v,
    that is times 1 - a.

    Most of both errors of a pair is what no caption tells, and the same in both; so the error of their difference,
    which is what classifier-free guidance multiplies, counts DIFFERENCE times beside them. It is least where they are.

    Args:
        tokens: of the samples' prompts (N, L); empty: of the empty one (L,).
        reading: adds, times READING, what estimates lack as a reader sees it, from step `read_from` on.
    """

    def __init__(
        self, samples: Samples, tokens: Tensor, empty: Tensor, seed: int, batch: int, reading: Reading | None = None,
        read_from: int = 0,
    ):  # fmt: skip
        super().__init__()
        self.samples, self.tokens, self.empty, self.seed, self.batch = samples, tokens, empty, seed, batch
        self.reading, self.read_from = reading, read_from
        self.signal = build_scheduler().alphas_cumprod
        share = changed_share(samples)
        weight = share.rsqrt().where(share > SEEN, torch.tensor(1e-6)).flatten().double()
        self.cumulative = weight.cumsum(0) / weight.sum()

    def forward(self, unet: UNet2DConditionModel, text: CLIPTextModel, step: int) -> Tensor:
        shown = self._draw(step)
        with fast_math():
            made = unet(shown.noisy.to(unet.device), shown.t.to(unet.device), text(shown.tokens.to(text.device))[0])
        velocity, a = made.sample.float(), shown.signal.view(-1, 1, 1, 1).to(unet.device)
        loss = self._error(velocity, shown, a)
        if self.reading is None or step < self.read_from:
            return loss
        estimate = a.sqrt() * shown.noisy.to(unet.device) - (1 - a).sqrt() * velocity
        return loss + READING * self.reading(estimate, shown, step)

    def _draw(self, step: int) -> Shown:
        """What a step shows to the network: pairs first, under their relatives' captions, then under their own."""
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

    def _error(self, velocity: Tensor, shown: Shown, a: Tensor) -> Tensor:
        """Weighted squared errors of v, and of what captions make of it in pairs."""
        pairs, before, after = shown.pairs, shown.latents[: shown.pairs], shown.target[: shown.pairs]
        right = (a.sqrt() * shown.noisy.to(a.device) - shown.target.to(a.device)) / (1 - a).sqrt()
        error = velocity - right
        change, square = changes(after, before), (after - before).square()
        change = CHANGE * change / (change * square).mean((1, 2, 3), keepdim=True).clamp(min=SMALLEST)
        weights = self.samples.weights[shown.rows].float()
        changed = (weights[:pairs] + change) * (1 - shown.signal[:pairs].view(-1, 1, 1, 1))
        weights[:pairs] = changed
        difference = (error[:pairs] - error[pairs : 2 * pairs]).square() * changed.to(a.device)
        plain = (error.square() * weights.to(a.device)).mean()
        return plain + DIFFERENCE * pairs / self.batch * difference.mean()

    def _pairs(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Indices of samples, and of a relative of each, which differ more often in little than in much."""
        uniform = torch.rand(count, generator=generator, dtype=torch.float64)
        drawn = torch.searchsorted(self.cumulative, uniform).clamp(max=len(self.cumulative) - 1)
        size = self.samples.relatives.shape[1]
        rows = torch.div(drawn, size, rounding_mode="floor")
        return rows, self.samples.relatives[rows, drawn % size]


def _twice(values: Tensor, first: int) -> Tensor:
    """The first `first` rows, and again all rows."""
    return torch.cat([values[:first], values])


def changes(own: Float[Tensor, "N 4 h w"], relative: Float[Tensor, "N 4 h w"]) -> Float[Tensor, "N 1 h w"]:
    """How far latents differ from a relative's, from 0 to 1 (by CHANGED or more)."""
    return ((own - relative).abs().mean(1, keepdim=True) / CHANGED).clamp(max=1)


def changed_share(samples: Samples) -> Float[Tensor, "N R"]:
    """The share of the image in which each sample differs from each of its relatives."""
    made = torch.empty(samples.relatives.shape)
    for rows in torch.arange(len(made)).split(1024):
        own = samples.latents[rows].float()
        for k, relative in enumerate(samples.relatives[rows].T):
            made[rows, k] = changes(own, samples.latents[relative].float()).mean((1, 2, 3))
    return made
