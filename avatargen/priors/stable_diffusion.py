"""Priors in Stable Diffusion's format: the mini prior, SD 1.x, SD 2.x (epsilon and v prediction) and SDXL."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import torch

# diffusers loads its public names lazily, which hides them from pyright
from diffusers import AutoencoderTiny  # pyright: ignore[reportPrivateImportUsage]
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.config.settings import PriorSettings
from avatargen.priors.base import Prior
from avatargen.priors.conditioning import Conditioning, conditioning_of
from avatargen.priors.latent_scale import LatentScale
from avatargen.priors.offload import brought_to, is_short
from avatargen.priors.parts import DECODED, PREDICTED, in_parts
from avatargen.priors.pipelines import Pipeline, checkpoint_id, load_pipeline
from avatargen.priors.precision import full_float32, network_dtype
from avatargen.priors.schedule import finite_levels


class StableDiffusionPrior(Prior):
    """Wraps a diffusers pipeline; only its networks are used, not its sampling loop."""

    def __init__(
        self,
        pipeline: Pipeline,
        text: Conditioning,
        name: str,
        device: torch.device,
        float32_vae: bool,
        exact: bool = False,
    ):
        self.id = name
        fast = {"dtype": network_dtype(device), "memory_format": torch.channels_last}
        wide = {**fast, "dtype": torch.float32} if float32_vae or exact else fast
        self._vae = pipeline.vae.to(device, **wide).eval().requires_grad_(False)
        self._arithmetic = full_float32 if exact else nullcontext
        self._unet = pipeline.unet.to(device, **fast).eval().requires_grad_(False)
        self._text = text
        for encoder in text.encoders:
            encoder.eval().requires_grad_(False)
        self._scale = LatentScale.of(pipeline.vae, device)
        self.latent_channels = pipeline.vae.config.latent_channels
        self.downscale = pipeline.vae_scale_factor
        self.prediction = pipeline.scheduler.config.prediction_type
        self.alphas_cumprod = finite_levels(pipeline.scheduler.alphas_cumprod).to(device)

    @classmethod
    def load(cls, settings: PriorSettings, root: Path, exact: bool = False) -> StableDiffusionPrior:
        """Load from a folder or file below `root`, or by id from the hub or its cache.

        SDXL's autoencoder overflows in half precision, so it runs in float32 unless its configuration says that it need
        not (``force_upcast``, which is false for the repaired one that a stanza can name as `vae`).

        Args:
            settings: `path` is the folder, file or id.
            root: folder that relative paths start at.
            exact: see `load_prior`.

        Raises:
            InputError: the pipeline cannot be loaded, or is of another family.
        """
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        large = settings.kind == "sdxl"
        pipeline = load_pipeline(settings, root, dtype, vae_dtype=torch.float32 if large or exact else dtype)
        text, upcast = conditioning_of(settings.kind, pipeline), large and pipeline.vae.config.force_upcast
        return cls(pipeline, text, checkpoint_id(settings, root), device, upcast, exact)

    @property
    def text_encoders(self) -> tuple[torch.nn.Module, ...]:
        """See the base class."""
        return self._text.encoders

    @torch.no_grad()
    def embed(self, prompts: list[str]) -> Float[Tensor, "N L D"]:
        """See the base class."""
        with brought_to(self.device, *self._text.encoders):
            return self._text.embed(prompts, self.device)

    def truncates(self, prompts: list[str]) -> list[bool]:
        """See the base class."""
        return self._text.truncates(prompts)

    @torch.no_grad()
    def predict(
        self, noisy: Float[Tensor, "N C h w"], timesteps: Int[Tensor, " N"], condition: Float[Tensor, "N L D"]
    ) -> Float[Tensor, "N C h w"]:
        """See the base class."""
        return in_parts(self._predict, PREDICTED, noisy, timesteps, condition)

    def _predict(self, noisy: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
        dtype = self._unet.dtype
        size = (noisy.shape[-2] * self.downscale, noisy.shape[-1] * self.downscale)
        noisy = noisy.to(dtype).contiguous(memory_format=torch.channels_last)
        given = self._text.unet_inputs(condition, size, dtype)
        return self._unet(noisy, timesteps, **given).sample.float().contiguous()

    def decode(self, latents: Float[Tensor, "N C h w"]) -> Float[Tensor, "N 3 H W"]:
        """See the base class."""
        with brought_to(self.device, self._vae, and_back=is_short(self.device)), self._arithmetic():
            return in_parts(self._decode, DECODED, latents)

    def _decode(self, latents: Tensor) -> Tensor:
        scaled = self._scale.remove(latents).to(self._vae.dtype, memory_format=torch.channels_last)
        images = self._vae.decode(scaled).sample.float().contiguous()
        return (images / 2 + 0.5).clamp(0, 1)

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N C h w"]:
        """See the base class."""
        signed = (images * 2 - 1).to(self.device, self._vae.dtype, memory_format=torch.channels_last)
        with brought_to(self.device, self._vae, and_back=is_short(self.device)), self._arithmetic():
            encoded = self._vae.encode(signed)
        tiny = isinstance(self._vae, AutoencoderTiny)  # its latents have no distribution
        return self._scale.apply((encoded.latents if tiny else encoded.latent_dist.mean).float())
