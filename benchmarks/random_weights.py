"""Stable Diffusion 1.5 with random weights, which cost what trained ones do, of its full size or small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Size:
    """How large everything is: as in the paper's experiment, or small.

    Attributes:
        channels: of the UNet's levels.
        vae_channels: of the autoencoder's levels.
        width, layers: of the text encoder.
        settings: of the prior.
        method: phases, as `paper.yaml` has them.
        steps: measured steps of each kind.
        avatars: of the run of the workflow.
        small: reduced, to test the script.
    """

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    vae_channels: tuple[int, ...] = (128, 256, 512, 512)
    width: int = 768
    layers: int = 12
    settings: dict[str, Any] = field(default_factory=dict)
    method: dict[str, Any] = field(default_factory=dict)
    steps: int = 8
    avatars: int = 10
    small: bool = False


FULL = Size(method={"phase1_steps": 1900, "phase2_steps": 3100, "mask_period": 770})
SMALL = Size(
    channels=(32, 64),
    vae_channels=(32, 32, 32),
    width=32,
    layers=1,
    settings={"latent_size": 16, "texture_size": 32},
    method={"phase1_steps": 19, "phase2_steps": 31, "mask_period": 8, "mask_views": 2},
    steps=2,
    avatars=2,
    small=True,
)


def write_stable_diffusion(folder: Path, size: Size, device: torch.device) -> None:
    """Write a pipeline of Stable Diffusion 1.5's architecture with random weights.

    The configurations are those of the released model; the tokenizer is the shipped judge's, with fewer words.
    """
    levels = len(size.channels)
    tokenizer = CLIPTokenizer.from_pretrained(ROOT / "avatargen/weights/judge", model_max_length=77)
    text = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=size.width,
        intermediate_size=4 * size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=max(1, size.width // 64),
        max_position_embeddings=77,
        hidden_act="quick_gelu",
    )
    with torch.device(device), default_dtype(torch.float16 if device.type == "cuda" else torch.float32):
        unet = UNet2DConditionModel(
            sample_size=64,
            block_out_channels=size.channels,
            down_block_types=(*("CrossAttnDownBlock2D",) * (levels - 1), "DownBlock2D"),
            up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * (levels - 1)),
            layers_per_block=2,
            cross_attention_dim=size.width,
            attention_head_dim=8,
        )
        vae = AutoencoderKL(
            block_out_channels=size.vae_channels,
            down_block_types=("DownEncoderBlock2D",) * len(size.vae_channels),
            up_block_types=("UpDecoderBlock2D",) * len(size.vae_channels),
            layers_per_block=2,
            latent_channels=4,
            sample_size=512,
        )
        encoder = CLIPTextModel(text)
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(**betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make tensors of this dtype by default."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
