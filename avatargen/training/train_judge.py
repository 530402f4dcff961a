"""Train the mini CLIPs in open_clip's own format: open_clip_config.json, weights, tokenizer in one folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from diffusers import AutoencoderTiny
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from avatargen.headworld.attributes import Attributes
from avatargen.headworld.paint import HAIR, SKIN
from avatargen.headworld.phrases import worded
from avatargen.headworld.pools import SWAPPED, known, training_swaps
from avatargen.training.artifact_cache import Facts, code
from avatargen.training.dataset import SIZE, Renders
from avatargen.training.landmarks import Regressor, landmark_loss, standardised
from avatargen.training.tokens import LENGTH, write_tokenizer
from avatargen.training.train_text import Heads, labels_of, train_words
from avatargen.training.trainer import Budget, Trainer, fast_math

MEAN, STD = 0.5, 0.25
SHAPING = 10.0
"""Weight of the landmarks, beside the sum over attributes of their names' losses and CONTRAST times CLIP's own."""
CONTRAST = 2.0
SWAPS = 3
"""Changed captions that each image meets in a step."""
HARD = (*("age", "sex", "feature") * 3, *("expression", "beard_colour") * 2, "hair", "beard")
"""Attributes whose change is harder to see than others': swapped more often.

Of 51 captions of held-out heads that a judge missed in 480 renders, 21 differed in sex, 14 in a feature, 5 in age.
"""
MIRRORED = 0.5
"""Share of the images that are mirrored: no caption names a side. A judge found the captions of 94% of the renders that
it had been trained on, and of 90% of others of the same kind, before there were mirrored ones and twice the renders.
"""
BEARDS, TWO_COLOURS, STATUES, CAMOUFLAGED = 4.0, 2.0, 2.0, 2.0
"""How much more often than others colour renders with beards are seen, again those that have not the hair's colour;
statues; and hair, or a beard, that is nearly of the skin's colour.

Half of all beards have the hair's colour: a judge that goes by that called a blond moustache brown in 16 renders of 16.
A statue's combination is held out once its shape is, so there are more of them among the benchmark's prompts. Of green
heads with long green beards the shipped judge, which has not been trained with CAMOUFLAGED, says in 12 renders of 16
that they have long hair, too; after 2,700 steps with it (and a deeper tower) in 2.
"""
NEAR = 0.36
"""Distance of colours, in RGB from 0 to 1, up to which hair is nearly of the skin's colour: white on pale skin, too."""
WORN = 0.3
"""Share of the images that are softened and noisy."""
NOISE, CELLS = 0.15, (1, 2, 4)
"""Greatest deviation of their noise, and the sizes of its grains, pixels."""
DECODED = 0.3
"""Share of the images that are encoded and decoded, as all are that a judge scores but those of imported meshes."""
CLEAN, LATENT_NOISE = 0.3, 0.25
"""A share of these has no noise in its latents, the others a deviation of up to LATENT_NOISE, scaled."""


@dataclass(frozen=True)
class Spec:
    """A judge's architecture and training.

    Attributes:
        vision: open_clip's ``vision_cfg`` without the image size.
        last: the module that makes the image tower's last map, and how many channels that has.
        width, layers: of the text tower; width is also the embedding's.
    """

    vision: dict[str, Any]
    last: tuple[str, int]
    width: int
    layers: int
    seed: int
    budget: Budget


BUDGET = Budget(steps=27_500, batch=48, lr=2e-3, cool=0.5)
RESNET = {"layers": [1, 2, 2, 2], "width": 24, "head_width": 32}
REGNET = {
    "timm_model_name": "regnetx_004", "timm_model_pretrained": False, "timm_pool": "avg", "timm_proj": "linear"
}  # fmt: skip
JUDGES = {
    "judge": Spec(RESNET, ("layer4", 768), 96, 2, 2, BUDGET),
    "guide": Spec(REGNET, ("trunk.s4", 384), 80, 3, 5, replace(BUDGET, steps=5000)),
}
"""The first judges; the second guides `clip_guided`, and judges all other methods too."""


