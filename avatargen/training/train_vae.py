"""Train the mini prior's autoencoder: diffusers' AutoencoderTiny, x4, four latent channels.

The first three channels are held to the mean colour of each 4 x 4 block, the fourth is free. Latents that are nearly
linear in colour suffer least when a rasteriser blends them at edges or interpolates them in a texture. Plain
backgrounds and greys have plain latents, and the network has no normalisation that would lose them.
"""

# diffusers loads its names lazily, and its types of `.to`, configurations and outputs are too narrow.
# pyright: reportPrivateImportUsage=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from avatargen.training.artifact_cache import Facts, cached_artifact, code
from avatargen.training.trainer import Budget, Trainer, batch_indices, fast_math, training_device

CROP = 64
"""Width and height of the crops that it learns from, pixels."""
NOISE = 0.04
"""Standard deviation of the latents' noise in training, so that the decoder tolerates what a rasteriser does."""
BUDGET = Budget(steps=4000, batch=16, lr=2e-3)


def build_vae() -> AutoencoderTiny:
    """Return an untrained autoencoder: 128 x 128 images to 32 x 32 x 4 latents.

    Example:
        >>> build_vae().encode(torch.zeros(1, 3, 128, 128)).latents.shape
        torch.Size([1, 4, 32, 32])
    """
    return AutoencoderTiny(
        encoder_block_out_channels=(24,) * 3,
        decoder_block_out_channels=(32,) * 3,
        num_encoder_blocks=(1, 1, 2),
        num_decoder_blocks=(3, 2, 1),
        latent_channels=4,
    )


def crops(images: np.ndarray, seed: int, step: int, batch: int) -> Tensor:
    """Return a step's random crops of uint8 (N, H, W, 3) images: (batch, 3, CROP, CROP) in [-1, 1].

    Example:
        >>> crops(np.zeros((2, 128, 128, 3), np.uint8), seed=0, step=0, batch=4).shape
        torch.Size([4, 3, 64, 64])
    """
    rng = np.random.default_rng((seed, step, 1))
    rows = batch_indices(seed, step, batch, len(images))
    corner = rng.integers(0, images.shape[1] - CROP + 1, (batch, 2))
    parts = [images[n, y : y + CROP, x : x + CROP] for n, (y, x) in zip(rows, corner, strict=True)]
    return torch.from_numpy(np.stack(parts)).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_vae(
    images: np.ndarray, made_from: Facts, work: Path, seed: int = 0, budget: Budget = BUDGET
) -> AutoencoderTiny:
    """Train on crops (the network is fully convolutional), then set the latents' scale from the first 512 images.

    The loss is the mean absolute error of pixels and of their gradients, and of the first three latent channels.

    Args:
        images: uint8 (N, H, W, 3).
        made_from: facts of the images.
        work: where checkpoint and curve go.
        seed: of weights, crops and noise.
        budget: of the training.

    Raises:
        InputError: the checkpoint is of another training.
    """
    torch.manual_seed(seed)
    vae = build_vae().to(memory_format=torch.channels_last)
    trainer = Trainer(
        "vae", work, {"vae": vae}, budget, {"seed": seed, "code": code("training.train_vae"), **made_from}
    )

    def loss(step: int) -> Tensor:
        real = crops(images, seed, step, budget.batch).to(trainer.device, memory_format=torch.channels_last)
        with fast_math():
            latents = vae.encode(real).latents.float()
        colour = (latents[:, :3] - F.avg_pool2d(real, 4)).abs().mean()
        size = latents[:, 3:].square().mean()
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed + step))
        with fast_math():
            made = vae.decode(latents + NOISE * noise.to(latents.device)).sample.float()
        edges = sum((torch.diff(made, dim=d) - torch.diff(real, dim=d)).abs().mean() for d in (2, 3))
        return (made - real).abs().mean() + 0.5 * edges + colour + 0.02 * size

    trainer.run(loss)
    vae.eval()
    vae.register_to_config(scaling_factor=1 / float(encode(vae, images[:512]).std()))
    return vae


@torch.no_grad()
def encode(vae: AutoencoderTiny, images: np.ndarray, batch: int = 32) -> Tensor:
    """Return the unscaled latents, (N, 4, H / 4, W / 4), of uint8 (N, H, W, 3) images.

    The work is done on the training device; both the latents and `vae` are on the CPU afterwards.
    """
    device, parts = training_device(), []
    vae.to(device, memory_format=torch.channels_last)
    for start in track(range(0, len(images), batch), "encoding", disable=len(images) < 4096):
        pixels = torch.from_numpy(images[start : start + batch]).permute(0, 3, 1, 2).to(device).float() / 127.5 - 1
        with fast_math():
            parts.append(vae.encode(pixels).latents.float().contiguous().cpu())
    vae.cpu()
    return torch.cat(parts)


def cached_latents(vae: AutoencoderTiny, images: np.ndarray, made_from: Facts, path: Path) -> Tensor:
    """Return the scaled latents of all images, float16; keep them in a file, so that resuming is quick.

    Args:
        vae: the trained autoencoder.
        images: uint8 (N, H, W, 3).
        made_from: facts of images and autoencoder.
        path: an ``.npy`` file.
    """

    def make() -> np.ndarray:
        return (encode(vae, images) * vae.config.scaling_factor).half().numpy()

    def write(target: Path, latents: np.ndarray) -> None:
        with target.open("wb") as file:
            np.save(file, latents)

    facts = {**made_from, "encoder code": code("training.train_vae")}
    return torch.from_numpy(cached_artifact(path, facts, make, np.load, write))


@torch.no_grad()
def reconstruct(vae: AutoencoderTiny, images: np.ndarray) -> np.ndarray:
    """Return uint8 (N, H, W, 3) images encoded and decoded again."""
    parts = []
    for some in np.array_split(images, max(1, len(images) // 64)):
        made = vae.decode(encode(vae, some)).sample.clamp(-1, 1)
        parts.append(((made + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(parts)


def psnr(vae: AutoencoderTiny, images: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of reconstructions, dB, over all pixels of uint8 (N, H, W, 3) images."""
    error = reconstruct(vae, images).astype(np.float32) - images
    return 10 * math.log10(255**2 / float((error**2).mean()))
