"""The interface of diffusion priors, and how a prior is loaded.

Latents are scaled as the UNet expects them; the renderer paints the same. Timesteps are integers in
[0, len(alphas_cumprod)). A condition is whatever a prior makes of a text, a matrix for each sample: the method stacks
conditions, repeats them and picks some by their first dimension, and never looks into them. So a prior that needs more
than a sequence of embeddings packs it into further rows, as that of Stable Diffusion XL does with the pooled embedding.

Tensors are on the prior's device; images to encode and plain colours may be on any device.
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
    """A frozen latent diffusion model.

    Attributes:
        id: name and hash of the weights; part of every fingerprint.
        latent_channels: C.
        downscale: side of a latent pixel, in image pixels.
        prediction: output of the network: ``epsilon``, ``v_prediction`` or ``sample``.
        alphas_cumprod: signal level of each timestep (DDPM's alpha-bar).
    """

    id: str
    latent_channels: int
    downscale: int
    prediction: str
    alphas_cumprod: Float[Tensor, " T"]

    @property
    def device(self) -> torch.device:
        """Return the device of the networks."""
        return self.alphas_cumprod.device

    @property
    def text_encoders(self) -> tuple[torch.nn.Module, ...]:
        """Return the networks that only `embed` uses, so that they can leave the device between its calls."""
        return ()

    @abstractmethod
    def embed(self, prompts: list[str]) -> Float[Tensor, "N L D"]:
        """Return conditions; that of the empty prompt is the unconditional one.

        A prompt that is too long is truncated before its view; see `truncates`.
        """

    @abstractmethod
    def truncates(self, prompts: list[str]) -> list[bool]:
        """Return for each prompt whether `embed` leaves out its end, because the text encoder cannot read it.

        A view counts as part of the prompt: a prompt that fits on its own may be truncated with a view.
        """

    @abstractmethod
    def predict(
        self, noisy: Float[Tensor, "N C h w"], timesteps: Int[Tensor, " N"], condition: Float[Tensor, "N L D"]
    ) -> Float[Tensor, "N C h w"]:
        """Return the network's output, without gradient.

        Args:
            noisy: latents at the timesteps.
            timesteps: of each sample.
            condition: of each sample, see `embed`.
        """

    @abstractmethod
    def decode(self, latents: Float[Tensor, "N C h w"]) -> Float[Tensor, "N 3 H W"]:
        """Return images in [0, 1], differentiable in the latents; H = h * downscale."""

    @abstractmethod
    def encode(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N C h w"]:
        """Return the mean latents of images in [0, 1]; h = H / downscale."""


def load_prior(settings: PriorSettings, root: Path = Path(), exact: bool = False) -> Prior:
    """Load a prior.

    Args:
        settings: kind and path of the prior.
        root: a path that exists below it is a folder; any other path is a hub id.
        exact: decode and encode in float32 on every device; the other networks run in their usual format.

    Raises:
        InputError: the kind is unknown, or the path cannot be loaded.
    """
    return load_class("prior", settings.kind, PRIORS).load(settings, root, exact)


def flat_latents(prior: Prior, colours: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
    """Return the latents of plain images: the mean over the inner half of each.

    Args:
        prior: encodes.
        colours: RGB in [0, 1].
    """
    size = 16 * prior.downscale
    images = colours[:, :, None, None].expand(-1, -1, size, size)
    return prior.encode(images)[..., 4:-4, 4:-4].mean(dim=(-2, -1))


def grey_response(prior: Prior, levels: int = 17) -> Float[Tensor, "levels C"]:
    """Return the latents of plain greys from black to white, so that shading needs no encoder in the step.

    Args:
        prior: encodes.
        levels: number of greys, evenly spaced.
    """
    greys = torch.linspace(0, 1, levels)
    return flat_latents(prior, greys[:, None].expand(-1, 3))
