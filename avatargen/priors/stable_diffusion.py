"""Priors in Stable Diffusion's format: the mini prior, SD 1.x and SD 2.x (epsilon and v prediction)."""

from __future__ import annotations

from pathlib import Path

import diffusers
import torch
import transformers

# diffusers loads its public names lazily, which hides them from pyright
from diffusers import AutoencoderTiny, StableDiffusionPipeline  # pyright: ignore[reportPrivateImportUsage]
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.config.errors import InputError
from avatargen.config.settings import PriorSettings
from avatargen.io.content_hash import weights_id
from avatargen.priors.base import Prior
from avatargen.priors.long_prompts import exceeds, truncate_to_fit
from avatargen.priors.offload import brought_to, is_short
from avatargen.priors.parts import DECODED, PREDICTED, in_parts
from avatargen.priors.precision import network_dtype


class StableDiffusionPrior(Prior):
    """Wraps a diffusers ``StableDiffusionPipeline``; only its networks are used, not its sampling loop."""

    def __init__(self, pipeline: StableDiffusionPipeline, name: str, device: torch.device):
        self.id = name
        fast = {"dtype": network_dtype(device), "memory_format": torch.channels_last}
        self._vae = pipeline.vae.to(device, **fast).eval().requires_grad_(False)
        self._unet = pipeline.unet.to(device, **fast).eval().requires_grad_(False)
        self._text = pipeline.text_encoder.to(device).eval().requires_grad_(False)
        self._tokenizer = pipeline.tokenizer
        self._scaling = pipeline.vae.config.scaling_factor
        self.latent_channels = pipeline.vae.config.latent_channels
        self.downscale = pipeline.vae_scale_factor
        self.prediction = pipeline.scheduler.config.prediction_type
        self.alphas_cumprod = pipeline.scheduler.alphas_cumprod.to(device)

    @classmethod
    def load(cls, settings: PriorSettings, root: Path) -> StableDiffusionPrior:
        """Load from a folder below `root`, or by id from the hub or its cache.

        Args:
            settings: `path` is the folder or id.
            root: folder that relative paths start at.

        Raises:
            InputError: the pipeline cannot be loaded.
        """
        folder = root / settings.path
        source = folder if folder.is_dir() else settings.path
        quieten()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        try:
            pipeline = StableDiffusionPipeline.from_pretrained(
                str(source), safety_checker=None, requires_safety_checker=False, dtype=dtype
            )
        except (OSError, ValueError) as error:
            raise InputError(
                [f"prior: cannot load '{settings.path}' (a folder below {root}, or a hub id): {error}"]
            ) from error
        return cls(
            pipeline,
            f"{Path(settings.path).name}-{weights_id(str(folder))[:12] if folder.is_dir() else 'hub'}",
            device,
        )

    @torch.no_grad()
    def embed(self, prompts: list[str]) -> Float[Tensor, "N L D"]:
        """See the base class."""
        prompts = [truncate_to_fit(prompt, lambda text: not self.truncates([text])[0]) for prompt in prompts]
        tokens = self._tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        with brought_to(self.device, self._text):
            return self._text(tokens.to(self.device))[0].float()

    def truncates(self, prompts: list[str]) -> list[bool]:
        """See the base class."""
        return exceeds(self._tokenizer, prompts)

    @torch.no_grad()
    def predict(
        self, noisy: Float[Tensor, "N C h w"], timesteps: Int[Tensor, " N"], condition: Float[Tensor, "N L D"]
    ) -> Float[Tensor, "N C h w"]:
        """See the base class."""
        return in_parts(self._predict, PREDICTED, noisy, timesteps, condition)

    def _predict(self, noisy: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
        dtype = self._unet.dtype
        noisy = noisy.to(dtype).contiguous(memory_format=torch.channels_last)
        return self._unet(noisy, timesteps, condition.to(dtype)).sample.float().contiguous()

    def decode(self, latents: Float[Tensor, "N C h w"]) -> Float[Tensor, "N 3 H W"]:
        """See the base class."""
        with brought_to(self.device, self._vae, and_back=is_short(self.device)):
            return in_parts(self._decode, DECODED, latents)

    def _decode(self, latents: Tensor) -> Tensor:
        scaled = (latents / self._scaling).to(self._vae.dtype, memory_format=torch.channels_last)
        images = self._vae.decode(scaled).sample.float().contiguous()
        return (images / 2 + 0.5).clamp(0, 1)

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N C h w"]:
        """See the base class."""
        signed = (images * 2 - 1).to(self.device, self._vae.dtype, memory_format=torch.channels_last)
        with brought_to(self.device, self._vae, and_back=is_short(self.device)):
            encoded = self._vae.encode(signed)
        tiny = isinstance(self._vae, AutoencoderTiny)  # its latents have no distribution
        return (encoded.latents if tiny else encoded.latent_dist.mean).float() * self._scaling


def quieten() -> None:
    """Silence progress bars and hints of diffusers and transformers; their errors are raised anyway."""
    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
