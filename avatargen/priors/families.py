"""The configurations of the families whose single-file checkpoints people have: Stable Diffusion 1.x, 2.x and XL.

A single file holds tensors alone. diffusers would fetch the rest from a hub; `write_configuration` writes it instead,
for the networks of full size: Stable Diffusion 1.x, stabilityai/stable-diffusion-2-1 (and -base),
stabilityai/stable-diffusion-xl-base-1.0. The tokenizer of all of them is OpenAI's of CLIP, which open_clip ships.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip.tokenizer
from transformers import CLIPTokenizer

SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
"""Noise schedule of all three families (arXiv 2112.10752, and the scheduler files of the checkpoints)."""
LONGEST = 77
"""Tokens that CLIP's text encoders read."""

_DOWN = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
_UP = ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3
_UNET = {
    "_class_name": "UNet2DConditionModel",
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 2,
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": _DOWN,
    "up_block_types": _UP,
}
UNETS: dict[str, dict[str, Any]] = {
    "sd1": {**_UNET, "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    "sd2": {
        **_UNET,
        "sample_size": 96,
        "cross_attention_dim": 1024,
        "attention_head_dim": [5, 10, 20, 20],
        "use_linear_projection": True,
    },
    "sdxl": {
        **_UNET,
        "sample_size": 128,
        "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "cross_attention_dim": 2048,
        "attention_head_dim": [5, 10, 20],
        "transformer_layers_per_block": [1, 2, 10],
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
"""UNets, as diffusers' ``unet/config.json`` states them where they differ from its defaults."""
_VAE = {
    "_class_name": "AutoencoderKL",
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "latent_channels": 4,
}
VAES: dict[str, dict[str, Any]] = {
    "sd1": {**_VAE, "sample_size": 512, "scaling_factor": 0.18215},
    "sd2": {**_VAE, "sample_size": 768, "scaling_factor": 0.18215},
    "sdxl": {**_VAE, "sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True},
}
_IDS = {"bos_token_id": 49406, "eos_token_id": 49407, "vocab_size": 49408, "max_position_embeddings": LONGEST}
_CLIP_L = {
    **_IDS,
    "model_type": "clip_text_model",
    "hidden_act": "quick_gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "projection_dim": 768,
}
_OPEN_CLIP_H = {
    **_CLIP_L,
    "hidden_act": "gelu",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 23,  # of 24: the family takes the last but one layer
    "projection_dim": 512,
}
_OPEN_CLIP_G = {
    **_CLIP_L,
    "hidden_act": "gelu",
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_attention_heads": 20,
    "num_hidden_layers": 32,
    "projection_dim": 1280,
}
TEXT_ENCODERS: dict[str, dict[str, dict[str, Any]]] = {
    "sd1": {"text_encoder": _CLIP_L},
    "sd2": {"text_encoder": _OPEN_CLIP_H},
    "sdxl": {"text_encoder": _CLIP_L, "text_encoder_2": _OPEN_CLIP_G},
}
_PADDING = {"sd1": ("<|endoftext|>",), "sd2": ("!",), "sdxl": ("<|endoftext|>", "!")}
"""Padding of each tokenizer; ``!`` is token 0."""


def write_configuration(folder: Path, family: str, training: Mapping[str, Any]) -> None:
    """Write what a diffusers folder of a family holds beside its weights.

    Args:
        folder: is created.
        family: ``sd1``, ``sd2`` or ``sdxl``.
        training: what the scheduler's configuration states beside SCHEDULE, such as the prediction type.
    """
    encoders = TEXT_ENCODERS[family]
    parts: dict[str, Any] = {
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    texts = ["CLIPTextModel", "CLIPTextModelWithProjection"]
    for name, text, padding in zip(encoders, texts, _PADDING[family], strict=False):
        tokenizer = name.replace("text_encoder", "tokenizer")
        parts |= {name: ["transformers", text], tokenizer: ["transformers", "CLIPTokenizer"]}
        clip_tokenizer(padding).save_pretrained(folder / tokenizer)
    pipeline = "StableDiffusionXLPipeline" if family == "sdxl" else "StableDiffusionPipeline"
    _write(folder / "model_index.json", {"_class_name": pipeline, **parts})
    for part, config in {"unet": UNETS[family], "vae": VAES[family], **encoders}.items():
        _write(folder / part / "config.json", config)
    scheduler = {"_class_name": "DDIMScheduler", **SCHEDULE, **training}
    _write(folder / "scheduler" / "scheduler_config.json", scheduler)


def clip_tokenizer(padding: str) -> CLIPTokenizer:
    """Return CLIP's tokenizer, made from the merges that open_clip ships.

    Args:
        padding: the token that fills a text up.

    Example:
        >>> clip_tokenizer("!")("a head").input_ids
        [49406, 320, 1375, 49407]
    """
    text = gzip.decompress(Path(open_clip.tokenizer.default_bpe()).read_bytes()).decode("utf-8")
    merges = text.split("\n")[1 : 49152 - 256 - 2 + 1]
    letters = list(open_clip.tokenizer.bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *(merge.replace(" ", "") for merge in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={word: number for number, word in enumerate(words)},
        merges=[tuple(merge.split()) for merge in merges],  # pyright: ignore[reportArgumentType]
        pad_token=padding,
        model_max_length=LONGEST,
    )


def _write(file: Path, values: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values, indent=2), encoding="utf-8")
