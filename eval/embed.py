"""Judges: CLIP models that embed views and captions.

A judge is any model that open_clip loads: one of its names with a pretrained tag, or a folder with
``open_clip_config.json`` and weights. Images go through the model's own preprocessing. Embeddings have unit norm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.backends import cudnn
from torch.nn.functional import normalize

from avatargen.config.errors import InputError
from avatargen.config.experiment import JudgeSettings
from avatargen.io.atomic import replacing
from avatargen.io.content_hash import clip_id, digest
from avatargen.io.history import History
from avatargen.priors.clip import is_truncated, load_clip
from eval.embeddings import embeddings_path, is_embedded
from eval.images import KINDS, unpacked

Encoder = Callable[[Tensor], Tensor]
"""A method of an open_clip model; torch's annotations take it for a tensor or a module."""


@dataclass(frozen=True)
class Judge:
    """A CLIP model with its preprocessing and tokenizer.

    Attributes:
        name: as in judges.yaml; part of file names.
        id: model, and tag or hash of the weights, for protocols; the same wherever a folder lies.
        model: open_clip model in evaluation mode.
        preprocess: PIL image → tensor.
        tokenize: texts → tensor.
    """

    name: str
    id: str
    model: torch.nn.Module
    preprocess: Callable[..., Any]
    tokenize: Callable[..., Any]

    @classmethod
    def load(cls, name: str, settings: JudgeSettings, root: Path) -> Judge:
        """Load a judge onto the GPU if there is one, else on the CPU; a folder as `settings.model` is one below `root`.

        Raises:
            InputError: no such model, or its weights are missing or do not fit.
        """
        model, preprocess, tokenize = load_clip(name, settings, root)
        model = model.to("cuda" if torch.cuda.is_available() else "cpu")
        return cls(name, judge_id(settings, root), model, preprocess, tokenize)

    @torch.inference_mode()
    def embed_images(self, images: UInt8[np.ndarray, "N H W 3"], batch: int = 32) -> Float[np.ndarray, "N D"]:
        """Return unit-norm embeddings of 8-bit RGB images."""
        device = next(self.model.parameters()).device
        encode, parts = cast(Encoder, self.model.encode_image), []
        for start in range(0, len(images), batch):
            pixels = [self.preprocess(Image.fromarray(image)) for image in images[start : start + batch]]
            with cudnn.flags(enabled=True, allow_tf32=False):  # float32 on a GPU, too
                parts.append(encode(torch.stack(pixels).to(device)))
        return normalize(torch.cat(parts).float(), dim=-1).cpu().numpy()

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str], batch: int = 256) -> Float[np.ndarray, "N D"]:
        """Return unit-norm embeddings of captions, without a template; those that are too long are truncated."""
        device = next(self.model.parameters()).device
        encode = cast(Encoder, self.model.encode_text)
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


def embed_avatar(folder: Path, judge: Judge, fingerprint: str) -> Path:
    """Embed the views and the snapshots in an avatar's folder, unless embeddings with this fingerprint exist.

    Args:
        folder: of the avatar.
        judge: the model.
        fingerprint: of the embeddings.

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
            views, protocol = {kind: unpacked(file[kind]) for kind in KINDS}, str(file["protocol"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError([f"{folder / 'views.npz'}: not readable ({error}); render the avatar first"]) from error
    stacked = judge.embed_images(np.concatenate(list(views.values())))
    parts = np.split(stacked, np.cumsum([len(images) for images in views.values()])[:-1])
    shots = [image for _, image in History.load(folder).snapshots]
    progress = judge.embed_images(np.stack(shots)) if shots else stacked[:0]
    arrays: dict[str, Any] = {"progress": progress, **dict(zip(views, parts, strict=True))}
    arrays |= {"fingerprint": np.array(fingerprint), "protocol": np.array(protocol)}
    with replacing(path) as partial:
        np.savez(partial, **arrays)
    return path
