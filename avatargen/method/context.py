"""What all steps share, computed before the first one: the optimisation context of a worker, the prompts of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.config.settings import MethodSettings, PriorSettings
from avatargen.geometry.cameras import evaluation_cameras, usual_framing
from avatargen.geometry.sparse import SparseMap
from avatargen.geometry.types import Cameras
from avatargen.heads.base import HeadModel
from avatargen.io.avatar_file import GREY
from avatargen.method.expression_reading import read_coefficients, reading_cameras
from avatargen.method.offset_mlp import encode_positions
from avatargen.method.regularisers import laplacian_matrix
from avatargen.method.timesteps import Schedule
from avatargen.priors.base import Prior, flat_latents, grey_response
from avatargen.priors.clip import ClipGuide
from avatargen.priors.expression_reader import ExpressionReader
from avatargen.priors.view_prompts import LATENT_PAINT, VIEW_WORDS, ViewWords, across, view_indices, with_view
from avatargen.render.base import Renderer

PALETTE = 64
"""Number of plain background colours. Each view's colour is keyed by (prompt, seed, step, view), like its camera."""
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
        reader: reads expressions in the prior's images; None if nothing reads, or nothing of this head can be read.
        readable: the reader's actions (row 0) and the head's coefficients (row 1) of the same names.
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
    reader: ExpressionReader | None
    readable: Int[Tensor, "2 R"]


def build_context(
    head: HeadModel,
    proxy: HeadModel,
    renderer: Renderer,
    prior: Prior,
    settings: PriorSettings,
    reader: ExpressionReader | None = None,
) -> Context:
    """Measure the prior's response to plain colours, and prepare what the geometry losses need.

    Args:
        head: the head model.
        proxy: `head.proxy()`.
        renderer: renders the proxy.
        prior: guides the optimisation.
        settings: the prior's.
        reader: reads expressions in the prior's images, if anything does.
    """
    device, vertices = head.shape_template.device, len(next(iter(head.topology.regions.values())))
    pairs = read_coefficients(head, reader)
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
        reader=reader if pairs else None,
        readable=torch.tensor(pairs, dtype=torch.long, device=device).view(-1, 2).T.contiguous(),
    )


@dataclass(frozen=True)
class Prompts:
    """Text embeddings of a batch.

    Attributes:
        words: the prior's vocabulary of views.
        by_view: the prior's embeddings of the prompts with each of its K view names.
        opposite: index of the view name across the head (`avatargen.priors.view_prompts.across`) of each view name.
        empty: the prior's embedding of the empty prompt.
        negative: the prior's embedding of the negative prompt, which may be empty.
        clip: guides in place of score distillation, if given.
        clip_by_view: the guide's embeddings with each of Latent-Paint's view names, which are plain English; None
            without a guide.
    """

    words: ViewWords
    by_view: Float[Tensor, "K B L D"]
    opposite: Int[Tensor, " K"]
    empty: Float[Tensor, "1 L D"]
    negative: Float[Tensor, "1 L D"]
    clip: ClipGuide | None = None
    clip_by_view: Float[Tensor, "4 B E"] | None = None


@dataclass(frozen=True)
class Batch:
    """What all steps of one batch of avatars share.

    Attributes:
        context: shared with all other batches of the worker.
        method: the method's settings.
        prompts: the avatars' prompts, embedded.
        keys: of the avatars' random numbers (`avatargen.config.prompts.draw_key`), on the CPU.
    """

    context: Context
    method: MethodSettings
    prompts: Prompts
    keys: Int[Tensor, " B"]

    @property
    def device(self) -> torch.device:
        """Return the device of the models."""
        return self.context.positions.device

    @cached_property
    def schedule(self) -> Schedule:
        """The timesteps of score distillation."""
        return Schedule(self.context.settings, self.context.prior.alphas_cumprod.tolist())

    @cached_property
    def mask_cameras(self) -> Cameras:
        """The fixed cameras of the masks, (B, M); see `mask_cameras`."""
        return mask_cameras(self.context, self.method, len(self.keys)).to(self.device)

    @cached_property
    def mask_prompts(self) -> Float[Tensor, "B M L D"]:
        """The prior's embedding of each avatar's prompt with the view of each of these cameras."""
        cameras = mask_cameras(self.context, self.method, len(self.keys))
        return for_views(self.prompts.by_view, view_indices(cameras, self.prompts.words).to(self.device))

    @cached_property
    def reading_cameras(self) -> Cameras:
        """The fixed cameras in which expressions are read, (B, V)."""
        return reading_cameras(self.context.settings.cameras, len(self.keys)).to(self.device)

    @cached_property
    def reading_prompts(self) -> Float[Tensor, "B V L D"]:
        """The prior's embedding of each avatar's prompt with the view of each of these cameras."""
        cameras = reading_cameras(self.context.settings.cameras, len(self.keys))
        return for_views(self.prompts.by_view, view_indices(cameras, self.prompts.words).to(self.device))


def mask_cameras(context: Context, method: MethodSettings, batch: int) -> Cameras:
    """Return the fixed cameras of the masks, (B, M), on the CPU: evenly around the head, slightly from above.

    Distance and field of view are the middle of those that the prior is used to: where a head looks smaller than the
    prior knows heads, masks would make it grow.

    Args:
        context: its prior's camera ranges.
        method: its number of cameras, M.
        batch: number of avatars, B.
    """
    distance, fov = usual_framing(context.settings.cameras)
    return evaluation_cameras(batch, method.mask_views, distance=distance, fov=fov)


def for_views(by_view: Float[Tensor, "K B *E"], views: Int[Tensor, "B V"]) -> Float[Tensor, "B V *E"]:
    """Return the embedding of each avatar's prompt with each of its views.

    Args:
        by_view: embeddings with each view name.
        views: index of the view name of each camera.

    Example:
        >>> by_view = torch.tensor([[[1.0], [2.0]], [[10.0], [20.0]]])  # two names, two avatars
        >>> for_views(by_view, torch.tensor([[0, 1], [1, 1]])).squeeze(-1).tolist()
        [[1.0, 10.0], [20.0, 20.0]]
    """
    return by_view[views, torch.arange(len(views), device=views.device)[:, None]]


def embed_prompts(
    prior: Prior,
    prompts: list[str],
    view_prompts: bool,
    words: str,
    clip: ClipGuide | None = None,
    negative: str = "",
) -> Prompts:
    """Embed each prompt with each view for the prior and, if given, for the CLIP that guides.

    Args:
        prior: embeds.
        prompts: one for each avatar.
        view_prompts: add the view to the prompt; without, all views have the same embedding.
        words: the prior's vocabulary of views, a name in VIEW_WORDS.
        clip: embeds, too.
        negative: what score distillation is guided away from.
    """

    def by_view(embed: Callable[[list[str]], Tensor], names: tuple[str, ...]) -> Tensor:
        if not view_prompts:
            plain = embed(prompts)
            return plain.expand(len(names), *plain.shape)
        texts = [with_view(prompt, name) for name in names for prompt in prompts]
        return embed(texts).unflatten(0, (len(names), len(prompts)))

    known = VIEW_WORDS[words]
    seen = by_view(clip.embed, LATENT_PAINT.names) if clip else None
    opposite = torch.tensor([known.names.index(across(name)) for name in known.names], device=prior.device)
    empty, without = prior.embed(["", negative]).split(1)
    return Prompts(known, by_view(prior.embed, known.names), opposite, empty, without, clip, seen)
