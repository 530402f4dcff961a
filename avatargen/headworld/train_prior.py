"""Train the mini prior: its text encoder first, then with the UNet; an ordinary StableDiffusionPipeline folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from avatargen.headworld.kept import Facts, code
from avatargen.headworld.tokens import LENGTH
from avatargen.headworld.train_text import train_text
from avatargen.headworld.training import Budget, Trainer, batch_indices, fast_math

BUDGET = Budget(steps=31_700, batch=32, lr=1e-3, cool=0.35)
BACKGROUND = 0.25
"""Weight of the loss where there is only a background: a random colour, about which a prompt says nothing."""
DETAIL = 3.0
"""Weight added where landmarks lie, densest on mouth, eyes, nose and ears: a smile is few of a head's pixels."""
EARLY = 1.7
"""Of timesteps: 1 trains the middle of the schedule most; 1.7 has 30% of them below 200 instead of 8%."""
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


class PriorLoss(nn.Module):
    """Weighted mean squared error of v (arXiv 2202.00512, eq. 10), everything random keyed by (seed, step).

    Computed on the device of the modules given. Timesteps are means of two uniform draws to the power EARLY (cf. arXiv
    2403.03206, 3.1): at 32 x 32, eyes and mouths drown from timestep 100 on, and above 600 hardly anything is left.

    Args:
        latents, weights, tokens: float16 (N, 4, h, w), (N, 1, h, w) and int64 (N, L) of each sample.
        empty: tokens of the empty prompt.
    """

    def __init__(self, latents: Tensor, weights: Tensor, tokens: Tensor, empty: Tensor, seed: int, batch: int):
        super().__init__()
        self.latents, self.weights, self.tokens, self.empty = latents, weights, tokens, empty
        self.seed, self.batch = seed, batch
        self.signal = build_scheduler().alphas_cumprod

    def forward(self, unet: UNet2DConditionModel, text: CLIPTextModel, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        rows = torch.from_numpy(batch_indices(self.seed, step, self.batch, len(self.latents)))
        x = self.latents[rows].float()
        tokens = self.tokens[rows].clone()
        tokens[torch.rand(self.batch, generator=generator) < UNCONDITIONAL] = self.empty
        noise = torch.randn(x.shape, generator=generator)
        t = (torch.rand(2, self.batch, generator=generator).mean(0).pow(EARLY) * len(self.signal)).long()
        a = self.signal[t].view(-1, 1, 1, 1)
        noisy = (a.sqrt() * x + (1 - a).sqrt() * noise).contiguous(memory_format=torch.channels_last)
        velocity = a.sqrt() * noise - (1 - a).sqrt() * x
        with fast_math():
            made = unet(noisy.to(unet.device), t.to(unet.device), text(tokens.to(text.device))[0]).sample
        error = (made.float() - velocity.to(made.device)).square()
        return (error * self.weights[rows].float().to(made.device)).mean()


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
    latents: Tensor, weights: Tensor, prompts: list[str], made_from: Facts, vae: AutoencoderTiny,
    tokenizer_folder: Path, work: Path, seed: int = 1, budget: Budget = BUDGET,
) -> StableDiffusionPipeline:  # fmt: skip
    """Train on scaled latents (N, 4, 32, 32), `loss_weights` of them, and prompts; returns the whole pipeline.

    Args:
        made_from: facts of latents and prompts.
    """
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    text = build_text_encoder(tokenizer)
    if not (work / "prior.ckpt").exists():
        print(f"text: {100 * train_text(text, tokenizer, work):.1f}% of attributes named rightly", flush=True)
    torch.manual_seed(seed)
    unet = build_unet().to(memory_format=torch.channels_last)
    unet.set_attn_processor(AttnProcessor())  # plain products: fused attention this small takes a fifth longer
    tokens = tokenizer([*prompts, ""], padding="max_length", truncation=True, return_tensors="pt").input_ids
    loss = PriorLoss(latents, weights, tokens[:-1], tokens[-1], seed, budget.batch)
    facts = {"seed": seed, "code": code("tokens", "train_prior"), **made_from}
    trainer = Trainer("prior", work, {"unet": unet, "text": text}, budget, facts)
    trainer.run(lambda step: loss(unet, text, step))
    return StableDiffusionPipeline(
        vae=vae, text_encoder=text.eval(), tokenizer=tokenizer, unet=unet.eval(), scheduler=build_scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
