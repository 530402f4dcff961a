"""Kandinsky 2.2 (Razzhigaev et al., arXiv 2310.03502) as a prior, conditioned by image embeddings made from the text.

It consists of two diffusers pipelines. `PriorSettings.path` names the decoder (UNet and MoVQ autoencoder), a folder or
hub id; the same name with ``prior`` in place of ``decoder`` names the pipeline that embeds, as in
``kandinsky-community/kandinsky-2-2-decoder`` and ``kandinsky-community/kandinsky-2-2-prior``. Embeddings are sampled;
their noise is keyed by the prompt without its view, so that all views show one head. The pipeline that embeds is three
times as large as the decoder, so it is on the device only while it embeds.
"""

# diffusers loads its public names lazily, which hides them from pyright
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

import hashlib
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    KandinskyV22Pipeline,
    KandinskyV22PriorPipeline,
    PriorTransformer,
    UnCLIPScheduler,
    UNet2DConditionModel,
    VQModel,
)
from jaxtyping import Float, Int
from torch import Tensor
from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

from avatargen.config.settings import PriorSettings
from avatargen.priors.base import Prior
from avatargen.priors.long_prompts import exceeds, truncate_to_fit, view_of
from avatargen.priors.parts import DECODED, PREDICTED, in_parts
from avatargen.priors.pipelines import FAULTS, Parts, cannot_load, check_kind, checkpoint_id, quieten
from avatargen.priors.precision import full_float32, network_dtype
from avatargen.priors.schedule import finite_levels

STEPS, GUIDANCE = 25, 4.0
"""Steps and guidance of the sampling of an embedding: the defaults of diffusers' `KandinskyV22PriorPipeline`."""


