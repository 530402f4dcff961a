"""Judges: CLIP models that embed views and captions.

A judge is any model that open_clip loads: one of its names with a pretrained tag, or a folder with
``open_clip_config.json`` and weights. Images go through the model's own preprocessing. Embeddings have unit norm,
and are computed in float32 on every device.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile

import numpy as np
import open_clip
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from avatargen.config.errors import InputError
from avatargen.config.experiment import JudgeSettings
from avatargen.io.atomic import read_json, replacing
from avatargen.io.content_hash import clip_id, digest
from avatargen.io.history import History
from avatargen.priors.clip import is_truncated, load_clip
from avatargen.priors.precision import full_float32
from eval.embeddings import NOISY, embeddings_path, is_embedded
from eval.images import KINDS, Images, unpacked

Encoder = Callable[[Tensor], Tensor]
"""A method of an open_clip model; torch's annotations take it for a tensor or a module."""

PROBE = "The quick brown fox jumps over the lazy dog; a smiling old woman with an afro, 0123456789"
"""A text that tokenizers of different vocabularies split into different tokens."""


@dataclass(frozen=True)
class Judge:
    """A CLIP model with its preprocessing and tokenizer.

    Attributes:
        name: as in judges.yaml; part of file names.
        id: model, and tag or hash of the weights, for people; the same wherever a folder lies.
        model: open_clip model in evaluation mode.
        architecture: its configuration, see `architecture`.
        preprocess: PIL image → tensor.
        tokenize: texts → tensor.
    """

    name: str
    id: str
    model: torch.nn.Module
    architecture: Mapping[str, Any]
    preprocess: Callable[..., Any]
    tokenize: Callable[..., Any]

    @classmethod
    def load(cls, name: str, settings: JudgeSettings, root: Path) -> Judge:
        """Load a judge onto the GPU if there is one, else on the CPU; a folder as `settings.model` is one below `root`.

        Raises:
            InputError: no such model, or its weights are missing or do not fit.
        """
        model, preprocess, tokenize = load_clip(name, settings, root)
        model = model.to("cuda" if torch.cuda.is_available() else "cpu", memory_format=torch.channels_last)
        return cls(name, judge_id(settings, root), model, architecture(settings, root), preprocess, tokenize)

    def content(self) -> str:
        """Return a digest of what decides the embeddings: 12 hexadecimal digits.

        It covers the configuration, the preprocessing, the tokens of PROBE, and the loaded weights as float32. So it
        does not matter whether weights came by path or by tag, or where a folder lies.
        """
        preprocessing = getattr(self.model.visual, "preprocess_cfg", {})
        tokens = self.tokenize([PROBE]).tolist()
        found = hashlib.sha256(digest(self.architecture, preprocessing, tokens).encode())
        for name, values in sorted(self.model.state_dict().items()):
            found.update(f"{name} {tuple(values.shape)}".encode())
            found.update(values.detach().float().cpu().contiguous().numpy())
        return found.hexdigest()[:12]

    @torch.inference_mode()
    def embed_images(self, images: UInt8[np.ndarray, "N H W 3"], batch: int = 32) -> Float[np.ndarray, "N D"]:
        """Return unit-norm embeddings of 8-bit RGB images."""
        device = next(self.model.parameters()).device
        encode, parts = cast(Encoder, self.model.encode_image), []
        for start in range(0, len(images), batch):
            pixels = [self.preprocess(Image.fromarray(image)) for image in images[start : start + batch]]
            stacked = torch.stack(pixels).to(device, memory_format=torch.channels_last)  # the fastest on a CPU
            with full_float32():
                parts.append(encode(stacked))
        return normalize(torch.cat(parts).float(), dim=-1).cpu().numpy()

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str], batch: int = 256) -> Float[np.ndarray, "N D"]:
        """Return unit-norm embeddings of captions, without a template; those that are too long are truncated."""
        device = next(self.model.parameters()).device
        encode = cast(Encoder, self.model.encode_text)
        with full_float32():
            parts = [
                encode(self.tokenize(list(texts[start : start + batch])).to(device))
                for start in range(0, len(texts), batch)
            ]
        return normalize(torch.cat(parts).float(), dim=-1).cpu().numpy()

    def truncated(self, texts: Sequence[str]) -> list[str]:
        """Return the captions that the tokenizer truncates, each once."""
        texts = list(dict.fromkeys(texts))
        return [text for text, truncated in zip(texts, is_truncated(self.tokenize, texts), strict=True) if truncated]


