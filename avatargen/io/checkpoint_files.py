"""Find out what a checkpoint of a diffusion model is, from its small files and headers; imports no torch.

A checkpoint is a diffusers folder (``model_index.json`` and a folder for each part), such a folder in the cache of the
hub, or a single ``.safetensors`` file in the layout of the original Stable Diffusion.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)(?:\.(\w+))?(?:-\d+-of-\d+)?(?:\.(\w+))?\.(?:safetensors|bin)"
)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_LONGEST_HEADER = 100_000_000
"""Bytes; the limit of the safetensors format."""
INPUTS = {
    5: "a depth-to-image model",
    7: "an upscaler",
    8: "an image-editing or image-to-video model",
    9: "an inpainting model",
}
"""What a UNet is whose input has more channels than the latents."""
UNET, VAE = "model.diffusion_model.", "first_stage_model."
"""How the names of a single file's tensors start."""


@dataclass(frozen=True)
class Facts:
    """What a checkpoint is.

    Attributes:
        kind: the kind of prior that loads it, a name in `avatargen.config.plugins.PRIORS`; None if no kind does.
        name: of the model family, for messages.
        latent_size: rows and columns of the latents that it was trained on; None if it does not say.
        text_width: size of the text embeddings that the UNet takes; None if it does not say.
        has_vae: whether the checkpoint holds an autoencoder.
        has_scheduler: whether it says how it was trained: noise schedule and prediction type.
    """

    kind: str | None
    name: str
    latent_size: int | None = None
    text_width: int | None = None
    has_vae: bool = True
    has_scheduler: bool = True


def is_hub_id(path: str) -> bool:
    """Return whether a path may be the id of a model on the hub.

    Example:
        >>> is_hub_id("OWNER/NAME"), is_hub_id("/data/models/mine")
        (True, False)
    """
    return _HUB_ID.fullmatch(path) is not None


def find_checkpoint(path: str, root: Path, revision: str | None = None) -> Path | None:
    """Return the folder or file of a checkpoint; None for a hub id that is not in the hub's cache.

    Args:
        path: folder, file or hub id.
        root: folder that relative paths start at.
        revision: branch, tag or commit of a hub id.
    """
    if (root / path).exists():
        return root / path
    return cached_snapshot(path, revision) if is_hub_id(path) else None


def cached_snapshot(hub_id: str, revision: str | None = None) -> Path | None:
    """Return the folder of a model in the hub's cache, if it is there.

    Args:
        hub_id: ``OWNER/NAME``.
        revision: branch, tag or commit; by default ``main``.
    """
    cache = hub_cache() / f"models--{hub_id.replace('/', '--')}"
    wanted = revision or "main"
    try:
        commit = (cache / "refs" / wanted).read_text(encoding="utf-8").strip()
    except OSError:
        commit = wanted
    folder = cache / "snapshots" / commit
    return folder if folder.is_dir() else None


def read_index(folder: Path) -> dict[str, Any]:
    """Return ``model_index.json`` of a diffusers folder, without the parts that it states to be absent.

    Raises:
        OSError, ValueError: the file is missing, or holds no JSON object.
    """
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    if not isinstance(index, dict):
        raise ValueError("not a JSON object")
    return _present(index)


