"""Train the mini prior: its text encoder first, then with the UNet; an ordinary StableDiffusionPipeline folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from avatargen.distill import add_noise
from avatargen.headworld.kept import Facts, code
from avatargen.headworld.tokens import LENGTH
from avatargen.headworld.train_reader import Reader, misread
from avatargen.headworld.train_text import Naming, train_text
from avatargen.headworld.training import Budget, Trainer, batch_indices, fast_math

BUDGET = Budget(steps=40_000, batch=32, lr=8e-4, cool=0.5)
BACKGROUND = 0.25
"""Weight of the loss where there is only a background: a random colour, about which a prompt says nothing."""
DETAIL = 3.0
"""Weight added where landmarks lie, densest on mouth, eyes, nose and ears: a smile is few of a head's pixels."""
EARLY = 1.5
"""Of timesteps: 1 trains the middle of the schedule most, more its beginning, where details are decided.

These latents are flat where colours are, so that little noise hides a face: at timestep 100 a prior that saw 4% of its
samples below that (1.2) has neither eyes nor lips in its estimate of a pale head. With 2.2, a quarter of them, it
forgot what high noise decides: after 5,700 steps 70% of its samples had the hair's colour right, of 98% before.
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
NAMING = 0.05
"""Weight of the naming of attributes, which goes on while the UNet is trained.

Without it the text encoder forgot what few pixels show: after 31,700 steps a linear classifier named the expression of
45% of captions rightly (the commonest is 44% of them), and the UNet had never learnt what the words for it do. They are
named from what the time embedding takes from the prompt, since that is what all of the UNet hears: named from the end
token's state they did not get there.
"""
DIFFERENCE = 3.0
"""Weight of the error of what the other caption changes, beside each one's own error.

Of the true difference of relatives' latents (front views, timestep 300), a prior that was trained without this made
.04 where captions differ in expression, .07 in sex, .12 in age, .13 in the beard's colour; after 2,200 steps of pairs
it was .16, .20, .25 and .40.
"""
READING, MISREAD, TAKEN = 0.2, 3.0, 2.0
"""Weights of what a reader misses in the estimates: altogether, of what it names, and of whose attributes those are.

