"""What the prior sees: the avatars rendered in its latent space."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.config.settings import MethodSettings
from avatargen.geometry.types import RenderOutput
from avatargen.method.context import PALETTE, Batch
from avatargen.method.draws import Draws
from avatargen.method.shading_cue import add_contrast, alpha, blend, shading
from avatargen.method.state import State
from avatargen.render.base import Interior


def render_latents(
    batch: Batch, state: State, vertices: Float[Tensor, "B N 3"], draws: Draws
) -> tuple[Float[Tensor, "B V C h w"], Float[Tensor, "B V 1 h w"]]:
    """Render the avatars over plain backgrounds, with the shading cue while its weight is above 0.

    Returns:
        the latents, differentiable in the texture, and in the vertices as far as the method lets gradients through;
        and the coverage.
    """
    context, method, settings = batch.context, batch.method, batch.context.settings
    cue = alpha(state.step, method.phase1_steps, method.shading_alpha, method.shading_until, method.shading_end)
    moves = method.texture and (method.phase2_texture or not method.in_phase2(state.step))
    seen = context.renderer.render(
        vertices,
        draws.cameras,
        settings.latent_size,
        texture=state.texture if moves else state.texture.detach(),
        samples=settings.samples,
        normals=cue > 0,
        interior=_interior(method),
    )
    features = _with_cue(batch, seen, draws, cue) if cue > 0 else seen.features
    chosen = (draws.background * PALETTE).long()
    background = context.palette_latents[chosen][..., None, None]
    weight = method.distil_silhouette
    coverage = seen.coverage if weight == 1 else torch.lerp(seen.coverage.detach(), seen.coverage, weight)
    composed = replace(seen, features=features, coverage=coverage)
    return (composed.extended() if coverage.requires_grad else composed).over(background), seen.coverage


def _interior(method: MethodSettings) -> Interior:
    """Return which gradients inside the silhouette reach the vertices."""
    if method.interior_gradient:
        return "all"
    return "normals" if method.distil_shading > 0 else "none"


def _with_cue(batch: Batch, seen: RenderOutput, draws: Draws, weight: float) -> Float[Tensor, "B V C h w"]:
    """Return the features with the geometry's shading, lit from a random upper front direction of each camera."""
    method, greys = batch.method, batch.context.greys
    turn, height = (draws.turn - 0.5) * 1.2, 0.1 + 0.7 * draws.height
    angle = torch.deg2rad(draws.cameras.azimuth) + turn
    light = torch.nn.functional.normalize(torch.stack([angle.sin(), height, angle.cos()], dim=-1), dim=-1)
    level = shading(torch.lerp(seen.normals.detach(), seen.normals, method.distil_shading), light)
    if method.shading_cue == "blended":
        return blend(seen.features, level, greys, weight)
    return add_contrast(seen.features, level, seen.coverage.detach(), greys, weight)
