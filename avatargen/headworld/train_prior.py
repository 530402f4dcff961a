"""Train the mini prior: text encoder and UNet jointly, saved as an ordinary StableDiffusionPipeline folder."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from avatargen.headworld.tokens import LENGTH
from avatargen.headworld.training import Budget, Trainer, batch_indices

BUDGET = Budget(steps=4000, batch=16, lr=1e-3, decay=0.995)
UNCONDITIONAL = 0.12
"""Share of samples trained with an empty prompt, for classifier-free guidance (Ho & Salimans 2022)."""


def build_unet() -> UNet2DConditionModel:
    """An untrained UNet of 8.4 M parameters for 32 x 32 x 4 latents.

    Four levels, attention at the two coarsest only: on a CPU without matrix units, attention at 16 x 16
    cost a third more for each evaluation.
    """
    return UNet2DConditionModel(
        sample_size=32,
        block_out_channels=(32, 64, 128, 160),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        cross_attention_dim=96,
        attention_head_dim=4,
        norm_num_groups=16,
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
    """Mean squared error of v (arXiv 2202.00512, eq. 10) of a step, everything random keyed by (seed, step)."""

    def __init__(self, latents: Tensor, tokens: Tensor, empty: Tensor, seed: int, batch: int):
        super().__init__()
        self.latents, self.tokens, self.empty = latents, tokens, empty
        self.seed, self.batch = seed, batch
        self.signal = build_scheduler().alphas_cumprod

    def forward(self, unet: UNet2DConditionModel, text: CLIPTextModel, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        rows = torch.from_numpy(batch_indices(self.seed, step, self.batch, len(self.latents)))
        x = self.latents[rows]
        tokens = self.tokens[rows].clone()
        tokens[torch.rand(self.batch, generator=generator) < UNCONDITIONAL] = self.empty
        noise = torch.randn(x.shape, generator=generator)
        t = torch.randint(0, len(self.signal), (self.batch,), generator=generator)
        a = self.signal[t].view(-1, 1, 1, 1)
        noisy = (a.sqrt() * x + (1 - a).sqrt() * noise).contiguous(memory_format=torch.channels_last)
        velocity = a.sqrt() * noise - (1 - a).sqrt() * x
        return (unet(noisy, t, text(tokens)[0]).sample - velocity).square().mean()


def train_prior(
    latents: Tensor, prompts: list[str], vae: AutoencoderTiny, tokenizer_folder: Path, work: Path,
    seed: int = 1, budget: Budget = BUDGET,
) -> StableDiffusionPipeline:  # fmt: skip
    """Train on scaled latents (N, 4, 32, 32) and their prompts; returns the whole pipeline."""
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    unet, text = build_unet().to(memory_format=torch.channels_last), build_text_encoder(tokenizer)
    tokens = tokenizer([*prompts, ""], padding="max_length", truncation=True, return_tensors="pt").input_ids
    loss = PriorLoss(latents, tokens[:-1], tokens[-1], seed, budget.batch)
    trainer = Trainer("prior", work, {"unet": unet, "text": text}, budget)
    trainer.run(lambda step: loss(unet, text, step))
    return StableDiffusionPipeline(
        vae=vae, text_encoder=text.eval(), tokenizer=tokenizer, unet=unet.eval(), scheduler=build_scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
