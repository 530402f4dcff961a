"""Compute the mini prior's loss: errors of v, of what captions change, and what a reader misses."""

# diffusers loads its names lazily, and its types of `.to`, configurations and outputs are too narrow.
# pyright: reportPrivateImportUsage=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel

from avatargen.priors.diffusion import add_noise
from avatargen.training.prior_batches import PriorBatches, Samples, Shown, changes
from avatargen.training.train_reader import misread
from avatargen.training.train_text import TARGETS
from avatargen.training.trainer import fast_math

CHANGE, SMALLEST = 1.0, 0.004
"""Error added for leaving a pair's image as it is, whatever the change; less for changes smaller than SMALLEST.

So another expression, whose squared difference is 1/30 of that of the template's shape, weighs as much.
"""
DIFFERENCE = 3.0
"""Weight of the error of what the other caption changes, beside the error of each caption.

A prior that was trained without it made these shares of the true difference of relatives' latents (front views,
timestep 300): 0.04 where captions differ in expression, 0.07 in sex, 0.12 in age, 0.13 in the beard's colour. After
2,200 steps of pairs with it: 0.16, 0.20, 0.25 and 0.40.
"""
READING, MISREAD, TAKEN = 0.4, 3.0, 2.0
"""Weights of what a reader misses in the estimates: of all of it, of the names, of whose attributes they are.

Its gradient is several times as long as that of the errors, most of which no caption tells. In 1,500 steps from a prior
that had never met a reader, with READING 0.8, the share of pairs' estimates that show the caption's attributes rather
than the image's went from 0.69 to 0.76 (of the true latents: 0.88). In 2,700 more steps, with 0.4 and a better reader,
it went from 0.76 to 0.80 (0.91), and a judge found expressions in 0.70 of samples instead of 0.57.
"""
SUBTLE = {"age": 3.0, "sex": 2.0, "expression": 2.0, "feature": 2.0, "weight": 1.5, "eyes": 1.5}
"""Relative weights of the attributes that samples and avatars miss most; others have 1."""
_UNSCALED = [SUBTLE.get(name, 1.0) for name in TARGETS]
WEIGHTS = [weight * len(TARGETS) / sum(_UNSCALED) for weight in _UNSCALED]
"""Weights of TARGETS, 1 on average."""
READ_AT = (5, 110)
"""Range of timesteps of the noise that estimates are read under."""


class Reading(nn.Module):
    """Measure what a reader misses in the prior's estimates, relative to what it reads in the true latents.

    Both get the same noise first, so that no pattern below it can please the reader. Each estimate costs what is read
    in it less than in the truth (see `misread`). A pair also costs the cross-entropy of whose attributes are read in
    it, the image's or the caption's, against the same reading of the truth: exaggeration gains nothing.

    Args:
        reader: frozen.
        labels: of all samples, (N, targets).
        signal: alpha-bar of each timestep.
        seed: of the noise.
    """

    def __init__(self, reader: nn.Module, labels: Tensor, signal: Tensor, seed: int):
        super().__init__()
        self.reader, self.labels, self.signal, self.seed = reader, labels, signal, seed

    def forward(self, estimate: Tensor, shown: Shown, step: int) -> Tensor:
        """Return the loss of a step's estimates of the clean latents, (B, C, h, w)."""
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
        """Return, for each row of pairs, the log odds of the caption's attributes against the other caption's."""
        pairs = shown.pairs
        labels = self.labels[shown.rows[: 2 * pairs]].to(logits[0].device)
        other, odds = labels.roll(pairs, 0), torch.zeros(2 * pairs, device=labels.device)
        for k, values in enumerate(logits):
            named = values[: 2 * pairs].float().log_softmax(-1)
            odds = odds + (named.gather(1, labels[:, k : k + 1]) - named.gather(1, other[:, k : k + 1]))[:, 0]
        return odds


class PriorLoss(nn.Module):
    """Compute the weighted squared error of v (arXiv 2202.00512, eq. 10), on the device of the networks.

    Errors of relatives' captions are weighed by what changes (CHANGE), and measured on the image, not on v: times
    1 - a. Weighed by the changed area alone, 6,900 steps taught hair, sex and weight, but neither expressions nor
    features.

    Most of both errors of a pair is what no caption tells, and is the same in both. So the error of their difference,
    which is what classifier-free guidance multiplies, is added with weight DIFFERENCE. It is least where both are.

    Args:
        samples: the data set.
        tokens: of the samples' prompts, (N, L).
        empty: tokens of the empty prompt, (L,).
        seed: of everything random.
        batch: samples per step.
        reading: adds what a reader misses in the estimates, with weight READING.
        read_from: first step with `reading`.
    """

    def __init__(
        self,
        samples: Samples,
        tokens: Tensor,
        empty: Tensor,
        seed: int,
        batch: int,
        reading: Reading | None = None,
        read_from: int = 0,
    ):
        super().__init__()
        self.batches = PriorBatches(samples, tokens, empty, seed, batch)
        self.reading, self.read_from = reading, read_from

    def forward(self, unet: UNet2DConditionModel, text: CLIPTextModel, step: int) -> Tensor:
        """Return the loss of a step."""
        shown = self.batches(step)
        with fast_math():
            made = unet(shown.noisy.to(unet.device), shown.t.to(unet.device), text(shown.tokens.to(text.device))[0])
        velocity, a = made.sample.float(), shown.signal.view(-1, 1, 1, 1).to(unet.device)
        loss = self._error(velocity, shown, a)
        if self.reading is None or step < self.read_from:
            return loss
        estimate = a.sqrt() * shown.noisy.to(unet.device) - (1 - a).sqrt() * velocity
        return loss + READING * self.reading(estimate, shown, step)

    def _error(self, velocity: Tensor, shown: Shown, a: Tensor) -> Tensor:
        """Return the weighted squared errors of v, and of what captions change in pairs."""
        pairs, before, after = shown.pairs, shown.latents[: shown.pairs], shown.target[: shown.pairs]
        right = (a.sqrt() * shown.noisy.to(a.device) - shown.target.to(a.device)) / (1 - a).sqrt()
        error = velocity - right
        change, square = changes(after, before), (after - before).square()
        change = CHANGE * change / (change * square).mean((1, 2, 3), keepdim=True).clamp(min=SMALLEST)
        weights = self.batches.samples.weights[shown.rows].float()
        changed = (weights[:pairs] + change) * (1 - shown.signal[:pairs].view(-1, 1, 1, 1))
        weights[:pairs] = changed
        difference = (error[:pairs] - error[pairs : 2 * pairs]).square() * changed.to(a.device)
        plain = (error.square() * weights.to(a.device)).mean()
        return plain + DIFFERENCE * pairs / self.batches.batch * difference.mean()
