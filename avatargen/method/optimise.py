"""The method: a batch of avatars from template to finished, one step at a time.

Phase 1 moves the texture only; phase 2 moves texture and geometry, with the segmentation loss. The shading cue is added
to the latents, or blended in, by alpha: through phase 1 and, unless it ends at 0, phase 2. One rasterisation and one
UNet call serve the whole batch. Everything random is a function of (avatar's seed, step, view), so a step has no state
but `State`.

Gradients: the texture's is score distillation's, at its own scale (Adam is indifferent to it). The geometry's is the
sum of score distillation's through the silhouette (per latent pixel), the segmentation loss and the regularisers; its
norm is clipped for each avatar.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.config.settings import MethodSettings
from avatargen.geometry.cameras import evaluation_cameras, keyed_noise, keyed_uniform, training_cameras, usual_framing
from avatargen.geometry.types import Cameras, HeadParameters, RenderOutput
from avatargen.heads.base import HeadModel
from avatargen.method.context import PALETTE, Context, Prompts, for_cameras
from avatargen.method.offset_mlp import offsets
from avatargen.method.regularisers import magnitude, roughness
from avatargen.method.sds import sds_gradient, timesteps, weight
from avatargen.method.segmentation import estimate_masks, relative_change, silhouette_loss
from avatargen.method.shading_cue import add_contrast, alpha, blend, shading
from avatargen.method.state import State
from avatargen.priors.diffusion import add_noise, guided_epsilon
from avatargen.priors.foreground import Denoising
from avatargen.priors.view_prompts import LATENT_PAINT

MASK_STREAM = 1_000_000
"""Added to the step for the noise of masks, so that it is not the training views'."""


def moved_points(context: Context, method: MethodSettings, state: State) -> Float[Tensor, "B P 3"] | None:
    """Offsets of the head's `offset_points` that a state describes, differentiable in it; None without any."""
    return offsets(state.mlp, context.positions, method.offset_limit_mm / 1e3) if method.offsets else None


def head_parameters(head: HeadModel, state: State, moved: Float[Tensor, "B P 3"] | None) -> HeadParameters:
    """The heads that a state describes, differentiable in it.

    Args:
        head: the context's head, or its proxy.
        moved: see `moved_points`.
    """
    low, high = head.shape_bounds
    template = head.template(len(state.shape))
    shape = head.shape_template + state.shape * (high - low)
    given = template.offsets if moved is None else head.interpolate_offsets(moved)
    return replace(template, shape=shape, expression=state.expression, offsets=given)


def take_step(
    context: Context, method: MethodSettings, state: State, prompts: Prompts, seeds: Tensor
) -> dict[str, Tensor]:
    """One step of the batch, in place. Returns the losses of each avatar, (B,) each."""
    geometry = state.step >= method.phase1_steps
    state.texture_adam.zero_grad(set_to_none=True)
    state.geometry_adam.zero_grad(set_to_none=True)
    moves = geometry and _moves(method)
    moved = moved_points(context, method, state) if moves else None
    vertices = _vertices(context, state, moved) if moves else _resting_vertices(context, method, state)
    losses = _guide(context, method, state, prompts, seeds, vertices)
    total = losses.pop("surrogate")
    if moves:
        losses |= _geometry_losses(context, method, state, prompts, seeds, moved, vertices)
        total = total + losses["segmentation"] + losses["regularisation"]
    if total.requires_grad:
        total.sum().backward()
    _apply(context, method, state, moves)
    state.step += 1
    return {name: value.detach() for name, value in losses.items()}


@torch.no_grad()
def snapshots(context: Context, method: MethodSettings, state: State) -> Float[Tensor, "B 3 H W"]:
    """What the avatars look like now, decoded, from the front over mid-grey."""
    batch = len(state.shape)
    vertices = _vertices(context, state, moved_points(context, method, state))
    distance, fov = usual_framing(context.settings.cameras)
    cameras = evaluation_cameras(batch, 1, distance=distance, fov=fov, device=context.positions.device)
    size, samples = context.settings.latent_size, context.settings.samples
    seen = context.renderer.render(
        vertices, cameras, size, texture=state.texture, samples=samples, gradients=False, normals=False
    )
    return context.prior.decode(seen.over(context.snapshot_background[None, None, :, None, None])[:, 0])


