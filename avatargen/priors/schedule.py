"""The noise schedule that a checkpoint was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# diffusers loads its public names lazily, which hides them from pyright
from diffusers import DDIMScheduler  # pyright: ignore[reportPrivateImportUsage]
from jaxtyping import Float
from torch import Tensor

from avatargen.priors.families import SCHEDULE

SMALLEST = 2.0**-24
"""Least alpha-bar, as in diffusers' `EulerDiscreteScheduler` and `DPMSolverMultistepScheduler`: at zero terminal SNR
(arXiv 2305.08891) alpha-bar is 0 at the last timestep, and an estimate of the clean latents would divide by it."""
_KEPT = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
)


def schedule(config: Mapping[str, Any], prediction: str | None) -> DDIMScheduler:
    """Return a scheduler that holds noise levels and prediction type, whatever sampler a checkpoint names.

    Args:
        config: of any scheduler that is defined by betas; if empty, Stable Diffusion's.
        prediction: replaces the prediction type.

    Example:
        >>> schedule({}, None).config.beta_schedule, schedule({"beta_schedule": "linear"}, None).config.beta_schedule
        ('scaled_linear', 'linear')
    """
    stated = {name: config[name] for name in _KEPT if name in config} if config else SCHEDULE
    changed = {"prediction_type": prediction} if prediction else {}
    return DDIMScheduler(**{"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, **stated, **changed})


def finite_levels(alphas_cumprod: Float[Tensor, " T"]) -> Float[Tensor, " T"]:
    """Return signal levels of which none is 0; those of ordinary schedules stay as they are."""
    return alphas_cumprod.clamp(min=SMALLEST)
