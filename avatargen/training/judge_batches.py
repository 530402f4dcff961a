"""Make a judge's training batches: which renders it sees, how they are augmented, and changed captions.

Augmentation zooms, moves, lights and mirrors a render and puts it over a plain colour. Some images are then degraded
(softened and noisy), others are encoded and decoded by the prior's autoencoder, as avatars are.
"""

# diffusers loads its names lazily, and its types of `.to`, configurations and outputs are too narrow.
# pyright: reportPrivateImportUsage=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderTiny
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from avatargen.headworld.attributes import Attributes
from avatargen.headworld.paint import HAIR, SKIN
from avatargen.headworld.phrases import worded
from avatargen.headworld.pools import SWAPPED, known, training_swaps
from avatargen.training.dataset import Renders
from avatargen.training.landmarks import standardised
from avatargen.training.train_text import labels_of
from avatargen.training.trainer import fast_math

SWAPS = 3
"""Changed captions that each image meets in a step."""
HARD = (*("age", "sex", "feature") * 3, *("expression", "beard_colour") * 2, "hair", "beard")
"""Attributes whose change is harder to see, and which are therefore swapped more often.

Of 51 captions of held-out heads that a judge missed in 480 renders, 21 differed in sex, 14 in a feature, 5 in age.
"""
MIRRORED = 0.5
"""Share of the images that are mirrored; no caption names a side.

Before half the images were mirrored and there were twice as many renders, a judge found the captions of 94% of the
renders that it was trained on, and of 90% of others of the same kind.
"""
BEARDS, TWO_COLOURS, STATUES, CAMOUFLAGED = 4.0, 2.0, 2.0, 2.0
"""How much more often some colour renders are seen: with a beard; with one of another colour than the hair; statues;
with hair or a beard of nearly the skin's colour.

Half of all beards have the hair's colour, and a judge that went by that called a blond moustache brown in 16 renders of
16. Statues are held out by shape alone, so the benchmark's prompts have more of them. Of green heads with long green
beards, the shipped judge, which was not trained with CAMOUFLAGED, says that they have long hair too in 12 renders of
16; after 2,700 steps with it (and a deeper tower) in 2.
"""
NEAR = 0.36
"""Distance of two colours, RGB in [0, 1], below which hair is nearly of the skin's colour: white on pale, too."""
WORN = 0.3
"""Share of the images that are degraded: softened and noisy.

Trained on clean images alone, a judge found 13% of its captions instead of 76% once the latents of a render had noise
of deviation 0.2, which is hardly visible.
"""
NOISE, CELLS = 0.15, (1, 2, 4)
"""Greatest standard deviation of their noise, and the sizes of its grains, pixels."""
DECODED = 0.3
"""Share of the images that are encoded and decoded, as are all that a judge scores except imported meshes."""
CLEAN, LATENT_NOISE = 0.3, 0.25
"""Share of these without noise in their latents, and the greatest standard deviation of the others' noise, scaled."""


@dataclass(frozen=True)
class Batch:
    """What a step learns from.

    Attributes:
        pixels: (B, 3, H, W) in [0, 1].
        tokens: ((1 + SWAPS) B, L), of the images' captions, then of changed ones.
        labels: indices of the attributes' values, (B, attributes).
        landmarks: in the image, (B, K, 2).
        displaced: from where the template has them, standardised, (B, K, 3).
        mirrored: bool (B,); the landmarks of these are on the wrong side, and are not learnt.
    """

    pixels: Tensor
    tokens: Tensor
    labels: Tensor
    landmarks: Tensor
    displaced: Tensor
    mirrored: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(*(value.to(device) for value in vars(self).values()))