def part_config(folder: Path, part: str) -> dict[str, Any]:
    """Return the configuration of a part of a diffusers folder; empty if it cannot be read."""
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    try:
        config = json.loads((folder / part / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def variants(folder: Path) -> set[str | None]:
    """Return the variants of the weights in a part's folder, such as ``fp16``; None is the one without a name."""
    names = [file.name for file in folder.glob("*") if file.is_file() and file.stat().st_size > 0]
    return {match[1] or match[2] for match in map(_WEIGHTS.fullmatch, names) if match}


def choose_variant(folder: Path, asked: str | None) -> str | None:
    """Return which variant of a part's weights to load: the one asked for, else the usual one, else what is there.

    Args:
        folder: of the part.
        asked: name of a variant; a part that lacks it has its usual weights loaded, as diffusers does.
    """
    found = variants(folder)
    if asked in found or not found:
        return asked
    if None in found:
        return None
    return "fp16" if "fp16" in found else sorted(map(str, found))[0]


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a safetensors file's tensors by name, from its header.

    Raises:
        ValueError: not a safetensors file.
        OSError: the file cannot be read.
    """
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 0 < length <= _LONGEST_HEADER:
            raise ValueError("not a safetensors file")
        header = json.loads(stream.read(length).decode("utf-8"))
    return {name: tuple(value["shape"]) for name, value in header.items() if name != "__metadata__"}


def identify(place: Path) -> Facts:
    """Return what a checkpoint is.

    Args:
        place: folder or file.

    Raises:
        OSError, ValueError: a folder without a readable ``model_index.json``; a file that is not safetensors.
    """
    return identify_file(tensor_shapes(place)) if place.is_file() else identify_folder(place)


def identify_folder(folder: Path) -> Facts:
    """Return what a diffusers folder is, see `identify_parts`; raise as `read_index` does."""
    return identify_parts(read_index(folder), part_config(folder, "unet"), part_config(folder, "scheduler"))


def identify_parts(index: Mapping[str, Any], unet: Mapping[str, Any], scheduler: Mapping[str, Any]) -> Facts:
    """Return what a pipeline in diffusers' format is.

    What counts are the networks: a text-to-image model saved by an image-to-image pipeline is one nevertheless.

    Args:
        index: ``model_index.json``.
        unet, scheduler: configuration of these parts; empty if there is none.
    """
    index = _present(index)
    name = str(index.get("_class_name", "a pipeline"))
    if "transformer" in index:
        return Facts(None, f"{name}, a diffusion transformer")
    if "unet" not in index:
        embeds = ", which embeds texts for Kandinsky's decoder" if "prior" in index else ""
        return Facts(None, f"{name}{embeds}")
    other = _other_unet(unet, index) or _other_training(unet, scheduler)
    if other:
        return Facts(None, f"{name}, {other}")
    width, size = unet.get("cross_attention_dim"), unet.get("sample_size")
    facts: dict[str, Any] = {
        "latent_size": max(size) if isinstance(size, list) else size,
        "text_width": width if isinstance(width, int) else None,
        "has_scheduler": bool(scheduler),
    }
    if unet.get("encoder_hid_dim_type") == "image_proj":
        return Facts("kandinsky", "Kandinsky 2.2", **facts)
    if unet.get("addition_embed_type") == "text_time":
        return Facts("sdxl", "Stable Diffusion XL", **facts)
    version = {768: " 1.x", 1024: " 2.x"}.get(width, "") if isinstance(width, int) else ""
    return Facts("stable_diffusion", f"Stable Diffusion{version}", **facts)


def identify_file(shapes: Mapping[str, tuple[int, ...]]) -> Facts:
    """Return what a single file is, by the names and shapes of its tensors.

    Args:
        shapes: see `tensor_shapes`.
    """
    first = shapes.get(f"{UNET}input_blocks.0.0.weight")
    if first is None:
        return Facts(None, _other_file(shapes))
    attention = f"{UNET}input_blocks.%s.1.transformer_blocks.0.attn2.to_k.weight"
    widths = [shapes[attention % block][-1] for block in range(12) if attention % block in shapes]
    vae = any(name.startswith(VAE) for name in shapes)
    facts: dict[str, Any] = {"text_width": widths[0] if widths else None, "has_vae": vae}
    if first[1] != 4:
        return Facts(None, INPUTS.get(first[1], f"a UNet with {first[1]} input channels"))
    if "edm_mean" in shapes:
        return Facts(None, "Playground 2.5, which is trained in EDM's formulation")
    if any(name.startswith("conditioner.embedders.1.") for name in shapes):
        return Facts("sdxl", "Stable Diffusion XL", latent_size=128, **facts)
    if any(name.startswith("conditioner.embedders.0.model.") for name in shapes):
        return Facts(None, "the refiner of Stable Diffusion XL")
    if any(name.startswith("cond_stage_model.model.") for name in shapes):
        return Facts("stable_diffusion", "Stable Diffusion 2.x", has_scheduler=False, **facts)
    if any(name.startswith("cond_stage_model.transformer.") for name in shapes):
        return Facts("stable_diffusion", "Stable Diffusion 1.x", latent_size=64, **facts)
    return Facts(None, "a UNet without its text encoder")


def _present(index: Mapping[str, Any]) -> dict[str, Any]:
    """Return an index without the parts that it states to be absent."""
    return {name: value for name, value in index.items() if value not in (None, [None, None], (None, None))}


def _other_unet(unet: Mapping[str, Any], index: Mapping[str, Any]) -> str | None:
    """Return what a pipeline with a UNet is, if it is none that a prior wraps."""
    network = unet.get("_class_name") or (index["unet"][1] if index["unet"] else "UNet2DConditionModel")
    if network != "UNet2DConditionModel":
        return f"whose network is a {network}"
    channels = unet.get("in_channels", 4)
    if channels != 4:
        return INPUTS.get(channels, f"a UNet with {channels} input channels")
    hidden = unet.get("encoder_hid_dim_type")
    if hidden == "image_proj":
        return None
    if hidden is not None:
        return "Kandinsky 2.1" if hidden == "text_image_proj" else f"whose UNet takes conditions of type {hidden}"
    if "text_encoder" not in index:
        refiner = unet.get("addition_embed_type") == "text_time"
        return "the refiner of Stable Diffusion XL" if refiner else "a model that takes no text"
    if unet.get("class_embed_type") is not None or unet.get("num_class_embeds") is not None:
        return "whose UNet takes classes or images beside the text"
    known = {"CLIPTextModel", "CLIPTextModelWithProjection"}
    text = [index[part][1] for part in ("text_encoder", "text_encoder_2") if len(index.get(part, ())) == 2]
    strange = [name for name in text if name not in known]
    return f"whose text encoder is a {strange[0]}" if strange else None


def _other_training(unet: Mapping[str, Any], scheduler: Mapping[str, Any]) -> str | None:
    """Return how a model was trained, if not to denoise at the levels of a noise schedule."""
    if unet.get("time_cond_proj_dim") is not None:
        return "a latent consistency model, which has guidance distilled into it"
    name = str(scheduler.get("_class_name", ""))
    if name.startswith("FlowMatch") or scheduler.get("prediction_type") == "flow_prediction":
        return "which is trained by flow matching"
    return "which is trained in EDM's formulation" if name.startswith("EDM") else None


def _other_file(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return what a file without a UNet of Stable Diffusion is."""

    def has(*parts: str) -> bool:
        return any(part in name for part in parts for name in shapes)

    if has("lora"):
        return "a LoRA file, which belongs into `lora`"
    if has("joint_blocks.", "double_blocks.", "transformer_blocks.") and not has("down_blocks."):
        return "a diffusion transformer"
    if has("down_blocks.") and has("mid_block.") and "conv_in.weight" in shapes:
        return "a UNet alone"
    if has("encoder.conv_in", "encoder.down"):
        return "an autoencoder alone, which belongs into `vae`"
    return "no checkpoint of Stable Diffusion"


def hub_cache() -> Path:
    """Return the folder of the hub's cache, by the environment variables of huggingface_hub."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if stated := os.environ.get(variable):
            return Path(stated)
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"