def write_config(folder: Path, spec: Spec) -> None:
    """Write the model's configuration and tokenizer."""
    write_tokenizer(folder)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    text = {"context_length": LENGTH, "vocab_size": len(vocabulary), "width": spec.width, "heads": 4}
    model = {
        "embed_dim": spec.width,
        "vision_cfg": {**spec.vision, "image_size": 128},
        "text_cfg": {**text, "layers": spec.layers, "hf_tokenizer_name": "."},
    }
    preprocess = {"mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}, indent=1)
    )


def train_judge(
    name: str, renders: Renders, vae: AutoencoderTiny, made_from: Facts, output: Path, work: Path
) -> None:  # fmt: skip
    """Train one of JUDGES on renders of some facts; equal captions in a batch are each other's positives.

    The text tower learns the words first. Beside its caption each image meets one that differs in one attribute (as in
    NegCLIP, arXiv 2210.01936): those are what the pools of CLIP-R hold, and a random batch hardly ever does. Linear
    classifiers of the attributes, and landmarks, teach the image tower what is small in the picture.
    """
    spec = JUDGES[name]
    torch.manual_seed(spec.seed)
    building = work / f"{name}-model"
    building.mkdir(parents=True, exist_ok=True)
    write_config(building, spec)
    source = f"local-dir:{building}"
    model = open_clip.create_model(source, load_weights=False).to(memory_format=torch.channels_last)
    tokenizer = open_clip.get_tokenizer(source)
    if not (work / f"{name}.ckpt").exists():
        train_words(f"{name}-text", model, spec.width, model.encode_text, tokenizer, work, spec.seed, clay=0.45)
    learner = Learner(model, spec)
    built = {key: value for key, value in asdict(spec).items() if key != "budget"}
    facts = {"spec": built, "code": code("train_judge"), **made_from}
    trainer = Trainer(name, work, {"learner": learner}, spec.budget, facts)
    batches = Batches(renders, tokenizer, vae.to(trainer.device), spec.seed, spec.budget.batch)
    trainer.run(lambda step: learner(batches(step).to(trainer.device)))
    half = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    save_file(half, building / "open_clip_model.safetensors")
    shutil.copytree(building, output, dirs_exist_ok=True)


@dataclass(frozen=True)
class Batch:
    """What a step learns from.

    Attributes:
        pixels: (B, 3, H, W) in [0, 1].
        tokens: ((1 + SWAPS) B, L), of the images' captions, then of changed ones.
        labels: (B, attributes), indices of their values.
        landmarks, displaced: (B, K, 2) in the image, (B, K, 3) from the template's, of deviation one.
        mirrored: (B,), images whose landmarks are another side's, and so none to learn.
    """

    pixels: Tensor
    tokens: Tensor
    labels: Tensor
    landmarks: Tensor
    displaced: Tensor
    mirrored: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(value.to(device) for value in vars(self).values()))


class Batches:
    """Augmented batches of renders, each a function of the step; the first are worn, the last decoded."""

    def __init__(
        self, renders: Renders, tokenizer: Callable[[list[str]], Tensor], vae: AutoencoderTiny, seed: int, size: int
    ):  # fmt: skip
        self.renders, self.vae, self.seed, self.size = renders, vae, seed, size
        self.tokenizer, self.tokens = tokenizer, tokenizer(renders.captions)
        self.heads = [known(text) for text in renders.captions]
        self.labels = torch.tensor([labels_of(head) for head in self.heads])
        weights = np.array([_share(head) for head in self.heads])
        self.cumulative = np.cumsum(weights / weights.sum())
        self.landmarks = torch.from_numpy(renders.landmarks)
        self.displaced = standardised(renders.displaced)

    def __call__(self, step: int) -> Batch:
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


