"""From prompts to avatars: holds the head, the renderer and the prior, and runs batches through the method."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from avatargen import __version__
from avatargen.config.errors import InputError
from avatargen.config.experiment import RunConfig
from avatargen.config.places import ROOT
from avatargen.config.plugins import HEADS, RENDERERS, load_class
from avatargen.config.prompts import PromptItem
from avatargen.config.settings import PriorSettings
from avatargen.exchange.mesh_files import find_mesh, mesh_name
from avatargen.exchange.mesh_import import read_mesh
from avatargen.geometry.types import HeadParameters
from avatargen.heads.base import HeadModel
from avatargen.heads.mesh_head import MESH
from avatargen.headworld.truth import true_head
from avatargen.io.avatar_file import Avatar, zero_avatar_tensors
from avatargen.io.history import History, Recorder
from avatargen.method.context import Context, build_context, embed_prompts
from avatargen.method.cost import now, peak_memory_mb, reset_peak_memory
from avatargen.method.optimise import head_parameters, moved_points, snapshots, take_step
from avatargen.method.state import CHECKPOINT, PACES, State, checkpoint_place, initial_state, restore, save_checkpoint
from avatargen.method.texture_baking import SIZE, bake
from avatargen.priors.base import Prior, load_prior
from avatargen.priors.clip import ClipGuide
from avatargen.render.base import Renderer
from avatargen.render.texel_map import TexelMap, build_texel_map

CHECKPOINT_STEPS = 40
PACKAGES = ("torch", "diffusers", "transformers", "anny", "warp-lang")
OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Generator:
    """Everything that one worker keeps loaded. Make one with `Generator.load`.

    Attributes:
        proxy, proxy_renderer: the head as it is optimised; `renderer` renders the head itself.
    """

    head: HeadModel
    renderer: Renderer
    proxy: HeadModel
    proxy_renderer: Renderer
    prior: Prior
    settings: PriorSettings
    _clips: dict[str, ClipGuide] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, head: str, renderer: str, prior: PriorSettings, threads: int) -> Generator:
        """Load the models onto the GPU if there is one.

        Args:
            threads: torch's threads; results depend on them in their last bits.

        Raises:
            InputError: an unknown name, or a prior that is not there.
        """
        torch.set_num_threads(threads)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = load_class("head", head, HEADS).load().to(device)
        proxy = model.proxy()
        make = load_class("renderer", renderer, RENDERERS)
        drawn, proxy_drawn = (make(h.topology, h.canonical(h.shape_template[None])[0]) for h in (model, proxy))
        return cls(model, drawn, proxy, proxy_drawn, load_prior(prior, ROOT), prior)

    @cached_property
    def context(self) -> Context:
        return build_context(self.head, self.proxy, self.proxy_renderer, self.prior, self.settings)

    @cached_property
    def texel_map(self) -> TexelMap:
        return build_texel_map(self.head.topology, SIZE)

    def run(
        self,
        run: RunConfig,
        items: Sequence[PromptItem],
        folders: Sequence[Path],
        on_step: OnStep | None = None,
    ) -> Iterator[Avatar]:
        """Make avatars, resuming those whose folder holds a checkpoint; the checkpoint goes when one is made.

        One that diverges is tried again after the others, with smaller steps.

        Args:
            run: the method.
            items: prompts and seeds.
            folders: one for each item, existing.
            on_step: told (steps done, steps in all) of the batch that is running.
        """
        if run.method.source != "optimise":
            for item in items:
                reset_peak_memory()
                yield self._given(run, item)
            return
        places = [checkpoint_place(folder) for folder in folders]
        for attempt in range(len(PACES)):
            for step in sorted({at for tried, at in places if tried == attempt}, reverse=True):
                same = [k for k, place in enumerate(places) if place == (attempt, step)]
                for first in range(0, len(same), run.batch_size):
                    rows = same[first : first + run.batch_size]
                    some = [items[k] for k in rows], [folders[k] for k in rows]
                    for k, avatar in zip(rows, self._batch(run, *some, attempt, step, on_step), strict=True):
                        if avatar is None:
                            places[k] = (attempt + 1, 0)
                        else:
                            yield avatar

    def _batch(
        self, run: RunConfig, items: list[PromptItem], folders: list[Path], attempt: int, start: int,
        on_step: OnStep | None,
    ) -> Iterator[Avatar | None]:  # fmt: skip
        """Finish avatars whose folders stand at one `attempt` and step (`start`), and yield them in their order.

        The batch is padded with copies of its first avatar to the fixed shape. None stands for an avatar that diverged
        and is to be tried again: its folder then holds a checkpoint at the start of the next attempt.
        """
        context, _, clip = self._shared(run)
        reset_peak_memory()
        since = now()
        padding = run.batch_size - len(items)
        padded = [*items, *[items[0]] * padding]
        state = self._start(run, padded)
        if (attempt, start) != (0, 0):
            restore(state, [*folders, *[folders[0]] * padding])
        recorder = Recorder([History.load(folder, until=start) for folder in folders])
        texts = [item.prompt for item in padded]
        prompts = embed_prompts(self.prior, texts, run.method.view_prompts, self.settings.view_words, clip)
        seeds = torch.tensor([item.seed for item in padded], device=self.head.shape_template.device)
        while state.step < run.method.steps:
            losses = take_step(context, run.method, state, prompts, seeds)
            recorder.add(state.step, losses)
            if on_step is not None:
                on_step(state.step, run.method.steps)
            if state.step % CHECKPOINT_STEPS == 0 or state.step in (run.method.phase1_steps, run.method.steps):
                since = _charge(state, since, len(items))
                self._keep(run, state, recorder, folders)
        _charge(state, since, len(items))
        with torch.no_grad():
            parameters = head_parameters(self.head, state, moved_points(context, run.method, state))
        for row, (item, folder) in enumerate(zip(items, folders, strict=True)):
            if state.diverged[row] and attempt + 1 < len(PACES):
                again = self._start(run, [item])
                again.attempt, again.elapsed = attempt + 1, state.elapsed[row : row + 1]
                save_checkpoint(again, 0, folder)
                yield None
            else:
                yield self._finished(run, item, state, parameters, row)
                (folder / CHECKPOINT).unlink(missing_ok=True)

    def _shared(self, run: RunConfig) -> tuple[Context, TexelMap, ClipGuide | None]:
        """What all batches share, made now if this is the first of them: on no avatar's account."""
        return self.context, self.texel_map, self._clip(run)

    def _start(self, run: RunConfig, items: list[PromptItem]) -> State:
        """The state of avatars before their first step."""
        seeds, mask_size = [item.seed for item in items], 2 * self.settings.latent_size
        return initial_state(self.head, run.method, self.settings, self.context.start, seeds, mask_size)

    def _clip(self, run: RunConfig) -> ClipGuide | None:
        """The CLIP that guides a method, if one does; kept for the next batch."""
        if run.clip is None:
            return None
        key = run.clip.model_dump_json()
        if key not in self._clips:
            self._clips[key] = ClipGuide.load(str(run.clip_guide), run.clip, ROOT)
        return self._clips[key]

    def _keep(self, run: RunConfig, state: State, recorder: Recorder, folders: list[Path]) -> None:
        """Histories, with a snapshot where one is due, then checkpoints, of all avatars.

        The checkpoint at the end of phase 1 comes between others, and takes no snapshot.
        """
        regular = state.step % CHECKPOINT_STEPS == 0 or state.step == run.method.steps
        due = regular and recorder.histories[0].is_due(state.step, run.method.steps)
        images = snapshots(self.context, run.method, state).mul(255).round().byte() if due else None
        for row, (history, folder) in enumerate(zip(recorder.histories, folders, strict=True)):
            if images is not None:
                history.snapshots.append((state.step, images[row].permute(1, 2, 0).cpu().numpy()))
            history.save(folder)
            if state.step < run.method.steps:
                save_checkpoint(state, row, folder)

    def _finished(
        self,
        run: RunConfig,
        item: PromptItem,
        state: State,
        parameters: HeadParameters,
        row: int,
    ) -> Avatar:
        """An avatar with its baked texture; the template, grey, if it diverged."""
        seconds = float(state.elapsed[row])
        if bool(state.diverged[row]):
            tensors = zero_avatar_tensors(self.head.template(1), SIZE)
            message = f"a gradient stopped being finite, at each of {len(PACES)} attempts"
            return self._avatar(run, item, tensors, seconds, "diverged", message)
        one = parameters[row : row + 1]
        latent = state.texture[row].detach()
        since = now()
        tensors = {**_tensors(one), "latent_texture": latent, "baked_texture": self.bake(one, latent)}
        return self._avatar(run, item, tensors, seconds + now() - since)

    @torch.no_grad()
    def bake(self, parameters: HeadParameters, latent: Tensor) -> Tensor:
        """The RGB texture of a latent one, on a head at rest in its neutral shape."""
        vertices = self.head.vertices(parameters)
        return bake(
            self.renderer, self.prior, self.texel_map, self.head.topology.faces, vertices, latent, self.settings
        )

    def _given(self, run: RunConfig, item: PromptItem) -> Avatar:
        """The floor (the template head, grey), the ceiling (the true head), or a mesh that another system made."""
        began = time.monotonic()
        if run.method.source == "imported":
            return self._imported(run, item)
        if run.method.source == "template":
            return self._avatar(run, item, zero_avatar_tensors(self.head.template(1), SIZE), time.monotonic() - began)
        truth = true_head(item.prompt, item.tags, self.head)
        if truth is None:
            where = f"{item.list}/{item.item}"
            raise InputError([f"{where}: method 'oracle' needs a true head; this world does not know '{item.prompt}'"])
        tensors = {**_tensors(truth.parameters), "latent_texture": None, "baked_texture": truth.texture}
        return self._avatar(run, item, tensors, time.monotonic() - began)

    def _imported(self, run: RunConfig, item: PromptItem) -> Avatar:
        """The mesh of an item; its cost is not known here.

        Raises:
            ValueError: it is missing, empty, or cannot be read.
        """
        meshes = run.method.meshes
        path = find_mesh(meshes, item, ROOT) if meshes else None
        if meshes is None or path is None:
            raise ValueError(f"{item.list}/{item.item}: no mesh named {mesh_name(item)} in {meshes and meshes.folder}")
        height = self.head.canonical(self.head.shape_template[None])[0, :, 1]
        mesh = read_mesh(path, meshes, float(height.max() - height.min()))
        nothing = torch.zeros(0)
        avatar = self._avatar(
            run, item,
            {"shape": nothing, "expression": nothing, "joints": torch.zeros(0, 3), "offsets": mesh.vertices,
             "latent_texture": None, "baked_texture": mesh.texture},
            0.0,
        )  # fmt: skip
        return replace(avatar, head_id=MESH, topology=mesh.topology, cost={})

    def _avatar(
        self, run: RunConfig, item: PromptItem, tensors: dict[str, Tensor | None], seconds: float,
        status: str = "ok", message: str = "",
    ) -> Avatar:  # fmt: skip
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}
        return Avatar(
            id=item.id, prompt=item.prompt, seed=item.seed, method=run.method_name, head_id=self.head.id,
            prior_id=self.prior.id, config=run.model_dump(mode="json"),
            provenance={"avatargen": __version__, "versions": versions, "list": item.list, "item": item.item},
            cost={"seconds": seconds, "peak_memory_mb": peak_memory_mb()}, status=status, message=message, **tensors,
        )  # fmt: skip


def _charge(state: State, since: float, avatars: int) -> float:
    """Add the time since `since` to what the batch's avatars have taken, in equal shares; the time that it is now."""
    until = now()
    state.elapsed = state.elapsed + (until - since) / avatars
    return until


def _tensors(parameters: HeadParameters) -> dict[str, Tensor]:
    """A batch of one without its batch."""
    return {name: getattr(parameters, name)[0] for name in ("shape", "expression", "joints", "offsets")}
