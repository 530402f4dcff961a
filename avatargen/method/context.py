"""What all batches of a worker share, and what a batch's prompts say: made before the first step, constant after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.config.settings import PriorSettings
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
"""Plain background colours; which one a view gets is keyed like its camera."""
MASK_BACKGROUNDS = ((0.15, 0.35, 0.95), (0.95, 0.15, 0.85), (0.25, 0.95, 0.35))
"""One for each estimate of a mask, far apart, so that no head blends into all of them."""


@dataclass(frozen=True)
class Context:
    """What stays the same over all batches of one worker.

    Attributes:
        proxy: the head as it is rendered here, with its renderer; offsets are kept smooth on the head itself.
        palette, palette_latents: background colours and their latents.
        mask_latents: latents of MASK_BACKGROUNDS.
        greys: response of the prior to greys, for the shading cue.
        start, snapshot_background: latents of the grey that textures start in, and of the one behind snapshots.
        positions: encoded points of the template that offsets are optimised at, input of the offset MLP.
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
) -> Context:  # fmt: skip
    """Measure the prior's response to plain colours, and prepare what geometry needs.

    Args:
        proxy: of the head; what the renderer renders.
    """
    device, vertices = head.shape_template.device, len(next(iter(head.topology.regions.values())))
    palette = torch.rand(PALETTE, 3, generator=torch.Generator().manual_seed(0)).to(device)
    return Context(
        head=head, proxy=proxy, renderer=renderer, prior=prior, settings=settings, palette=palette,
        palette_latents=flat_latents(prior, palette),
        mask_latents=flat_latents(prior, torch.tensor(MASK_BACKGROUNDS, device=device)),
        greys=grey_response(prior).to(device),
        start=flat_latents(prior, torch.full((1, 3), GREY, device=device))[0],
        snapshot_background=flat_latents(prior, torch.full((1, 3), 0.5, device=device))[0],
        positions=encode_positions(head.offset_points()),
        laplacian=laplacian_matrix(head.topology.faces, vertices),
    )  # fmt: skip


@dataclass(frozen=True)
class Prompts:
    """Text embeddings of a batch.

    Attributes:
        words: how the prior is told of views.
        by_view: of each avatar's prompt with each view name, for the prior; empty: of the empty prompt.
        clip: the CLIP that guides instead of score distillation, if one does; clip_by_view: as `by_view`, for it, with
            Latent-Paint's words, which are ordinary English.
    """

    words: ViewWords
    by_view: dict[str, Float[Tensor, "B L D"]]
    empty: Float[Tensor, "1 L D"]
    clip: ClipGuide | None = None
    clip_by_view: dict[str, Float[Tensor, "B E"]] = field(default_factory=dict)


def for_cameras(
    by_view: dict[str, Float[Tensor, "B *E"]], cameras: Cameras, words: ViewWords
) -> Float[Tensor, "B V *E"]:
    """The embedding of what each camera sees."""
    names = named_views(cameras, words)
    return torch.stack([torch.stack([by_view[name][b] for name in row]) for b, row in enumerate(names)])


def embed_prompts(
    prior: Prior, prompts: list[str], view_prompts: bool, words: str, clip: ClipGuide | None = None
) -> Prompts:
    """Embed each prompt with each view (or without any), for the prior and for a CLIP that guides.

    Args:
        words: the prior's, a name in VIEW_WORDS.
    """

    def by_view(embed: Callable[[list[str]], Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
        if not view_prompts:
            return dict.fromkeys(names, embed(prompts))
        texts = [with_view(prompt, name) for name in names for prompt in prompts]
        return dict(zip(names, embed(texts).split(len(prompts)), strict=True))

    known = VIEW_WORDS[words]
    seen = by_view(clip.embed, LATENT_PAINT.names) if clip else {}
    return Prompts(known, by_view(prior.embed, known.names), prior.embed([""]), clip, seen)