def _vertices(context: Context, state: State, moved: Float[Tensor, "B P 3"] | None) -> Float[Tensor, "B N 3"]:
    """Of the proxy meshes that a state describes."""
    return context.proxy.vertices(head_parameters(context.proxy, state, moved))


@torch.no_grad()
def _resting_vertices(context: Context, method: MethodSettings, state: State) -> Float[Tensor, "B N 3"]:
    """Vertices of heads that do not move, computed once: heads and their MLPs were a sixth of a step of phase 1."""
    if state.resting is None:
        state.resting = _vertices(context, state, moved_points(context, method, state))
    return state.resting


def _moves(method: MethodSettings) -> bool:
    return method.shape or method.expression or method.offsets


def _guide(
    context: Context, method: MethodSettings, state: State, prompts: Prompts, seeds: Tensor, vertices: Tensor
) -> dict[str, Tensor]:
    """A surrogate whose gradient pulls what random cameras see to the prompts; for the record, size and coverage."""
    cameras = training_cameras(seeds, state.step, method.views, context.settings.cameras)
    latents, coverage = _latents(context, method, state, seeds, vertices, cameras)
    if prompts.clip is None:
        losses = _distil(context, method, state, prompts, seeds, latents, cameras)
    else:
        texts = for_cameras(prompts.clip_by_view, cameras, LATENT_PAINT).flatten(0, 1)
        cosines = prompts.clip.similarity(context.prior.decode(latents.flatten(0, 1)), texts)
        loss = method.clip_weight * (1 - cosines).unflatten(0, latents.shape[:2]).mean(1)
        losses = {"surrogate": loss, "clip": loss}
    return {**losses, "coverage": coverage.mean(dim=(1, 2, 3, 4))}


def _distil(
    context: Context, method: MethodSettings, state: State, prompts: Prompts, seeds: Tensor, latents: Tensor,
    cameras: Cameras,
) -> dict[str, Tensor]:  # fmt: skip
    """Score distillation: a surrogate whose gradient is the latents' gradient, and its size for the record."""
    prior, settings = context.prior, context.settings
    flat = latents.flatten(0, 1)
    with torch.no_grad():
        noise = keyed_noise(seeds, state.step, method.views, tuple(flat.shape[1:])).flatten(0, 1)
        uniform = keyed_uniform(seeds, state.step, method.views, 0).flatten()
        t = timesteps(
            uniform, settings.t_range, len(prior.alphas_cumprod), state.step / method.steps, settings.t_anneal
        )
        a = prior.alphas_cumprod[t]
        noisy = add_noise(flat, noise, a)
        condition = for_cameras(prompts.by_view, cameras, prompts.words).flatten(0, 1)
        epsilon = guided_epsilon(prior, noisy, t, condition, prompts.empty, settings.guidance)
        gradient = sds_gradient(epsilon, noise, weight(a, settings.weighting))
        gradient = gradient.unflatten(0, latents.shape[:2])
    return {
        "surrogate": (gradient * latents).sum(dim=(1, 2, 3, 4)),
        "distillation": gradient.square().mean(dim=(1, 2, 3, 4)).sqrt(),
    }