class KandinskyPrior(Prior):
    """Wraps both pipelines; of the decoder, only the networks are used, not its sampling loop."""

    prediction = "epsilon"

    def __init__(
        self,
        decoder: KandinskyV22Pipeline,
        embedder: KandinskyV22PriorPipeline,
        name: str,
        device: torch.device,
        exact: bool = False,
    ):
        self.id = name
        fast = {"dtype": network_dtype(device), "memory_format": torch.channels_last}
        wide = {**fast, "dtype": torch.float32} if exact else fast
        self._arithmetic = full_float32 if exact else nullcontext
        self._movq = decoder.movq.to(device, **wide).eval().requires_grad_(False)
        self._unet = decoder.unet.to(device, **fast).eval().requires_grad_(False)
        self._embedder = embedder
        self._embedder.set_progress_bar_config(disable=True)
        self.latent_channels = decoder.unet.config.in_channels
        self.downscale = decoder.movq_scale_factor
        self.alphas_cumprod = finite_levels(decoder.scheduler.alphas_cumprod).to(device)

    @classmethod
    def load(cls, settings: PriorSettings, root: Path, exact: bool = False) -> KandinskyPrior:
        """Load from folders below `root`, or by id from the hub or its cache.

        Args:
            settings: `parts` names both pipelines.
            root: folder that relative paths start at.
            exact: see `load_prior`.

        Raises:
            InputError: a pipeline cannot be loaded, or is of another family.
        """
        quieten()
        check_kind(settings, root)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        loaded: list[Any] = []
        decoder_of = partial(_decoder, movq_dtype=torch.float32 if exact else dtype)
        for make, path in zip((decoder_of, _embedder), settings.parts, strict=True):
            try:
                loaded.append(make(Parts.find(path, settings, root), settings, dtype))
            except FAULTS as error:
                raise cannot_load(path, root, error) from error
        decoder, embedder = loaded
        return cls(decoder, embedder, checkpoint_id(settings, root), device, exact)

    @property
    def text_encoders(self) -> tuple[torch.nn.Module, ...]:
        """See the base class; on the CPU but for the duration of `embed`."""
        return (self._embedder.prior, self._embedder.text_encoder, self._embedder.image_encoder)

    @torch.no_grad()
    def embed(self, prompts: list[str]) -> Float[Tensor, "N 1 D"]:
        """See the base class; the empty prompt has the embedding of a black image, as in the pipeline."""
        self._embedder.to(self.device)
        made = torch.stack([self._embed(prompt) for prompt in prompts])
        self._embedder.to("cpu")
        return made

    def _embed(self, prompt: str) -> Float[Tensor, "1 D"]:
        if not prompt:
            return self._embedder.get_zero_embed().float()
        generator = torch.Generator().manual_seed(seed_of(prompt))
        prompt = truncate_to_fit(prompt, lambda text: not self.truncates([text])[0])
        made: Any = self._embedder(prompt, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generator)
        return made.image_embeds.float()

    def truncates(self, prompts: list[str]) -> list[bool]:
        """See the base class."""
        return exceeds(self._embedder.tokenizer, prompts)

    @torch.no_grad()
    def predict(
        self, noisy: Float[Tensor, "N C h w"], timesteps: Int[Tensor, " N"], condition: Float[Tensor, "N L D"]
    ) -> Float[Tensor, "N C h w"]:
        """See the base class; the network also predicts a variance, which is ignored."""
        return in_parts(self._predict, PREDICTED, noisy, timesteps, condition)

    def _predict(self, noisy: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
        dtype = self._unet.dtype
        noisy = noisy.to(dtype).contiguous(memory_format=torch.channels_last)
        given = {"image_embeds": condition[:, 0].to(dtype)}
        output = self._unet(noisy, timesteps, encoder_hidden_states=None, added_cond_kwargs=given).sample
        return output[:, : self.latent_channels].float().contiguous()

    def decode(self, latents: Float[Tensor, "N C h w"]) -> Float[Tensor, "N 3 H W"]:
        """See the base class."""
        with self._arithmetic():
            return in_parts(self._decode, DECODED, latents)

    def _decode(self, latents: Tensor) -> Tensor:
        latents = latents.to(self._movq.dtype, memory_format=torch.channels_last)
        images = self._movq.decode(latents, force_not_quantize=True).sample.float().contiguous()
        return (images / 2 + 0.5).clamp(0, 1)

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N C h w"]:
        """See the base class."""
        signed = (images * 2 - 1).to(self.device, self._movq.dtype, memory_format=torch.channels_last)
        with self._arithmetic():
            return self._movq.encode(signed).latents.float()


def _decoder(
    parts: Parts, settings: PriorSettings, dtype: torch.dtype, movq_dtype: torch.dtype
) -> KandinskyV22Pipeline:
    """Return the pipeline that decodes, from its parts."""
    return KandinskyV22Pipeline(
        unet=parts.load(UNet2DConditionModel, "unet", dtype),
        movq=parts.load(VQModel, "movq", movq_dtype),
        scheduler=parts.scheduler(settings.prediction),  # pyright: ignore[reportArgumentType]  # only its levels count
    )


def _embedder(parts: Parts, settings: PriorSettings, dtype: torch.dtype) -> KandinskyV22PriorPipeline:
    """Return the pipeline that embeds, from its parts."""
    absent: Any = None  # would process images
    scheduler: Any = UnCLIPScheduler.from_pretrained(parts.source, subfolder="scheduler", revision=parts.revision)
    return KandinskyV22PriorPipeline(
        prior=parts.load(PriorTransformer, "prior", dtype),
        image_encoder=parts.load(CLIPVisionModelWithProjection, "image_encoder", dtype),
        text_encoder=parts.load(CLIPTextModelWithProjection, "text_encoder", dtype),
        tokenizer=parts.tokenizer("tokenizer"),
        scheduler=scheduler,
        image_processor=absent,
    )


def seed_of(prompt: str) -> int:
    """Return the seed of an embedding's noise, which all views of a prompt share.

    Example:
        >>> seed_of("a man, side view") == seed_of("a man") != seed_of("a girl")
        True
    """
    plain = prompt.removesuffix(view_of(prompt))
    return int.from_bytes(hashlib.sha256(plain.encode()).digest()[:4], "little")