With 0.2 its gradient is nearly as long as that of the errors.
"""
READ_AT = (5, 110)
"""Timesteps of the noise that estimates are read under."""
UNCONDITIONAL = 0.12
"""Share of samples trained with an empty prompt, for classifier-free guidance (Ho & Salimans 2022)."""


def build_unet() -> UNet2DConditionModel:
    """An untrained UNet of 9.3 M parameters for 32 x 32 x 4 latents.

    Four levels, attention at 8 x 8 only: attention at 16 x 16 as well cost 45% more for each evaluation. What
    the whole prompt says reaches every block through the time embedding (`addition_embed_type`, scale and shift):
    colours that fill a region need not wait for cross-attention.
    """
    return UNet2DConditionModel(
        sample_size=32,
        block_out_channels=(48, 96, 160, 160),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        cross_attention_dim=96,
        attention_head_dim=4,
        norm_num_groups=16,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained two-layer CLIP text encoder of width 96."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=96, intermediate_size=384, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=LENGTH, projection_dim=96,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return CLIPTextModel(config)


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule, v prediction: where noise is high, an epsilon hardly tells of the text."""
    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        set_alpha_to_one=False, steps_offset=1, prediction_type="v_prediction",
    )  # fmt: skip


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
        missed = (misread(true, made) * ~shown.untold.to(estimate.device)).mean() / len(made)
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

    Computed on the device of the modules given. Timesteps are means of two uniform draws to the power EARLY (cf. arXiv
    2403.03206, 3.1).

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
        reading: adds what estimates lack, as a reader sees it, times READING.
    """

    def __init__(
        self, samples: Samples, tokens: Tensor, empty: Tensor, seed: int, batch: int, reading: Reading | None = None
    ):  # fmt: skip
        super().__init__()
        self.samples, self.tokens, self.empty, self.seed, self.batch = samples, tokens, empty, seed, batch
        self.reading = reading
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
        if self.reading is None:
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
        t = (torch.rand(2, single, generator=generator).mean(0).pow(EARLY) * len(self.signal)).long()
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


def relatives(families: Int[np.ndarray, " M"], variants: int) -> Int[Tensor, "N R"]:
    """Indices of each image's relatives in a set of `variants` copies of the images, one after the other.

    Args:
        families: of each image, all of one size.
    """
    by_family = np.argsort(families, kind="stable").reshape(families.max() + 1, -1)
    size = by_family.shape[1]
    others = np.array([[k for k in range(size) if k != own] for own in range(size)], dtype=int).reshape(size, size - 1)
    found = np.empty((len(families), size - 1), dtype=int)
    found[by_family] = by_family[:, others]
    return torch.from_numpy(np.concatenate([found + k * len(families) for k in range(variants)]))


def loss_weights(coverage: np.ndarray, size: int, landmarks: np.ndarray) -> Tensor:
    """Weight of each latent pixel, float16 (N, 1, size, size).

    1 on the head and a latent pixel around it, BACKGROUND elsewhere; DETAIL more where a landmark lies, less beside it.

    Args:
        coverage: uint8 (N, H, W).
        landmarks: (N, K, 2), column and row from -1 to 1.
    """
    parts = []
    count = max(1, len(coverage) // 512)
    for some, points in zip(np.array_split(coverage, count), np.array_split(landmarks, count), strict=True):
        near = F.adaptive_max_pool2d(torch.from_numpy(some.copy())[:, None].half() / 255, size)
        near = F.max_pool2d(near, 3, stride=1, padding=1)
        parts.append(BACKGROUND + (1 - BACKGROUND) * near + DETAIL * _detail(torch.from_numpy(points), size))
    return torch.cat(parts)


def _detail(points: Tensor, size: int) -> Tensor:
    """1 in the middle of latent pixels with several landmarks around, 0 far from any, float16 (N, 1, size, size).

    Landmarks off the image count for none.
    """
    cells = ((points + 1) / 2 * size).long().clamp(0, size - 1)
    inside = (points.abs() < 1).all(-1).float()
    counts = torch.zeros(len(points), size * size)
    counts.scatter_add_(1, cells[..., 1] * size + cells[..., 0], inside)
    spread = F.avg_pool2d(counts.view(-1, 1, size, size), 3, stride=1, padding=1)
    return (spread * 2).clamp(max=1).half()


def train_prior(
    samples: Samples, made_from: Facts, vae: AutoencoderTiny, tokenizer_folder: Path, work: Path, reader: Reader,
    labels: Tensor, seed: int = 1, budget: Budget = BUDGET,
) -> StableDiffusionPipeline:  # fmt: skip
    """Train text encoder and UNet; returns the whole pipeline.

    Args:
        made_from: facts of latents, prompts and reader.
        labels: what the reader should name in each sample, (N, targets).
    """
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    text = build_text_encoder(tokenizer)
    train_text(text, tokenizer, work)
    torch.manual_seed(seed)
    unet = build_unet().to(memory_format=torch.channels_last)
    unet.set_attn_processor(AttnProcessor())  # plain products: fused attention this small takes a fifth longer

    def tokenize(lines: list[str]) -> Tensor:
        return tokenizer(lines, padding="max_length", truncation=True, return_tensors="pt").input_ids

    def heard(read: Tensor) -> Tensor:
        return unet.add_embedding(text(read)[0])

    tokens = tokenize([*samples.prompts, ""])
    naming = Naming(unet.add_embedding.proj.out_features, tokenize, seed)
    facts = {"seed": seed, "code": code("tokens", "train_text", "train_prior"), **made_from}
    trainer = Trainer("prior", work, {"unet": unet, "text": text, "heads": naming.heads}, budget, facts)
    reading = Reading(reader.to(trainer.device), labels, build_scheduler().alphas_cumprod, seed + 1)
    loss = PriorLoss(samples, tokens[:-1], tokens[-1], seed, budget.batch, reading)

    def both(step: int) -> Tensor:
        return loss(unet, text, step) + NAMING * naming(heard, step, budget.batch)

    trainer.run(both)
    return StableDiffusionPipeline(
        vae=vae, text_encoder=text.eval(), tokenizer=tokenizer, unet=unet.eval(), scheduler=build_scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
