"""How an autoencoder's latents are scaled to those that its UNet expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class LatentScale:
    """An affine map of latents, as diffusers' pipelines apply it.

    Attributes:
        factor: of the autoencoder's configuration (``scaling_factor``).
        shift: subtracted before scaling (``shift_factor``), 0 for most.
        mean, std: of each channel (``latents_mean``, ``latents_std``), if stated; they take the place of `shift`.
    """

    factor: float
    shift: float = 0.0
    mean: Float[Tensor, "C 1 1"] | None = None
    std: Float[Tensor, "C 1 1"] | None = None

    @classmethod
    def of(cls, vae: Any, device: torch.device) -> LatentScale:
        """Return what an autoencoder's configuration states."""
        config = vae.config
        stated = [config.get("latents_mean"), config.get("latents_std")]
        if None in stated:
            return cls(config.scaling_factor, config.get("shift_factor") or 0.0)
        mean, std = (torch.tensor(values, dtype=torch.float32, device=device)[:, None, None] for values in stated)
        return cls(config.scaling_factor, 0.0, mean, std)

    def apply(self, latents: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C h w"]:
        """Return an autoencoder's latents as the UNet expects them.

        Example:
            >>> LatentScale(0.5, shift=1.0).apply(torch.full((1, 4, 8, 8), 3.0)).unique().tolist()
            [1.0]
        """
        if self.mean is not None and self.std is not None:
            return (latents - self.mean) * self.factor / self.std
        return (latents - self.shift if self.shift else latents) * self.factor

    def remove(self, latents: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C h w"]:
        """Return the UNet's latents as the autoencoder decodes them; the inverse of `apply`.

        Example:
            >>> LatentScale(0.5, shift=1.0).remove(torch.ones(1, 4, 8, 8)).unique().tolist()
            [3.0]
        """
        if self.mean is not None and self.std is not None:
            return latents * self.std / self.factor + self.mean
        latents = latents / self.factor
        return latents + self.shift if self.shift else latents
