"""Train the mini prior: its text encoder first, then with the UNet; save an ordinary StableDiffusionPipeline folder."""

# diffusers loads its names lazily, and its types of `.to`, configurations and outputs are too narrow.
# pyright: reportPrivateImportUsage=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTokenizer

from avatargen.training.artifact_cache import Facts, code
from avatargen.training.prior_batches import Samples
from avatargen.training.prior_loss import PriorLoss, Reading
from avatargen.training.prior_parts import build_scheduler, build_text_encoder, build_unet
from avatargen.training.train_reader import Reader
from avatargen.training.train_text import Naming, padded_tokens, train_text
from avatargen.training.trainer import Budget, Trainer

BUDGET = Budget(steps=40_000, batch=32, lr=8e-4, cool=0.5)
BACKGROUND = 0.25
"""Weight of the loss on the background: a random colour, of which a prompt says nothing."""
DETAIL = 3.0
"""Weight added where landmarks lie, densest on mouth, eyes, nose and ears: a smile covers few of a head's pixels."""
NAMING = 0.05
"""Weight of the classification of attributes, which continues while the UNet is trained.

Without it the text encoder forgot what covers few pixels: after 31,700 steps a linear classifier named the expression
of 45% of captions correctly (the most common one is 44%), and the UNet had never learnt the words for it. Attributes
are classified from the prompt's part of the time embedding, which all of the UNet sees; classified from the end token's
state, they did not get there.
"""
READ_FROM = 0.5
"""Share of the steps before the reader is used: until then there are no faces to read."""


def relatives(families: Int[np.ndarray, " M"], variants: int) -> Int[Tensor, "N R"]:
    """Return the indices of each image's relatives, in the same copy of the data set.

    Args:
        families: of each image, all of one size.
        variants: number of copies of the images, one after the other.

    Example:
        >>> relatives(np.array([0, 0, 1, 1]), variants=2).flatten().tolist()
        [1, 0, 3, 2, 5, 4, 7, 6]
    """
    by_family = np.argsort(families, kind="stable").reshape(families.max() + 1, -1)
    size = by_family.shape[1]
    others = np.array([[k for k in range(size) if k != own] for own in range(size)], dtype=int).reshape(size, size - 1)
    found = np.empty((len(families), size - 1), dtype=int)
    found[by_family] = by_family[:, others]
    return torch.from_numpy(np.concatenate([found + k * len(families) for k in range(variants)]))


def loss_weights(coverage: np.ndarray, size: int, landmarks: np.ndarray) -> Tensor:
    """Return the weight of each latent pixel, float16 (N, 1, size, size).

    It is 1 on the head and a latent pixel around it, BACKGROUND elsewhere; DETAIL is added where a landmark lies, and
    less beside it.

    Args:
        coverage: uint8 (N, H, W).
        size: of the latents.
        landmarks: (N, K, 2), column and row from -1 to 1.

    Example:
        >>> loss_weights(np.zeros((1, 128, 128), np.uint8), 32, np.full((1, 1, 2), 9.0)).unique().item()
        0.25
    """
    parts = []
    count = max(1, len(coverage) // 512)
    for some, points in zip(np.array_split(coverage, count), np.array_split(landmarks, count), strict=True):
        near = F.adaptive_max_pool2d(torch.from_numpy(some.copy())[:, None].half() / 255, size)
        near = F.max_pool2d(near, 3, stride=1, padding=1)
        parts.append(BACKGROUND + (1 - BACKGROUND) * near + DETAIL * _detail(torch.from_numpy(points), size))
    return torch.cat(parts)


def _detail(points: Tensor, size: int) -> Tensor:
    """Return 1 in latent pixels with several landmarks around, 0 far from any: float16 (N, 1, size, size).

    Landmarks off the image do not count.
    """
    cells = ((points + 1) / 2 * size).long().clamp(0, size - 1)
    inside = (points.abs() < 1).all(-1).float()
    counts = torch.zeros(len(points), size * size)
    counts.scatter_add_(1, cells[..., 1] * size + cells[..., 0], inside)
    blurred = F.avg_pool2d(counts.view(-1, 1, size, size), 3, stride=1, padding=1)
    return (blurred * 2).clamp(max=1).half()


def train_prior(
    samples: Samples,
    made_from: Facts,
    vae: AutoencoderTiny,
    tokenizer_folder: Path,
    work: Path,
    reader: Reader,
    labels: Tensor,
    seed: int = 1,
    budget: Budget = BUDGET,
) -> StableDiffusionPipeline:
    """Train text encoder and UNet; return the whole pipeline.

    Args:
        samples: the data set.
        made_from: facts of latents, prompts and reader.
        vae: the trained autoencoder.
        tokenizer_folder: of the tokenizer.
        work: where checkpoints and curves go.
        reader: the trained reader.
        labels: what the reader should read in each sample, (N, targets).
        seed: of weights, captions and batches.
        budget: of the training.

    Raises:
        InputError: the checkpoint is of another training.
    """
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    text = build_text_encoder(tokenizer)
    train_text(text, tokenizer, work)
    torch.manual_seed(seed)
    unet = build_unet().to(memory_format=torch.channels_last)
    unet.set_attn_processor(AttnProcessor())  # plain products: fused attention this small takes a fifth longer
    tokenize = partial(padded_tokens, tokenizer)

    def heard(read: Tensor) -> Tensor:
        return unet.add_embedding(text(read)[0])

    tokens = tokenize([*samples.prompts, ""])
    naming = Naming(unet.add_embedding.proj.out_features, tokenize, seed)
    facts = {"seed": seed, "code": code("training.train_prior"), **made_from}
    trainer = Trainer("prior", work, {"unet": unet, "text": text, "heads": naming.heads}, budget, facts)
    reading = Reading(reader.to(trainer.device), labels, build_scheduler().alphas_cumprod, seed + 1)
    read_from = round(READ_FROM * budget.steps)
    loss = PriorLoss(samples, tokens[:-1], tokens[-1], seed, budget.batch, reading, read_from)
    trainer.run(lambda step: loss(unet, text, step) + NAMING * naming(heard, step, budget.batch))
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text.eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