def _latents(
    context: Context, method: MethodSettings, state: State, seeds: Tensor, vertices: Tensor, cameras: Cameras
) -> tuple[Float[Tensor, "B V C h w"], Float[Tensor, "B V 1 h w"]]:
    """Rendered latents over plain backgrounds, with the shading cue while it has a weight; and what the head covers."""
    settings = context.settings
    cue = alpha(
        state.step, method.phase1_steps, method.shading_alpha, method.shading_until, method.shading_end
    )  # fmt: skip
    moves = method.texture and (method.phase2_texture or state.step < method.phase1_steps)
    texture = state.texture if moves else state.texture.detach()
    seen = context.renderer.render(
        vertices, cameras, settings.latent_size, texture=texture, samples=settings.samples, normals=cue > 0,
        interior=method.interior_gradient, shaded=method.distil_shading > 0,
    )  # fmt: skip
    features = seen.features
    if cue > 0:
        features = _with_cue(context, method, state, seeds, seen, cameras, cue)
    chosen = (keyed_uniform(seeds, state.step, method.views, 1) * PALETTE).long()
    background = context.palette_latents[chosen][..., None, None]
    weight = method.distil_silhouette
    coverage = seen.coverage if weight == 1 else torch.lerp(seen.coverage.detach(), seen.coverage, weight)
    composed = replace(seen, features=features, coverage=coverage)
    return (composed.extended() if coverage.requires_grad else composed).over(background), seen.coverage


def _with_cue(
    context: Context, method: MethodSettings, state: State, seeds: Tensor, seen: RenderOutput, cameras: Cameras,
    weight: float,
) -> Float[Tensor, "B V C h w"]:  # fmt: skip
    """Features with the geometry's shading from a random upper front direction of each camera."""
    views = cameras.fov.shape[1]
    turn = (keyed_uniform(seeds, state.step, views, 2) - 0.5) * 1.2
    height = 0.1 + 0.7 * keyed_uniform(seeds, state.step, views, 3)
    angle = torch.deg2rad(cameras.azimuth) + turn
    light = torch.nn.functional.normalize(torch.stack([angle.sin(), height, angle.cos()], dim=-1), dim=-1)
    level = shading(torch.lerp(seen.normals.detach(), seen.normals, method.distil_shading), light)
    if method.shading_cue == "blended":
        return blend(seen.features, level, context.greys, weight)
    return add_contrast(seen.features, level, seen.coverage.detach(), context.greys, weight)


def _geometry_losses(
    context: Context, method: MethodSettings, state: State, prompts: Prompts, seeds: Tensor,
    moved: Tensor | None, vertices: Tensor,
) -> dict[str, Tensor]:  # fmt: skip
    """Segmentation loss and regularisers of each avatar."""
    segmentation, record = torch.zeros_like(vertices[:, 0, 0]), {}
    if method.segmentation_weight:
        if (state.step - method.phase1_steps) % method.mask_period == 0:
            before = state.masks
            _refresh_masks(context, method, state, prompts, seeds, vertices.detach())
            if state.step > method.phase1_steps:
                record["mask_change"] = relative_change(before, state.masks)
        cameras, row = _one_mask_camera(context, method, state)
        size = state.masks.foreground.shape[-1]
        silhouette = context.renderer.silhouette(vertices, cameras, size)
        mask = replace(state.masks, foreground=state.masks.foreground[:, row], valid=state.masks.valid[:, row])
        segmentation = method.segmentation_weight * silhouette_loss(silhouette, mask)
    low, high = context.head.expression_bounds  # shape is in units of its range already
    expression = state.expression / (high - low)
    regular = method.shape_prior_weight * (state.shape.square().sum(1) + expression.square().sum(1))
    if moved is not None:
        full = context.head.interpolate_offsets(moved)
        regular = regular + method.laplacian_weight * roughness(full, context.laplacian)
        regular = regular + method.offset_weight * magnitude(full)
    return {"segmentation": segmentation, "regularisation": regular, **record}


def mask_cameras(context: Context, method: MethodSettings, batch: int) -> Cameras:
    """The fixed cameras of the masks: evenly around, slightly from above, amid those that the prior is used to.

    Where a head looks smaller than the prior knows heads, masks would make it grow.
    """
    distance, fov = usual_framing(context.settings.cameras)
    return evaluation_cameras(batch, method.mask_views, distance=distance, fov=fov, device=context.positions.device)


def _one_mask_camera(context: Context, method: MethodSettings, state: State) -> tuple[Cameras, list[int]]:
    """One of the fixed cameras, which take turns; and its number.

    Two opposite ones in every step, whose outlines are nearly mirrored, pulled heads no nearer to the truth.
    """
    row = [state.step % method.mask_views]
    cameras = mask_cameras(context, method, len(state.shape))
    names = ("azimuth", "elevation", "distance", "fov", "target")
    return Cameras(*(getattr(cameras, name)[:, row] for name in names)), row