class Batches:
    """Make augmented batches of renders, each a function of the step: the first degraded, the last decoded.

    Args:
        renders: the data set.
        tokenizer: turns N captions into tokens (N, L).
        vae: the prior's autoencoder.
        seed: of everything random.
        size: of a batch.
    """

    def __init__(
        self, renders: Renders, tokenizer: Callable[[list[str]], Tensor], vae: AutoencoderTiny, seed: int, size: int
    ):
        self.renders, self.vae, self.seed, self.size = renders, vae, seed, size
        self.tokenizer, self.tokens = tokenizer, tokenizer(renders.captions)
        self.heads = [known(text) for text in renders.captions]
        self.labels = torch.tensor([labels_of(head) for head in self.heads])
        weights = np.array([sampling_weight(head) for head in self.heads])
        self.cumulative = np.cumsum(weights / weights.sum())
        self.landmarks = torch.from_numpy(renders.landmarks)
        self.displaced = standardised(renders.displaced)

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step."""
        uniform = np.random.default_rng((self.seed, step)).random(self.size)
        rows = np.searchsorted(self.cumulative, uniform).clip(max=len(self.labels) - 1)
        at = torch.from_numpy(rows)
        mirrored = np.random.default_rng((self.seed, step, 4)).random(self.size) < MIRRORED
        images = self.renders.images[rows]
        images[mirrored] = images[mirrored, :, ::-1]
        pixels, landmarks = augment(images, self.landmarks[at], np.random.default_rng((self.seed, step, 1)))
        last = self.size - int(DECODED * self.size)
        pixels[last:] = through(self.vae, pixels[last:], np.random.default_rng((self.seed, step, 3)))
        changed = swapped([self.heads[row] for row in rows], np.random.default_rng((self.seed, step, 2)))
        tokens = torch.cat([self.tokens[at], self.tokenizer(changed)])
        return Batch(pixels, tokens, self.labels[at], landmarks, self.displaced[at], torch.from_numpy(mirrored))


def sampling_weight(head: Attributes) -> float:
    """Return how often a head's renders are seen, 1 for most; a clay caption names no colour.

    Example:
        >>> sampling_weight(Attributes(skin="green")), sampling_weight(Attributes(material="gold"))
        (1.0, 2.0)
    """
    if head.material != "none":
        return STATUES
    if not _has_colours(head):
        return 1.0
    share = CAMOUFLAGED if head.hair != "bald" and _near(head.skin, head.hair_colour) else 1.0
    if head.beard != "none":
        share *= BEARDS * (CAMOUFLAGED if _near(head.skin, head.beard_colour) else 1.0)
        share *= 1.0 if head.beard_colour == head.hair_colour else TWO_COLOURS
    return share


def _has_colours(head: Attributes) -> bool:
    return head != head.shape_only()


def _near(skin: str, hair: str) -> bool:
    return float(np.linalg.norm(np.subtract(SKIN[skin], HAIR[hair]))) < NEAR


def augment(images: np.ndarray, landmarks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Zoom, move and light renders, put them over plain colours, and degrade the first WORN of them.

    Args:
        images: uint8 (N, H, W, 4), colour multiplied by coverage, and coverage.
        landmarks: (N, K, 2), from -1 to 1 over the image.
        rng: source of everything random.

    Returns:
        Pixels (N, 3, H, W) in [0, 1], and the landmarks where they are now.
    """
    count = len(images)
    zoom = torch.from_numpy(rng.uniform(0.75, 1.1, count)).float()
    shift = torch.from_numpy(rng.normal(0, 0.06, (count, 2))).float()
    turn = torch.cat([torch.eye(2) * zoom[:, None, None], shift[..., None]], dim=2)
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255)
    grid = F.affine_grid(turn, list(planes.shape), align_corners=False)
    moved = F.grid_sample(planes, grid, align_corners=False)
    light = torch.from_numpy(rng.uniform(0.85, 1.1, (count, 1, 1, 1))).float()
    background = torch.from_numpy(rng.uniform(0, 1, (count, 3, 1, 1))).float()
    pixels = (moved[:, :3] * light + (1 - moved[:, 3:]) * background).clamp(0, 1)
    worn = int(WORN * count)
    pixels[:worn] = _worn(pixels[:worn], rng)
    return pixels, (landmarks - shift[:, None]) / zoom[:, None, None]


def _worn(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Return images softened, with grainy noise: what a decoder makes of latents is never a clean render."""
    size = pixels.shape[-2:]
    scale, cell = rng.uniform(0.35, 1), rng.choice(CELLS)
    small, coarse = ([round(share * side) for side in size] for share in (scale, 1 / cell))
    options = {"mode": "bilinear", "align_corners": False}
    soft = F.interpolate(F.interpolate(pixels, small, antialias=True, **options), size, **options)
    noise = torch.from_numpy(rng.standard_normal((*pixels.shape[:2], *coarse), dtype=np.float32))
    amount = torch.from_numpy(rng.uniform(0, NOISE, (len(pixels), 1, 1, 1))).float()
    return (soft + amount * F.interpolate(noise, size, **options)).clamp(0, 1)


@torch.no_grad()
def through(
    vae: AutoencoderTiny, pixels: Float[Tensor, "N 3 H W"], rng: np.random.Generator
) -> Float[Tensor, "N 3 H W"]:
    """Encode and decode images on the autoencoder's device, with noise in the latents of most.

    Args:
        vae: the autoencoder.
        pixels: in [0, 1], on the CPU, as is the result.
        rng: source of everything random.
    """
    device = vae.device
    scale = rng.uniform(0, LATENT_NOISE, (len(pixels), 1, 1, 1)) * (rng.random((len(pixels), 1, 1, 1)) > CLEAN)
    made = []
    for some, amount in zip(pixels.split(8), torch.from_numpy(scale).float().split(8), strict=True):
        with fast_math():
            signed = (some * 2 - 1).to(device, memory_format=torch.channels_last)
            latents = vae.encode(signed).latents.float()
            noise = torch.from_numpy(rng.standard_normal(latents.shape, dtype=np.float32))
            noisy = latents + (amount / vae.config.scaling_factor * noise).to(device)
            made.append(vae.decode(noisy.contiguous(memory_format=torch.channels_last)).sample.float().cpu())
    return (torch.cat(made) / 2 + 0.5).clamp(0, 1)


def swapped(heads: list[Attributes], rng: np.random.Generator) -> list[str]:
    """Return SWAPS captions for each head with one attribute changed; of shape, where the head has no colours.

    They are worded as freely as the captions themselves, since wording must not tell which is right. A change that
    makes a held-out combination is left out, and another is repeated in other words.

    Example:
        >>> len(swapped([Attributes(skin="green"), Attributes()], np.random.default_rng(0)))
        6
    """
    made = []
    for head in heads:
        colours = _has_colours(head)
        changed = training_swaps(head, rng, SWAPS, (*SWAPPED, *HARD), colours)
        made += [worded(other, rng, colours) for other in changed]
    return made
