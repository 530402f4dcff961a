"""The optimisation step: all avatars of a batch together.

Phase 1 moves the texture alone; phase 2 moves texture and geometry, with the segmentation loss; phase 3, which most
methods have not, moves the texture alone again. The shading cue is blended into the latents, or added, with weight
alpha: in phase 1 and, unless alpha ends at 0, from there on. One
rasterisation and one UNet call serve the whole batch. All random numbers are functions of (prompt, seed, step,
view), so `State` is the only state.

Gradients: the texture's is that of score distillation, at its own scale (Adam is indifferent to it). The geometry's is
the sum of score distillation's through the silhouette (per latent pixel), the segmentation loss's and the
regularisers'; its norm is clipped for each avatar.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.config.settings import MethodSettings
from avatargen.geometry.cameras import evaluation_cameras, usual_framing
from avatargen.method.context import Batch, for_views
from avatargen.method.distillation import distillation_gradient
from avatargen.method.draws import Draws, draw
from avatargen.method.geometry_losses import geometry_losses
from avatargen.method.latents import render_latents
from avatargen.method.posing import point_offsets, proxy_vertices, resting_vertices
from avatargen.method.state import State
from avatargen.method.updates import apply_gradients
from avatargen.priors.clip import ClipGuide


def take_step(batch: Batch, state: State) -> dict[str, Float[Tensor, " B"]]:
    """Take one step of all avatars, in place.

    Returns:
        the losses by name, those of `avatargen.io.history.LOSSES` that this step has.
    """
    moves = batch.method.in_phase2(state.step) and _has_geometry(batch.method)
    state.texture_adam.zero_grad(set_to_none=True)
    state.geometry_adam.zero_grad(set_to_none=True)
    at_points = point_offsets(batch, state) if moves else None
    vertices = proxy_vertices(batch, state, at_points) if moves else resting_vertices(batch, state)
    losses = _guidance(batch, state, vertices)
    total = losses.pop("surrogate")
    if moves:
        losses |= geometry_losses(batch, state, at_points, vertices)
        total = total + losses["segmentation"] + losses["regularisation"]
    if total.requires_grad:
        total.sum().backward()
    apply_gradients(batch, state, moves)
    state.step += 1
    return {name: value.detach() for name, value in losses.items()}


@torch.no_grad()
def snapshots(batch: Batch, state: State) -> Float[Tensor, "B 3 H W"]:
    """Return decoded front views of the avatars over mid-grey, RGB in [0, 1]."""
    context, settings = batch.context, batch.context.settings
    vertices = proxy_vertices(batch, state, point_offsets(batch, state))
    distance, fov = usual_framing(settings.cameras)
    cameras = evaluation_cameras(len(state.shape), 1, distance=distance, fov=fov, device=context.positions.device)
    seen = context.renderer.render(
        vertices,
        cameras,
        settings.latent_size,
        texture=state.texture,
        samples=settings.samples,
        gradients=False,
        normals=False,
    )
    return context.prior.decode(seen.over(context.snapshot_background[None, None, :, None, None])[:, 0])


def _has_geometry(method: MethodSettings) -> bool:
    """Return True if the method moves geometry at all."""
    return method.shape or method.expression or method.offsets


def _guidance(batch: Batch, state: State, vertices: Float[Tensor, "B N 3"]) -> dict[str, Float[Tensor, " B"]]:
    """Return `surrogate`, whose gradient pulls random views to the prompts.

    For the record, return `distillation` or `clip`, and `coverage`, the share of the views that heads cover.
    """
    draws, prompts = draw(batch, state.step), batch.prompts
    latents, coverage = render_latents(batch, state, vertices, draws)
    if prompts.clip is None or prompts.clip_by_view is None:
        losses = _distil(batch, state, latents, draws)
    else:
        losses = _clip_loss(batch, prompts.clip, latents, for_views(prompts.clip_by_view, draws.plain_views))
    return {**losses, "coverage": coverage.mean(dim=(1, 2, 3, 4))}


def _clip_loss(
    batch: Batch, clip: ClipGuide, latents: Float[Tensor, "B V C h w"], texts: Float[Tensor, "B V E"]
) -> dict[str, Float[Tensor, " B"]]:
    """Return the weighted CLIP loss, mean over the views, as `surrogate` and `clip`."""
    cosines = clip.similarity(batch.context.prior.decode(latents.flatten(0, 1)), texts.flatten(0, 1))
    loss = batch.method.clip_weight * (1 - cosines).unflatten(0, latents.shape[:2]).mean(1)
    return {"surrogate": loss, "clip": loss}


def _distil(
    batch: Batch, state: State, latents: Float[Tensor, "B V C h w"], draws: Draws
) -> dict[str, Float[Tensor, " B"]]:
    """Return `surrogate`, whose gradient is score distillation's, and `distillation`, that gradient's r.m.s. value."""
    gradient = distillation_gradient(batch, state.step, latents, draws)
    return {
        "surrogate": (gradient * latents).sum(dim=(1, 2, 3, 4)),
        "distillation": gradient.square().mean(dim=(1, 2, 3, 4)).sqrt(),
    }
