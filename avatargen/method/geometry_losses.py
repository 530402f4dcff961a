"""The losses of phase 2 on geometry: segmentation, with its masks, the expression that is read, and regularisers."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.geometry.cameras import keyed_noise
from avatargen.method.context import Batch
from avatargen.method.expression_reading import read_expression, reading_loss, reading_of
from avatargen.method.regularisers import magnitude, roughness
from avatargen.method.segmentation import Masks, estimate_masks, relative_change, silhouette_loss
from avatargen.method.state import State
from avatargen.priors.expression_reader import ExpressionReader
from avatargen.priors.foreground import Denoising

MASK_STREAM = 1_000_000
"""Added to the step for the masks' noise, so that it differs from the training views' noise."""

READING_STREAM = 2_000_000
"""The same for the noise of images in which expressions are read."""


def geometry_losses(
    batch: Batch, state: State, at_points: Float[Tensor, "B P 3"] | None, vertices: Float[Tensor, "B N 3"]
) -> dict[str, Float[Tensor, " B"]]:
    """Return the losses on geometry; refresh the masks and what is read, in the state, where that is due.

    Args:
        batch: the avatars.
        state: parameters, masks and what was read.
        at_points: see `avatargen.method.posing.point_offsets`.
        vertices: of the proxy meshes, metres.

    Returns:
        `segmentation`, `regularisation` (the pull to what was read included) and, where masks are replaced,
        `mask_change`.
    """
    losses = {"segmentation": torch.zeros_like(vertices[:, 0, 0])}
    if batch.method.segmentation_weight:
        losses |= _segmentation(batch, state, vertices)
    regularisation = _regularisation(batch, state, at_points) + _reading(batch, state, vertices)
    return {**losses, "regularisation": regularisation}


def _refreshes(batch: Batch, state: State) -> bool:
    """Return True at steps that estimate masks and expressions anew."""
    return (state.step - batch.method.phase1_steps) % batch.method.mask_period == 0


def _segmentation(batch: Batch, state: State, vertices: Float[Tensor, "B N 3"]) -> dict[str, Float[Tensor, " B"]]:
    """Return the segmentation loss in one of the fixed cameras, which take turns.

    Two opposite cameras in each step, whose outlines are nearly mirrored, bring heads no closer to the truth.
    """
    method, losses = batch.method, {}
    if _refreshes(batch, state):
        before, state.masks = state.masks, _estimate(batch, state, vertices.detach())
        if state.step > method.phase1_steps:
            losses["mask_change"] = relative_change(before, state.masks)
    turn = state.step % method.mask_views
    cameras, mask = batch.mask_cameras.view(turn), state.masks.view(turn)
    silhouette = batch.context.renderer.silhouette(vertices, cameras, mask.foreground.shape[-1])
    return {**losses, "segmentation": method.segmentation_weight * silhouette_loss(silhouette, mask)}


def _reading(batch: Batch, state: State, vertices: Float[Tensor, "B N 3"]) -> Float[Tensor, " B"]:
    """Return the weighted distance of the expression from what is read in the prior's images; 0 if nothing reads."""
    context, method = batch.context, batch.method
    if context.reader is None or not (method.expression and method.reading_weight):
        return torch.zeros_like(vertices[:, 0, 0])
    bounds = context.head.expression_bounds
    if _refreshes(batch, state):
        state.reading = reading_of(_read(batch, state, vertices.detach(), context.reader), bounds, context.readable)
    return method.reading_weight * reading_loss(state.expression, state.reading, bounds, context.readable[1])


@torch.no_grad()
def _read(
    batch: Batch, state: State, vertices: Float[Tensor, "B N 3"], reader: ExpressionReader
) -> Float[Tensor, "B K"]:
    """Return what is read in the prior's images of the faces, over the plain backgrounds of the masks."""
    context, settings = batch.context, batch.context.settings
    seen = context.renderer.render(
        vertices,
        batch.reading_cameras,
        settings.latent_size,
        texture=state.texture,
        samples=settings.samples,
        gradients=False,
        normals=False,
    )
    backgrounds = context.mask_latents
    over = [seen.over(latent.view(1, 1, -1, 1, 1)) for latent in backgrounds]
    latents, prompts = torch.cat(over, 1), batch.reading_prompts.repeat(1, len(backgrounds), 1, 1)
    noise = keyed_noise(
        batch.keys, READING_STREAM + state.step, latents.shape[1], tuple(latents.shape[2:]), batch.device
    )
    how = Denoising(settings.reading_timestep, settings.reading_steps, settings.reading_guidance)
    return read_expression(context.prior, reader, latents, noise, prompts, batch.prompts.empty, how)


def _regularisation(batch: Batch, state: State, at_points: Float[Tensor, "B P 3"] | None) -> Float[Tensor, " B"]:
    """Return the weighted sum of the prior on shape and expression and the regularisers of the offsets."""
    context, method = batch.context, batch.method
    low, high = context.head.expression_bounds
    expression = state.expression / (high - low)  # as `state.shape` is, in units of each coefficient's range
    loss = method.shape_prior_weight * (state.shape.square().sum(1) + expression.square().sum(1))
    if at_points is not None:
        offsets = context.head.interpolate_offsets(at_points)
        loss = loss + method.laplacian_weight * roughness(offsets, context.laplacian)
        loss = loss + method.offset_weight * magnitude(offsets)
    return loss


@torch.no_grad()
def _estimate(batch: Batch, state: State, vertices: Float[Tensor, "B N 3"]) -> Masks:
    """Return new masks of all fixed cameras, from what the prior makes of the current renders."""
    context, settings, cameras = batch.context, batch.context.settings, batch.mask_cameras
    seen = context.renderer.render(
        vertices,
        cameras,
        settings.latent_size,
        texture=state.texture,
        samples=settings.samples,
        gradients=False,
        normals=False,
    )
    silhouette = context.renderer.silhouette(vertices, cameras, state.masks.foreground.shape[-1])
    count, shape = len(context.mask_latents), tuple(seen.features.shape[2:])
    draws = batch.method.mask_views * count
    noise = keyed_noise(batch.keys, MASK_STREAM + state.step, draws, shape, batch.device)
    return estimate_masks(
        context.prior,
        seen,
        silhouette,
        context.mask_latents,
        noise.unflatten(1, (-1, count)),
        batch.mask_prompts,
        batch.prompts.empty,
        Denoising(settings.mask_timestep, settings.mask_steps, settings.mask_guidance),
    )
