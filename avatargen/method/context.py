"""What all steps share, computed before the first one: the optimisation context of a worker, the prompts of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.config.settings import MethodSettings, PriorSettings
from avatargen.geometry.sparse import SparseMap
from avatargen.geometry.types import Cameras
from avatargen.heads.base import HeadModel
from avatargen.io.avatar_file import GREY
from avatargen.method.offset_mlp import encode_positions
from avatargen.method.regularisers import laplacian_matrix
from avatargen.priors.base import Prior, flat_latents, grey_response
from avatargen.priors.clip import ClipGuide
from avatargen.priors.view_prompts import LATENT_PAINT, VIEW_WORDS, ViewWords, named_views, with_view
from avatargen.render.base import Renderer

PALETTE = 64
"""Number of plain background colours. Each view's colour is keyed by (seed, step, view), like its camera."""
MASK_BACKGROUNDS = ((0.15, 0.35, 0.95), (0.95, 0.15, 0.85), (0.25, 0.95, 0.35))
"""Background of each estimate of a mask, RGB. The colours are far apart, so that no head blends into all of them."""


@dataclass(frozen=True)
class Context:
    """What all batches of one worker share.

    Attributes:
        head: the head model; regularisers act on its vertices.
        proxy: the coarser head model that is rendered during optimisation.
        renderer: renders the proxy.
        prior: guides the optimisation.
        settings: the prior's.
        palette, palette_latents: background colours (RGB in [0, 1]) and their latents.
        mask_latents: latents of MASK_BACKGROUNDS.
        greys: the prior's response to greys, for the shading cue.
        start: latents of the grey that textures start in.
        snapshot_background: latents of the grey behind snapshots.
        positions: encoded offset points of the template, the input of the offset MLP.
        laplacian: of the head's mesh.
    """

    head: HeadModel
    proxy: HeadModel
    renderer: Renderer
    prior: Prior
    settings: PriorSettings
    palette: Float[Tensor, "P 3"]
    palette_latents: Float[Tensor, "P C"]
    mask_latents: Float[Tensor, "K C"]
    greys: Float[Tensor, "levels C"]
    start: Float[Tensor, " C"]
    snapshot_background: Float[Tensor, " C"]
    positions: Float[Tensor, "N D"]
    laplacian: SparseMap


def build_context(
    head: HeadModel, proxy: HeadModel, renderer: Renderer, prior: Prior, settings: PriorSettings
) -> Context:
    """Measure the prior's response to plain colours, and prepare what the geometry losses need.

    Args:
        head: the head model.
        proxy: `head.proxy()`.
        renderer: renders the proxy.
        prior: guides the optimisation.
        settings: the prior's.
    """
    device, vertices = head.shape_template.device, len(next(iter(head.topology.regions.values())))
    palette = torch.rand(PALETTE, 3, generator=torch.Generator().manual_seed(0)).to(device)
    return Context(
        head=head,
        proxy=proxy,
        renderer=renderer,
        prior=prior,
        settings=settings,
        palette=palette,
        palette_latents=flat_latents(prior, palette),
        mask_latents=flat_latents(prior, torch.tensor(MASK_BACKGROUNDS, device=device)),
        greys=grey_response(prior).to(device),
        start=flat_latents(prior, torch.full((1, 3), GREY, device=device))[0],
        snapshot_background=flat_latents(prior, torch.full((1, 3), 0.5, device=device))[0],
        positions=encode_positions(head.offset_points()),
        laplacian=laplacian_matrix(head.topology.faces, vertices),
    )


@dataclass(frozen=True)
class Prompts:
    """Text embeddings of a batch.

    Attributes:
        words: the prior's vocabulary of views.
        by_view: the prior's embeddings of the prompts with each view name.
        empty: the prior's embedding of the empty prompt.
        clip: guides in place of score distillation, if given.
        clip_by_view: the guide's embeddings, by Latent-Paint's view names, which are plain English.
    """

    words: ViewWords
    by_view: dict[str, Float[Tensor, "B L D"]]
    empty: Float[Tensor, "1 L D"]
    clip: ClipGuide | None = None
    clip_by_view: dict[str, Float[Tensor, "B E"]] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """What all steps of one batch of avatars share.

    Attributes:
        context: shared with all other batches of the worker.
        method: the method's settings.
        prompts: the avatars' prompts, embedded.
        seeds: the avatars' seeds.
    """

    context: Context
    method: MethodSettings
    prompts: Prompts
    seeds: Int[Tensor, " B"]


def for_cameras(
    by_view: dict[str, Float[Tensor, "B *E"]], cameras: Cameras, words: ViewWords
) -> Float[Tensor, "B V *E"]:
    """Return the embedding of each avatar's prompt with the view that each camera sees.

    Args:
        by_view: embeddings by view name.
        cameras: (B, V) cameras.
        words: names the view of a camera.
    """
    names = named_views(cameras, words)
    return torch.stack([torch.stack([by_view[name][b] for name in row]) for b, row in enumerate(names)])


def embed_prompts(
    prior: Prior, prompts: list[str], view_prompts: bool, words: str, clip: ClipGuide | None = None
) -> Prompts:
    """Embed each prompt with each view for the prior and, if given, for the CLIP that guides.

    Args:
        prior: embeds.
        prompts: one for each avatar.
        view_prompts: add the view to the prompt; without, all views have the same embedding.
        words: the prior's vocabulary of views, a name in VIEW_WORDS.
        clip: embeds, too.
    """

    def by_view(embed: Callable[[list[str]], Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
        if not view_prompts:
            return dict.fromkeys(names, embed(prompts))
        texts = [with_view(prompt, name) for name in names for prompt in prompts]
        return dict(zip(names, embed(texts).split(len(prompts)), strict=True))

    known = VIEW_WORDS[words]
    seen = by_view(clip.embed, LATENT_PAINT.names) if clip else {}
    return Prompts(known, by_view(prior.embed, known.names), prior.embed([""]), clip, seen)
