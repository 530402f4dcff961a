"""How the families of Stable Diffusion turn prompts into conditions, and conditions into inputs of their UNet."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from avatargen.priors.long_prompts import exceeds, truncate_to_fit


class Conditioning(ABC):
    """The texts' part of a prior.

    Attributes:
        encoders: the text encoders; nothing but `embed` uses them, so they may leave the device between its calls.
    """

    encoders: tuple[torch.nn.Module, ...]

    @abstractmethod
    def embed(self, prompts: list[str], device: torch.device) -> Float[Tensor, "N L D"]:
        """Return the conditions of prompts that fit; see `Prior.embed`."""

    @abstractmethod
    def truncates(self, prompts: list[str]) -> list[bool]:
        """See `Prior.truncates`."""

    @abstractmethod
    def unet_inputs(
        self, condition: Float[Tensor, "N L D"], size: tuple[int, int], dtype: torch.dtype
    ) -> dict[str, Any]:
        """Return what the UNet takes beside latents and timesteps.

        Args:
            condition: see `embed`.
            size: rows and columns of the images whose latents it is given.
            dtype: of the UNet.
        """


class OneEncoder(Conditioning):
    """Stable Diffusion 1.x and 2.x: the last hidden states of one text encoder."""

    def __init__(self, pipeline: Any):
        self._tokenizer, self._text = pipeline.tokenizer, pipeline.text_encoder
        self.encoders = (self._text,)

    def embed(self, prompts: list[str], device: torch.device) -> Float[Tensor, "N L D"]:
        """See the base class."""
        prompts = [truncate_to_fit(prompt, lambda text: not self.truncates([text])[0]) for prompt in prompts]
        tokens = self._tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        return self._text(tokens.to(device))[0].float()

    def truncates(self, prompts: list[str]) -> list[bool]:
        """See the base class."""
        return exceeds(self._tokenizer, prompts)

    def unet_inputs(
        self, condition: Float[Tensor, "N L D"], size: tuple[int, int], dtype: torch.dtype
    ) -> dict[str, Any]:
        """See the base class."""
        return {"encoder_hidden_states": condition.to(dtype)}


class TwoEncoders(Conditioning):
    """Stable Diffusion XL (arXiv 2307.01952): two text encoders, a pooled embedding, and the image's size.

    A condition holds the last but one hidden states of both encoders side by side, and in one more row the pooled
    embedding of the second; the narrower of the two is padded with zeros. The empty prompt is all zeros where the
    pipeline's configuration says so (``force_zeros_for_empty_prompt``), as in the base model.
    """

    def __init__(self, pipeline: Any):
        self._tokenizers = (pipeline.tokenizer, pipeline.tokenizer_2)
        self.encoders = (pipeline.text_encoder, pipeline.text_encoder_2)
        self._zeros = pipeline.config.force_zeros_for_empty_prompt
        self._width = pipeline.unet.config.cross_attention_dim
        self._pooled = pipeline.text_encoder_2.config.projection_dim

    def embed(self, prompts: list[str], device: torch.device) -> Float[Tensor, "N L D"]:
        """See the base class."""
        prompts = [truncate_to_fit(prompt, lambda text: not self.truncates([text])[0]) for prompt in prompts]
        hidden, pooled = [], torch.empty(0)
        for tokenizer, encoder in zip(self._tokenizers, self.encoders, strict=True):
            tokens = tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
            made = encoder(tokens.to(device), output_hidden_states=True)
            hidden.append(made.hidden_states[-2].float())
            pooled = made[0].float()
        rows = torch.cat(hidden, dim=-1)
        width = max(self._width, self._pooled)
        condition = torch.cat([_padded(rows, width), _padded(pooled[:, None], width)], dim=1)
        if self._zeros:
            condition[[not prompt for prompt in prompts]] = 0
        return condition

    def truncates(self, prompts: list[str]) -> list[bool]:
        """See the base class."""
        both = (exceeds(tokenizer, prompts) for tokenizer in self._tokenizers)
        return [first or second for first, second in zip(*both, strict=True)]

    def unet_inputs(
        self, condition: Float[Tensor, "N L D"], size: tuple[int, int], dtype: torch.dtype
    ) -> dict[str, Any]:
        """See the base class.

        Size conditioning is that of an uncropped image of the size that is rendered, which is what the pipeline of
        diffusers states by default: (rows, columns) of the original, (0, 0) of the crop, (rows, columns) of the target.
        """
        ids = torch.cat([condition.new_full((1,), value) for value in (*size, 0, 0, *size)])  # nothing leaves the host
        added = {"text_embeds": condition[:, -1, : self._pooled].to(dtype), "time_ids": ids.expand(len(condition), -1)}
        return {"encoder_hidden_states": condition[:, :-1, : self._width].to(dtype), "added_cond_kwargs": added}


def _padded(rows: Tensor, width: int) -> Tensor:
    """Return rows with zeros after their last column, up to a width."""
    return F.pad(rows, (0, width - rows.shape[-1]))


def conditioning_of(kind: str, pipeline: Any) -> Conditioning:
    """Return how a pipeline of a kind of prior takes texts: ``stable_diffusion`` or ``sdxl``."""
    return TwoEncoders(pipeline) if kind == "sdxl" else OneEncoder(pipeline)
