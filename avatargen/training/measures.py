"""Measure how often a judge matches pictures of heads to their captions, and attribute by attribute."""

# open_clip's models have no types.
# pyright: reportCallIssue=false

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.headworld.attributes import SHAPE, VALUES, Attributes
from avatargen.headworld.phrases import caption
from avatargen.training.pictures import Pictures
from avatargen.training.trainer import fast_math, training_device


class Judge:
    """A CLIP in open_clip's format, on the GPU if there is one; embeddings are returned on the CPU.

    Args:
        folder: of configuration, weights and tokenizer.
    """

    def __init__(self, folder: Path):
        name, self.device = f"local-dir:{folder}", training_device()
        self.model = open_clip.create_model(name).eval().to(self.device)
        self.tokenize = open_clip.get_tokenizer(name)

    @torch.no_grad()
    def images(self, images: np.ndarray) -> Float[Tensor, "M D"]:
        """Return unit embeddings of uint8 (M, H, W, 3) images of the size that the model takes."""
        mean, std = (
            torch.tensor(getattr(self.model.visual, f"image_{part}"), device=self.device).view(3, 1, 1)
            for part in ("mean", "std")
        )
        parts = []
        for some in np.array_split(images, math.ceil(len(images) / 64)):
            pixels = torch.from_numpy(some).to(self.device).permute(0, 3, 1, 2).float() / 255
            with fast_math():
                parts.append(self.model.encode_image((pixels - mean) / std, normalize=True).float().cpu())
        return torch.cat(parts)

    @torch.no_grad()
    def texts(self, captions: list[str]) -> Float[Tensor, "N D"]:
        """Return unit embeddings of captions."""
        return self.model.encode_text(self.tokenize(captions).to(self.device), normalize=True).cpu()


def recall(judge: Judge, pictures: Pictures, own: list[str], pool: list[str]) -> float:
    """Return the R@1 of pictures among a pool of captions.

    Args:
        judge: ranks the captions.
        pictures: of the heads.
        own: each head's caption.
        pool: captions; holds all of `own`.
    """
    similarity = judge.images(pictures.images) @ judge.texts(pool).T
    right = torch.tensor([pool.index(text) for text in own])[pictures.own]
    return float((similarity.argmax(1) == right).float().mean())


def attribute_accuracy(
    judge: Judge, pictures: Pictures, heads: list[Attributes], colours: bool = True
) -> dict[str, tuple[float, float]]:
    """Return how often a judge picks an attribute's value among captions that differ in it alone.

    Every head counts for every attribute, whether its caption names the value or not. Values that change no caption
    (the colour of hair on a bald head) do not compete; an attribute that changes no head's caption is left out.

    Args:
        judge: picks the captions.
        pictures: of the heads.
        heads: their attributes.
        colours: captions name colours, else shape only.

    Returns:
        Accuracy and chance level by attribute.
    """
    embedded, found = judge.images(pictures.images), {}
    for name in VALUES if colours else SHAPE:
        hits, chances = [], []
        for k, attributes in enumerate(heads):
            options = [caption(replace(attributes, **{name: value}), colours) for value in VALUES[name]]
            pool = list(dict.fromkeys(options))
            if len(pool) == 1:
                continue
            scores = embedded[torch.from_numpy(pictures.own) == k] @ judge.texts(pool).T
            hits.append((scores.argmax(1) == pool.index(caption(attributes, colours))).float())
            chances.append(1 / len(pool))
        if hits:
            found[name] = (float(torch.cat(hits).mean()), float(np.mean(chances)))
    return found
