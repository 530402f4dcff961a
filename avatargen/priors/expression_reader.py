"""Read facial actions in what a diffusion prior makes of a face, so that they can move a head's expression.

A reader is neither the prior nor a judge, and it is frozen. `SmallReader` reads the closed world's faces. For a prior
of photographs, a face-landmark detector that returns ARKit's actions fits behind the same interface.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from avatargen.config.errors import InputError
from avatargen.config.plugins import READERS, load_class
from avatargen.config.settings import ReaderSettings
from avatargen.priors.base import Prior
from avatargen.priors.gradient_histograms import BINS, CELL, gradient_histograms
from avatargen.priors.parts import DECODED, in_parts

SIZE = 128
"""Rows and columns of the images that a `SmallReader` sees; others are resized."""


class ExpressionReader(ABC):
    """Reads facial actions.

    Attributes:
        actions: their names in ARKit; a head model has an action if one of its expression coefficients has the name.
    """

    actions: tuple[str, ...]

    @abstractmethod
    def read(self, latents: Float[Tensor, "N V C h w"]) -> Float[Tensor, "N K"]:
        """Return the strength of each of K actions in [0, 1] on each of N faces, without gradient.

        Each face is read on its own. One that cannot be read may give values that are not finite; these are ignored.

        Args:
            latents: of V images of each face, seen from the front and up to 30 degrees to either side.
        """

    @classmethod
    @abstractmethod
    def load(cls, settings: ReaderSettings, root: Path, prior: Prior) -> ExpressionReader:
        """Load a reader.

        Args:
            settings: where it is.
            root: folder that relative paths start at.
            prior: whose latents it reads.

        Raises:
            InputError: it cannot be loaded, or cannot read this prior's latents.
        """


def load_reader(settings: ReaderSettings | None, root: Path, prior: Prior) -> ExpressionReader | None:
    """Load the reader that a prior's settings name; return None where they name none.

    Args:
        settings: of the reader.
        root: folder that relative paths start at.
        prior: whose latents it reads.

    Raises:
        InputError: the kind is unknown, or the reader cannot be loaded.
    """
    if settings is None:
        return None
    return load_class("reader", settings.kind, READERS).load(settings, root, prior)


class ReaderNetwork(nn.Module):
    """A small convolutional network on an image's gradient histograms; 0.3 M parameters.

    It tells a few expressions apart.

    Args:
        expressions: facial actions of each expression, (E, K).
    """

    expressions: Float[Tensor, "E K"]

    def __init__(self, expressions: Float[Tensor, "E K"]):
        super().__init__()
        self.register_buffer("expressions", expressions)
        layers: list[nn.Module] = []
        for given, made, stride in ((BINS, 64, 1), (64, 96, 2), (96, 96, 1)):
            layers += [nn.Conv2d(given, made, 3, stride, 1, bias=False), nn.BatchNorm2d(made), nn.ReLU()]
        flat = 32 * (SIZE // CELL // 2) ** 2
        layers += [nn.Conv2d(96, 32, 1), nn.Flatten(), nn.ReLU(), nn.Dropout(0.3)]
        self.body = nn.Sequential(*layers, nn.Linear(flat, 96), nn.ReLU(), nn.Linear(96, len(expressions)))

    def forward(self, histograms: Float[Tensor, "N 9 h w"]) -> Float[Tensor, "N E"]:
        """Return the logits of the expressions."""
        return self.body(histograms)

    def seen(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N E"]:
        """Return the logits of the expressions in images, RGB in [0, 1]."""
        if images.shape[-1] != SIZE:
            images = F.interpolate(images, size=(SIZE, SIZE), mode="area")
        return self(gradient_histograms(images))


class SmallReader(ExpressionReader):
    """Reads decoded close-ups of the closed world's faces by a small network.

    It takes the mean of the logits of a face's images, and returns the mean of the expressions, weighted by their
    probabilities: an unclear face gives a weak expression. The network saw all expressions equally often, so logits are
    moved to what is expected: faces without an expression were read as faint smiles and frowns without that.

    Args:
        prior: decodes.
        actions: names of what is read.
        network: reads images.
        neutral: expected share of faces without an expression, in (0, 1).
    """

    def __init__(self, prior: Prior, actions: tuple[str, ...], network: ReaderNetwork, neutral: float):
        self.actions, self._prior = actions, prior
        self._network = network.to(prior.device).eval().requires_grad_(False)
        self._expected = log_frequencies(self._network.expressions, neutral)

    def read(self, latents: Float[Tensor, "N V C h w"]) -> Float[Tensor, "N K"]:
        """See the base class."""
        network, decode, flat = self._network, self._prior.decode, latents.flatten(0, 1)
        with torch.no_grad():
            logits = in_parts(lambda part: network.seen(decode(part).float()), DECODED, flat)
            seen = logits.unflatten(0, latents.shape[:2]).mean(1)
            return (seen + self._expected).softmax(1) @ network.expressions

    @classmethod
    def load(cls, settings: ReaderSettings, root: Path, prior: Prior) -> SmallReader:
        """See the base class."""
        path = root / settings.path
        try:
            with safe_open(path, framework="pt") as file:
                actions = tuple(json.loads((file.metadata() or {})["actions"]))
            tensors = {name: value.float() for name, value in load_file(path).items()}
            network = ReaderNetwork(tensors["expressions"])
            network.load_state_dict(tensors)
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise InputError(
                [f"reader: cannot load '{path}' (expected a file of `avatargen train expressions`): {error}"]
            ) from error
        return cls(prior, actions, network, settings.neutral)


def log_frequencies(expressions: Float[Tensor, "E K"], neutral: float) -> Float[Tensor, " E"]:
    """Return the logarithm of how frequent each expression is expected to be.

    Args:
        expressions: their facial actions; 0 everywhere where there is no expression.
        neutral: share of faces without an expression; the others are equally frequent.

    Example:
        >>> log_frequencies(torch.tensor([[0.0], [0.9], [0.5]]), 0.5).exp().tolist()
        [0.5, 0.25, 0.25]
    """
    without = (expressions == 0).all(1)
    shares = torch.where(without, neutral / without.sum(), (1 - neutral) / (~without).sum())
    return shares.log()


def save_reader(network: ReaderNetwork, actions: tuple[str, ...], path: Path) -> None:
    """Write the weights of a `SmallReader` in half precision, with the names of the actions."""
    tensors = {name: value.cpu().half().contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, path, metadata={"actions": json.dumps(actions)})
