"""CLIP models loaded by open_clip, and CLIP as the guide of CLIP-guided baselines.

The loss is 1 - cos(image, text) (Dream Fields, arXiv 2112.01455, eq. 3; CLIP-Mesh and ClipFace use the same). Images
are decoded from rendered latents, over random cameras and backgrounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from avatargen.config.errors import InputError
from avatargen.config.experiment import JudgeSettings
from avatargen.priors.long_prompts import truncate_to_fit


def load_clip(name: str, settings: JudgeSettings, root: Path) -> tuple[Any, Callable[..., Any], Callable[..., Any]]:
    """Load a CLIP model.

    Args:
        name: of the judge, for error messages.
        settings: `model` is a folder below `root`, or one of open_clip's names.
        root: folder that relative paths start at.

    Returns:
        Model in evaluation mode, preprocessing (PIL image → tensor) and tokenizer (texts → tensor).

    Raises:
        InputError: there is no such model, or its weights are missing or do not fit.
    """
    folder = root / settings.model
    source = f"local-dir:{folder}" if folder.is_dir() else settings.model
    pretrained = settings.pretrained
    if pretrained and (root / pretrained).is_file():
        pretrained = str(root / pretrained)
    try:
        loaded: Any = open_clip.create_model_from_pretrained(source, pretrained)
        model, preprocess = loaded
        tokenize = open_clip.get_tokenizer(source)
    except Exception as error:  # open_clip raises whatever its loaders and the hub's client raise
        raise InputError([_cannot_load(name, settings, folder.is_dir(), str(error))]) from error
    return model.eval(), preprocess, tokenize


def is_truncated(tokenize: Callable[..., Any], texts: list[str]) -> list[bool]:
    """Return for each text whether open_clip's tokenizer truncates it.

    A text is truncated if its tokens differ from those that it has in twice the length.
    """
    tokens = tokenize(texts)
    length = tokens.shape[1]
    longer = tokenize(texts, 2 * length)[:, :length]
    return (tokens != longer).any(1).tolist()


def _cannot_load(name: str, settings: JudgeSettings, is_folder: bool, reason: str) -> str:
    """Return the error message for a model that does not load."""
    kind = "folder" if is_folder else "open_clip model"
    return (
        f"judge '{name}': {kind} '{settings.model}' (pretrained: {settings.pretrained}) cannot be loaded: "
        f"{(reason.splitlines() or ['no reason given'])[0]}; expected an open_clip model name and tag whose "
        "weights are available, or a folder with open_clip_config.json and weights"
    )


@dataclass(frozen=True)
class ClipGuide:
    """A frozen CLIP whose similarities are differentiable in the images.

    Attributes:
        model: a module of open_clip.
        tokenize: texts → tokens.
        size: rows and columns of the model's input images.
        mean, std: normalisation of the input images.
    """

    model: Any
    tokenize: Callable[..., Any]
    size: int
    mean: Float[Tensor, "3 1 1"]
    std: Float[Tensor, "3 1 1"]

    @classmethod
    def load(cls, name: str, settings: JudgeSettings, root: Path) -> ClipGuide:
        """Load a guide, onto the GPU if there is one.

        Args:
            name, settings, root: see `load_clip`.

        Raises:
            InputError: see `load_clip`.
        """
        model, _, tokenize = load_clip(name, settings, root)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = model.to(device).requires_grad_(False)
        size = model.visual.image_size
        mean, std = (torch.tensor(getattr(model.visual, f"image_{part}")).view(3, 1, 1) for part in ("mean", "std"))
        return cls(model, tokenize, size[0] if isinstance(size, tuple) else size, mean.to(device), std.to(device))

    @torch.no_grad()
    def embed(self, prompts: list[str]) -> Float[Tensor, "N D"]:
        """Return unit-norm embeddings; a prompt that is too long is truncated before its view, see `truncates`."""
        prompts = [truncate_to_fit(prompt, lambda text: not self.truncates([text])[0]) for prompt in prompts]
        return self.model.encode_text(self.tokenize(prompts).to(self.mean.device), normalize=True)

    def truncates(self, prompts: list[str]) -> list[bool]:
        """Return for each prompt whether `embed` leaves out its end; a view counts as part of the prompt."""
        return is_truncated(self.tokenize, prompts)

    def similarity(self, images: Float[Tensor, "N 3 H W"], texts: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        """Return the cosine of each image's embedding with its text's, differentiable in the images.

        Args:
            images: RGB in [0, 1]; resized to the model's input size.
            texts: see `embed`.
        """
        if images.shape[-1] != self.size:
            images = F.interpolate(images, size=(self.size, self.size), mode="bicubic", antialias=True)
        seen = self.model.encode_image((images - self.mean) / self.std, normalize=True)
        return (seen * texts).sum(1)