@torch.no_grad()
def _refresh_masks(
    context: Context, method: MethodSettings, state: State, prompts: Prompts, seeds: Tensor, vertices: Tensor
) -> None:
    cameras, settings = mask_cameras(context, method, len(vertices)), context.settings
    seen = context.renderer.render(
        vertices, cameras, settings.latent_size, texture=state.texture, samples=settings.samples, gradients=False,
        normals=False,
    )  # fmt: skip
    silhouette = context.renderer.silhouette(vertices, cameras, state.masks.foreground.shape[-1])
    count = len(context.mask_latents)
    shape = tuple(seen.features.shape[2:])
    noise = keyed_noise(seeds, MASK_STREAM + state.step, method.mask_views * count, shape).unflatten(1, (-1, count))
    state.masks = estimate_masks(
        context.prior, seen, silhouette, context.mask_latents, noise,
        for_cameras(prompts.by_view, cameras, prompts.words), prompts.empty,
        Denoising(settings.mask_timestep, settings.mask_steps, settings.mask_guidance),
    )  # fmt: skip


@torch.no_grad()
def _apply(context: Context, method: MethodSettings, state: State, geometry: bool) -> None:
    """Clip, step both optimisers, and keep the parameters within their bounds; a diverged avatar stays put."""
    grads = _gradients(method, state, geometry)
    for grad in grads.values():
        state.diverged |= ~grad.flatten(1).sum(1).isfinite()  # as all entries are, in a tenth of the time
    if state.diverged.any():
        for grad in grads.values():
            grad[state.diverged] = 0.0
        for adam in (state.texture_adam, state.geometry_adam):
            for moments in adam.state.values():  # its momentum would go on moving what has no gradient
                moments["exp_avg"][state.diverged] = 0.0
    _clip([grad for name, grad in grads.items() if name != "texture"], method.gradient_clip)
    left = 1 - (1 - context.settings.texture_decay) * state.step / method.steps
    state.texture_adam.param_groups[0]["lr"] = context.settings.lr_texture * left * state.pace
    state.texture_adam.step()
    if geometry:
        _step_geometry(context, method, state)


def _gradients(method: MethodSettings, state: State, geometry: bool) -> dict[str, Tensor]:
    """Gradients of what the method moves now; those of anything else are dropped."""
    moving = state.parameters() if geometry else {"texture": state.texture}
    allowed = {"texture": method.texture, "shape": method.shape, "expression": method.expression}
    for name, value in moving.items():
        if not allowed.get(name, method.offsets):
            value.grad = None
    return {name: value.grad for name, value in moving.items() if value.grad is not None}


def _step_geometry(context: Context, method: MethodSettings, state: State) -> None:
    left = 1 - (1 - method.geometry_decay) * phase2_progress(method, state.step)
    for group in state.geometry_adam.param_groups:
        group["lr"] = group["first_lr"] * left * state.pace
    state.geometry_adam.step()
    state.resting = None
    low, high = context.head.shape_bounds
    middle = context.head.shape_template
    state.shape.clamp_((low - middle) / (high - low), (high - middle) / (high - low))
    state.expression.clamp_(*context.head.expression_bounds)


def phase2_progress(method: MethodSettings, step: int) -> float:
    """How much of phase 2 is done before a step, in [0, 1)."""
    return (step - method.phase1_steps) / max(1, method.phase2_steps)


def _clip(grads: list[Tensor], limit: float) -> None:
    """Scale each avatar's gradients so that their joint norm is at most `limit`."""
    if not grads:
        return
    norm = torch.stack([grad.flatten(1).square().sum(1) for grad in grads]).sum(0).sqrt()
    scale = (limit / norm.clamp(min=1e-12)).clamp(max=1.0)
    for grad in grads:
        grad.mul_(scale.view(-1, *[1] * (grad.dim() - 1)))
