"""Train the mini prior's VAE: a small diffusers AutoencoderKL, x4, four latent channels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from avatargen.headworld.training import Budget, Trainer, batch_indices

CROP = 64
BUDGET = Budget(steps=900, batch=8, lr=2e-3)


def build_vae() -> AutoencoderKL:
    """An untrained VAE: 128 x 128 images to 32 x 32 x 4 latents."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
    )


def crops(images: np.ndarray, seed: int, step: int, batch: int) -> Tensor:
    """Random CROP x CROP crops in [-1, 1] of uint8 (N, H, W, 3) images."""
    rng = np.random.default_rng((seed, step, 1))
    rows = batch_indices(seed, step, batch, len(images))
    corner = rng.integers(0, images.shape[1] - CROP + 1, (batch, 2))
    parts = [images[n, y : y + CROP, x : x + CROP] for n, (y, x) in zip(rows, corner, strict=True)]
    return torch.from_numpy(np.stack(parts)).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_vae(images: np.ndarray, work: Path, seed: int = 0, budget: Budget = BUDGET) -> AutoencoderKL:
    """Train on crops (the network is fully convolutional), then measure the latents' scale.

    The loss is the mean absolute error of pixels and of their gradients, plus a weak KL term.
    """
    torch.manual_seed(seed)
    vae = build_vae().to(memory_format=torch.channels_last)
    trainer = Trainer("vae", work, {"vae": vae}, budget)

    def loss(step: int) -> Tensor:
        real = crops(images, seed, step, budget.batch).contiguous(memory_format=torch.channels_last)
        posterior = vae.encode(real).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=torch.Generator().manual_seed(seed + step))
        made = vae.decode(posterior.mean + posterior.std * noise).sample
        edges = sum((torch.diff(made, dim=d) - torch.diff(real, dim=d)).abs().mean() for d in (2, 3))
        return (made - real).abs().mean() + 0.5 * edges + 1e-4 * posterior.kl().mean() / real[0].numel() * 48

    trainer.run(loss)
    vae.eval()
    vae.register_to_config(scaling_factor=1 / float(encode(vae, images[:512]).std()))
    return vae


@torch.no_grad()
def encode(vae: AutoencoderKL, images: np.ndarray, batch: int = 32) -> Tensor:
    """Mean latents, unscaled, (N, 4, H / 4, W / 4), of uint8 (N, H, W, 3) images."""
    parts = []
    for start in range(0, len(images), batch):
        pixels = torch.from_numpy(images[start : start + batch]).permute(0, 3, 1, 2).float() / 127.5 - 1
        parts.append(vae.encode(pixels).latent_dist.mean)
    return torch.cat(parts)


@torch.no_grad()
def psnr(vae: AutoencoderKL, images: np.ndarray) -> float:
    """Peak signal-to-noise ratio of reconstructions, dB, over all pixels of uint8 images."""
    made = vae.decode(encode(vae, images)).sample.clamp(-1, 1)
    real = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    return 10 * math.log10(4 / float((made - real).square().mean()))
