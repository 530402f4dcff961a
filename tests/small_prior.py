"""Write a small untrained StableDiffusionPipeline folder, in the format of the real ones."""

from pathlib import Path
from shutil import copy

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTokenizer

from avatargen.config.places import ROOT
from avatargen.config.settings import PriorSettings
from avatargen.training.prior_parts import build_text_encoder
from tests.small_reader import write_reader


def write_words(folder: Path) -> None:
    """Write the tokenizer of the shipped judge: to learn another takes half a minute."""
    folder.mkdir(parents=True)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        copy(ROOT / "avatargen/weights/judge" / name, folder)


def write_pipeline(folder: Path, prediction: str) -> Path:
    """Write a KL autoencoder (x4), a one-level UNet and a text encoder; return their folder.

    Args:
        folder: is created.
        prediction: ``epsilon``, ``v_prediction`` or ``sample``.
    """
    write_words(folder / "words")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "words")
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8),
        latent_channels=4,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16,),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        cross_attention_dim=96,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=build_text_encoder(tokenizer),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(prediction_type=prediction, clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder / "model")
    return folder / "model"


def small_settings(folder: Path, **changes) -> PriorSettings:
    """Write a prior with its reader of expressions; return the settings that name them, changed where asked."""
    torch.manual_seed(0)
    path = str(write_pipeline(folder, prediction="epsilon"))
    small = {"guidance": 5.0, "latent_size": 16, "texture_size": 32, "samples": 1, "adam_eps": 1e-8}
    return PriorSettings(**{"path": path, "reader": write_reader(folder / "reader"), **small, **changes})
