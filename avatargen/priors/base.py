"""The interface that every diffusion prior implements, and how one is loaded.

Latents are scaled: what the UNet expects, and what the renderer paints. Timesteps are integers in
[0, len(alphas_cumprod)). Conditions are text embeddings, one for each sample.

Tensors are given and returned on the prior's device; images to encode, and so plain colours, may be on any.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.config.plugins import PRIORS, load_class
from avatargen.config.settings import PriorSettings


class Prior(ABC):
    """A latent diffusion model, frozen.

    Attributes:
        id: name and a hash of its weights; part of every fingerprint.
        latent_channels: C of its latents.
        downscale: image pixels on each side of a latent pixel.
        prediction: what the network predicts: ``epsilon``, ``v_prediction`` or ``sample``.
        alphas_cumprod: signal level of each timestep (DDPM's alpha-bar).
    """

    id: str
    latent_channels: int
    downscale: int
    prediction: str
    alphas_cumprod: Float[Tensor, " T"]

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.alphas_cumprod.device

    @abstractmethod
    def embed(self, prompts: list[str]) -> Float[Tensor, "N L D"]:
        """Text embeddings; the empty prompt gives the unconditional one.

        A prompt that is too long is cut before its view (see `avatargen.priors.long_prompts`), with a warning.
        """

    @abstractmethod
    def predict(
        self, noisy: Float[Tensor, "N C h w"], timesteps: Int[Tensor, " N"], condition: Float[Tensor, "N L D"]
    ) -> Float[Tensor, "N C h w"]:
        """The network's output, without gradient."""

    @abstractmethod
    def decode(self, latents: Float[Tensor, "N C h w"]) -> Float[Tensor, "N 3 H W"]:
        """Images in [0, 1], differentiable in the latents; H = h x downscale."""

    @abstractmethod
    def encode(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N C h w"]:
        """Mean latents of images in [0, 1]."""


def load_prior(settings: PriorSettings, root: Path = Path()) -> Prior:
    """Load a prior; a relative path that exists below `root` is a folder, anything else a hub id.

    Raises:
        InputError: unknown kind, or nothing to load there.
    """
    return load_class("prior", settings.kind, PRIORS).load(settings, root)


def flat_latents(prior: Prior, colours: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
    """Latents of plain images of a colour (RGB in [0, 1]): the mean over the image's inner half."""
    size = 16 * prior.downscale
    images = colours[:, :, None, None].expand(-1, -1, size, size)
    return prior.encode(images)[..., 4:-4, 4:-4].mean(dim=(-2, -1))


def grey_response(prior: Prior, levels: int = 17) -> Float[Tensor, "levels C"]:
    """Latents of plain greys from black to white: how shading looks to the prior, without an encoder in the step."""
    greys = torch.linspace(0, 1, levels)
    return flat_latents(prior, greys[:, None].expand(-1, 3))