def judge_id(settings: JudgeSettings, root: Path) -> str:
    """Return the model of a judge, and the tag or hash of its weights.

    Args:
        settings: of the judge. A model that is a folder goes by its name, wherever it lies.
        root: what the folder is relative to.
    """
    folder = root / settings.model
    model = folder.name if folder.is_dir() else settings.model
    return f"{model}:{settings.pretrained or digest(clip_id(settings, root))[:8]}"


def architecture(settings: JudgeSettings, root: Path) -> Mapping[str, Any]:
    """Return open_clip's configuration of a judge's model, without the name of its tokenizer, which may be a folder.

    Args:
        settings: of the judge.
        root: what a folder is relative to.
    """
    folder = root / settings.model
    found = read_json(folder / "open_clip_config.json").get("model_cfg") if folder.is_dir() else None
    config: dict[str, Any] = found or open_clip.get_model_config(settings.model) or {}
    text = {name: value for name, value in config.get("text_cfg", {}).items() if name != "hf_tokenizer_name"}
    return {**config, "text_cfg": text}


def embed_avatar(folder: Path, judge: Judge, fingerprint: str, noise_draws: int) -> Path:
    """Embed the views and the snapshots in an avatar's folder, unless embeddings with this fingerprint exist.

    Args:
        folder: of the avatar; its name is the avatar's id.
        judge: the model.
        fingerprint: of the embeddings.
        noise_draws: number of noisy copies of the views that are embedded too, see `add_noise`.

    Returns:
        The path of the embeddings, see :mod:`eval.embeddings`.

    Raises:
        InputError: the folder holds no readable ``views.npz``.
        OSError: the disk is full or the folder cannot be written.
    """
    path = embeddings_path(folder, judge.name)
    if is_embedded(folder, judge.name, fingerprint):
        return path
    try:
        with np.load(folder / "views.npz") as file:
            views, protocol = {kind: unpacked(file[kind]) for kind in KINDS}, json.loads(str(file["protocol"]))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError([f"{folder / 'views.npz'}: not readable ({error}); render the avatar first"]) from error
    plain = _embed_kinds(judge, views)
    draws = [_embed_kinds(judge, add_noise(views, folder.name, draw)) for draw in range(noise_draws)]
    shots = [image for _, image in History.load(folder).snapshots]
    width = plain[KINDS[0]].shape[1:]
    arrays: dict[str, Any] = {
        "progress": judge.embed_images(np.stack(shots)) if shots else np.zeros((0, *width), np.float32)
    }
    for kind, embeddings in plain.items():
        means = [draw[kind].mean(axis=0) for draw in draws]
        arrays |= {kind: embeddings, f"{kind}{NOISY}": np.array(means, np.float32).reshape(-1, *width)}
    protocol["noise_draws"] = noise_draws  # a render that is current may state another number
    arrays |= {"fingerprint": np.array(fingerprint), "protocol": np.array(json.dumps(protocol, sort_keys=True))}
    with replacing(path) as partial:
        np.savez(partial, **arrays)
    return path


def add_noise(views: dict[str, Images], avatar: str, draw: int) -> dict[str, Images]:
    """Return images whose pixels are off by -1, 0 or +1 of 255 in each channel, each with the same probability.

    The noise is as large as the differences of rounding between machines. It depends on the avatar's id and the number
    of the draw alone, so that methods are compared under the same noise.

    Args:
        views: images by kind.
        avatar: id.
        draw: number of the draw.

    Example:
        >>> grey = {"baked": np.full((1, 2, 2, 3), 128, np.uint8)}
        >>> noisy = add_noise(grey, "a-man-0f", draw=0)["baked"]
        >>> sorted(set(noisy.flatten().tolist()) - {127, 128, 129})
        []
    """
    key = int.from_bytes(hashlib.sha256(avatar.encode()).digest()[:8], "little")
    rng = np.random.default_rng([draw, key])
    noise = {kind: rng.integers(-1, 2, images.shape, np.int16) for kind, images in views.items()}
    return {kind: np.clip(images + noise[kind], 0, 255).astype(np.uint8) for kind, images in views.items()}


def _embed_kinds(judge: Judge, views: dict[str, Images]) -> dict[str, Float[np.ndarray, "V D"]]:
    """Return the embeddings of an avatar's images by kind: all in one call, so that draws differ by noise alone."""
    stacked = judge.embed_images(np.concatenate(list(views.values())))
    parts = np.split(stacked, np.cumsum([len(images) for images in views.values()])[:-1])
    return dict(zip(views, parts, strict=True))