class Learner(nn.Module):
    """A CLIP with the heads that only its training needs."""

    def __init__(self, clip: nn.Module, spec: Spec):
        super().__init__()
        name, channels = spec.last
        self.clip, self.names, self.shape = clip, Heads(spec.width), Regressor(channels, SIZE // 32)
        clip.visual.get_submodule(name).register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, given: Any, made: Tensor) -> None:
        self._last = made

    def forward(self, batch: Batch) -> Tensor:
        """The loss of a batch."""
        with fast_math(), sdpa_kernel(SDPBackend.MATH):  # fused attention of texts this small takes a third of a step
            pixels = ((batch.pixels - MEAN) / STD).contiguous(memory_format=torch.channels_last)
            images = self.clip.encode_image(pixels)
            texts = self.clip.encode_text(batch.tokens, normalize=True)
            named, found = self.names(images), self.shape(self._last)
        images = F.normalize(images.float(), dim=-1)
        contrast = contrastive(images, texts.float(), self.clip.logit_scale.exp(), batch.tokens)
        naming = sum(F.cross_entropy(s.float(), y) for s, y in zip(named, batch.labels.T, strict=False))
        plain = ~batch.mirrored
        found = tuple(part[plain] for part in found)
        shaping = landmark_loss(found, batch.landmarks[plain], batch.displaced[plain])
        return CONTRAST * contrast + naming + SHAPING * shaping


def _has_colours(head: Attributes) -> bool:
    return head != head.shape_only()


def _share(head: Attributes) -> float:
    """How often a head's renders are seen; a clay caption names no colour."""
    if head.material != "none":
        return STATUES
    if not _has_colours(head):
        return 1.0
    share = CAMOUFLAGED if head.hair != "bald" and _near(head.skin, head.hair_colour) else 1.0
    if head.beard != "none":
        share *= BEARDS * (CAMOUFLAGED if _near(head.skin, head.beard_colour) else 1.0)
        share *= 1.0 if head.beard_colour == head.hair_colour else TWO_COLOURS
    return share


def _near(skin: str, hair: str) -> bool:
    return float(np.linalg.norm(np.subtract(SKIN[skin], HAIR[hair]))) < NEAR


def augment(images: np.ndarray, landmarks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Uint8 (N, H, W, 4) renders zoomed, moved, lit, on plain colours, half of them worn: pixels (N, 3, H, W).

    Landmarks (N, K, 2), from -1 to 1 over the image, move along.
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
    """Images softened, and with noise of a coarseness: what a decoder makes of latents is never a clean render.

    Trained on clean ones alone, a judge found 13% of its captions, instead of 76%, once the latents of a render
    had noise of deviation 0.2, which one hardly sees.
    """
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
) -> Float[Tensor, "N 3 H W"]:  # fmt: skip
    """Images in [0, 1] encoded and decoded again where the autoencoder is, noise in the latents of most of them."""
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
    """SWAPS captions for each head with one attribute changed; changes of a head without colours are of shape.

    They are worded as freely as the captions themselves: wording must not tell which is right. A change that makes a
    held-out combination is left out, and another comes twice, in other words.
    """
    made = []
    for head in heads:
        colours = _has_colours(head)
        changed = training_swaps(head, rng, SWAPS, (*SWAPPED, *HARD), colours)
        made += [worded(other, rng, colours) for other in changed]
    return made


def contrastive(images: Tensor, texts: Tensor, scale: Tensor, tokens: Tensor) -> Tensor:
    """Symmetric cross-entropy of B images and N texts, the first B their own; equal texts share the probability.

    Args:
        images, texts: unit embeddings (B, D) and (N, D).
        scale: of the logits.
        tokens: of the texts, (N, L).
    """
    logits = scale * images @ texts.T
    count = len(images)
    same = (tokens[:count, None] == tokens[None]).all(-1).float()
    to_text = F.cross_entropy(logits, same / same.sum(1, keepdim=True))
    back, square = logits[:, :count].T, same[:, :count].T
    return (to_text + F.cross_entropy(back, square / square.sum(1, keepdim=True))) / 2
