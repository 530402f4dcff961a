"""From prompts to avatars: hold the head, the renderer and the prior, and run batches through the method."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from avatargen import __version__
from avatargen.config.experiment import RunConfig
from avatargen.config.places import ROOT
from avatargen.config.plugins import HEADS, RENDERERS, load_class
from avatargen.config.prompts import PromptItem
from avatargen.config.settings import PriorSettings, SoftRasterSettings
from avatargen.geometry.cameras import keyed_noise, usual_framing
from avatargen.geometry.transfer import to_device
from avatargen.geometry.types import Cameras, HeadParameters
from avatargen.heads.base import HeadModel
from avatargen.io.avatar_file import Avatar
from avatargen.method import phase1_cache
from avatargen.method.batch_run import BatchRun, OnStep
from avatargen.method.context import Batch, Context, build_context, for_views
from avatargen.method.cost import peak_memory_mb, reset_peak_memory
from avatargen.method.fixed_views import bake_cameras, refine_cameras
from avatargen.method.memory import BatchSizes, reclaim
from avatargen.method.out_of_memory import is_out_of_memory
from avatargen.method.projection import build_projection
from avatargen.method.refine import REFINE_STREAM, Views, refine
from avatargen.method.sources import source_of
from avatargen.method.state import checkpoint_place
from avatargen.method.texture_baking import CORRECTIONS, SIZE, bake
from avatargen.priors.base import Prior, load_prior
from avatargen.priors.clip import ClipGuide
from avatargen.priors.expression_reader import load_reader
from avatargen.priors.precision import network_dtype
from avatargen.priors.view_prompts import LATENT_PAINT, VIEW_WORDS, view_indices, with_view
from avatargen.render.base import Renderer
from avatargen.render.texel_map import TexelMap, build_texel_map

PACKAGES = ("torch", "diffusers", "transformers", "anny", "warp-lang")


@dataclass(frozen=True)
class Generator:
    """Everything that one worker keeps loaded. Make one with `Generator.load`.

    Attributes:
        head, renderer: the head model, and what renders it.
        proxy, proxy_renderer: the proxy mesh that optimisation moves, and what renders it.
        prior, settings: the diffusion prior and its settings.
    """

    head: HeadModel
    renderer: Renderer
    proxy: HeadModel
    proxy_renderer: Renderer
    prior: Prior
    settings: PriorSettings
    _clips: dict[str, ClipGuide] = field(default_factory=dict, repr=False)

    @classmethod
    def load(
        cls,
        head: str,
        renderer: str,
        prior: PriorSettings,
        threads: int,
        soft: SoftRasterSettings = SoftRasterSettings(),  # noqa: B008
    ) -> Generator:
        """Load the models onto the GPU if there is one.

        Args:
            head: a name in `plugins.HEADS`.
            renderer: a name in `plugins.RENDERERS`.
            prior: settings of the prior.
            threads: of torch; results depend on them in their last bits.
            soft: settings of a renderer that blends softly.

        Raises:
            InputError: an unknown name, or a prior that is not there.
        """
        torch.set_num_threads(threads)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = load_class("head", head, HEADS).load().to(device)
        proxy = model.proxy()
        make = load_class("renderer", renderer, RENDERERS)
        fine, coarse = (make(h.topology, h.canonical(h.shape_template[None])[0], soft) for h in (model, proxy))
        return cls(model, fine, proxy, coarse, load_prior(prior, ROOT), prior)

    @cached_property
    def context(self) -> Context:
        """What all batches share."""
        reader = load_reader(self.settings.reader, ROOT, self.prior)
        return build_context(self.head, self.proxy, self.proxy_renderer, self.prior, self.settings, reader)

    @cached_property
    def texel_map(self) -> TexelMap:
        """Where the texels of baked textures lie on the head."""
        return build_texel_map(self.head.topology, SIZE)

    @cached_property
    def latent_texel_map(self) -> TexelMap:
        """Where the texels of latent textures lie on the head."""
        return build_texel_map(self.head.topology, self.settings.texture_size)

    def run(
        self,
        run: RunConfig,
        items: Sequence[PromptItem],
        folders: Sequence[Path],
        on_step: OnStep | None = None,
        phase1_folders: Sequence[Path] | None = None,
    ) -> Iterator[Avatar]:
        """Make avatars, resuming those whose folder holds a checkpoint; the checkpoint goes when one is made.

        An avatar that diverges is tried again after the others, with smaller steps.

        Args:
            run: the method.
            items: prompts and seeds.
            folders: one per item, existing.
            on_step: told (steps done, steps in all) of the batch that is running.
            phase1_folders: one per item, where methods that share phase 1 keep its end; None: none is shared.
        """
        source = source_of(run)
        if not source.optimises:
            for item in items:
                reset_peak_memory()
                yield source.make(self, run, item)
            return
        if phase1_folders:
            phase1_cache.resume(folders, phase1_folders)
        self.context, self.texel_map, self.clip_guide(run)  # loaded before the clock of a batch starts
        yield from self._in_batches(run, items, folders, on_step, phase1_folders)

    def _in_batches(
        self,
        run: RunConfig,
        items: Sequence[PromptItem],
        folders: Sequence[Path],
        on_step: OnStep | None,
        phase1_folders: Sequence[Path] | None,
    ) -> Iterator[Avatar]:
        """Make avatars in batches whose checkpoints stand at one place, those furthest on first.

        A batch that does not fit into memory goes on from its checkpoints in two halves.
        """
        waiting = {k: checkpoint_place(folder) for k, folder in enumerate(folders)}
        while waiting:
            attempt, start = min(waiting.values(), key=lambda place: (place[0], -place[1]))
            same = [k for k, place in waiting.items() if place == (attempt, start)]
            size = self._batch_size(run, items[same[0]], len(same))
            rows = same[:size]
            some, where = [items[k] for k in rows], [folders[k] for k in rows]
            shared = [phase1_folders[k] for k in rows] if phase1_folders else None
            reset_peak_memory()
            batch = BatchRun(self, run, some, where, shared, attempt, start, size, on_step)
            try:
                for k, avatar in zip(rows, batch.avatars(), strict=True):
                    waiting[k] = (attempt + 1, 0)
                    if avatar is not None:
                        del waiting[k]
                        yield avatar
                continue
            except Exception as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
                reclaim(error)
            self._sizes.halve(run, size)
            waiting |= {k: checkpoint_place(folders[k]) for k in rows if waiting.get(k) == (attempt, start)}

    def _batch_size(self, run: RunConfig, item: PromptItem, avatars: int) -> int:
        """Return how many of the avatars at hand to optimise together; measured with copies of one, if need be."""

        def trial(size: int) -> int:
            return BatchRun(self, run, [item], [], None, 0, 0, size).largest_steps()

        return self._sizes.of(run, avatars, trial)

    @cached_property
    def _sizes(self) -> BatchSizes:
        return BatchSizes(self.head.shape_template.device)

    def truncated_by(self, run: RunConfig, prompt: str) -> list[str]:
        """Return who truncates a prompt, or the one to be guided away from; none where nothing is optimised."""
        if not run.method.optimises:
            return []
        words = VIEW_WORDS[self.settings.view_words].names
        readers: list[tuple[str, Prior | ClipGuide, tuple[str, ...]]] = [
            (f"prior '{run.prior_name}'", self.prior, words)
        ]
        if (clip := self.clip_guide(run)) is not None:
            readers.append((f"guide '{run.clip_guide}'", clip, LATENT_PAINT.names))
        found = []
        for name, reader, views in readers:
            texts = [with_view(prompt, view) for view in views] if run.method.view_prompts else [prompt]
            if any(reader.truncates(texts)):
                found.append(name)
        if (negative := run.prior.negative_prompt) and any(self.prior.truncates([negative])):
            found.append(f"prior '{run.prior_name}' (its negative prompt)")
        return found

    def clip_guide(self, run: RunConfig) -> ClipGuide | None:
        """Return the CLIP that guides a method, if one does; it stays loaded for the next batch."""
        if run.clip is None:
            return None
        key = run.clip.model_dump_json()
        if key not in self._clips:
            self._clips[key] = ClipGuide.load(str(run.clip_guide), run.clip, ROOT)
        return self._clips[key]

    @torch.no_grad()
    def refine(
        self,
        batch: Batch,
        row: int,
        parameters: HeadParameters,
        latent: Tensor,
        on_step: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Return the latent texture (C, Ht, Wt) of an avatar after the finish.

        Args:
            batch: its prompts and keys.
            row: of the avatar in the batch.
            parameters: of the avatar, a batch of one.
            latent: its latent texture.
            on_step: told the number of denoising steps done.
        """
        settings, prompts = self.settings, batch.prompts
        on_host = refine_cameras(settings.cameras)
        fields = [view_indices(on_host, prompts.words), *(getattr(on_host, name) for name in vars(on_host))]
        names, *sent = to_device(fields, batch.device)
        shape = (len(latent), settings.latent_size, settings.latent_size)
        views = Views(
            background=self.context.snapshot_background,
            condition=for_views(prompts.by_view[:, row : row + 1], names)[0],
            unconditional=prompts.empty,
            noise=keyed_noise(batch.keys[row : row + 1], REFINE_STREAM, names.shape[1], shape, batch.device)[0],
        )
        vertices, faces = self.head.vertices(parameters), self.head.topology.faces
        fov, size = usual_framing(settings.cameras)[1], 2 * settings.latent_size * self.prior.downscale
        projection = build_projection(self.renderer, self.latent_texel_map, faces, vertices, Cameras(*sent), fov, size)
        return refine(self.prior, projection, latent, views, settings, on_step)

    @torch.no_grad()
    def bake(self, parameters: HeadParameters, latent: Tensor, refined: bool = False) -> Tensor:
        """Return the RGB texture (3, SIZE, SIZE) of a latent one (C, Ht, Wt), baked on the head at rest.

        Args:
            parameters: a batch of one.
            latent: the latent texture.
            refined: by the finish, which close-ups show: they are baked, too.
        """
        vertices, faces = self.head.vertices(parameters), self.head.topology.faces
        cameras = bake_cameras(self.settings.cameras, close_ups=refined).to(vertices.device)
        corrections = CORRECTIONS if refined else 0
        return bake(
            self.renderer, self.prior, self.texel_map, faces, vertices, latent, self.settings, cameras, corrections
        )

    def new_avatar(
        self,
        run: RunConfig,
        item: PromptItem,
        tensors: Mapping[str, Any],
        seconds: float,
        status: str = "ok",
        message: str = "",
        batch_size: int | None = None,
    ) -> Avatar:
        """Return an avatar with everything that its file records.

        Args:
            run: the method.
            item: prompt and seed.
            tensors: the tensors of `Avatar`, by name.
            seconds: what it cost.
            status: see `avatar_file.STATUSES`.
            message: what went wrong.
            batch_size: avatars that were optimised together, padding included; None if none were. It decides, like the
                number format of the prior's networks, how sums are rounded.
        """
        numbers = str(network_dtype(self.prior.device)).removeprefix("torch.")
        together = {} if batch_size is None else {"batch_size": batch_size, "number_format": numbers}
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}
        return Avatar(
            id=item.id,
            prompt=item.prompt,
            seed=item.seed,
            method=run.method_name,
            head_id=self.head.id,
            prior_id=self.prior.id,
            config=run.model_dump(mode="json"),
            provenance={
                "avatargen": __version__,
                "versions": versions,
                "list": item.list,
                "item": item.item,
                **together,
            },
            cost={"seconds": seconds, "peak_memory_mb": peak_memory_mb()},
            status=status,
            message=message,
            **tensors,
        )
