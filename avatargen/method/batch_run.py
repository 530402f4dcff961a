"""One batch of avatars, from where their checkpoints stand to finished avatars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from avatargen.config.experiment import RunConfig
from avatargen.config.prompts import PromptItem
from avatargen.geometry.types import HeadParameters
from avatargen.io.avatar_file import Avatar, zero_avatar_tensors
from avatargen.io.history import History, snapshot
from avatargen.method import phase1_cache
from avatargen.method.context import Batch, Prompts, embed_prompts
from avatargen.method.cost import now, peak_memory_mb, reset_peak_memory
from avatargen.method.optimise import snapshots, take_step
from avatargen.method.posing import head_parameters, point_offsets
from avatargen.method.recorder import Recorder
from avatargen.method.state import CHECKPOINT, PACES, State, initial_state, restore, save_checkpoint
from avatargen.method.texture_baking import SIZE

if TYPE_CHECKING:
    from avatargen.method.generator import Generator

CHECKPOINT_STEPS = 40
OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class BatchRun:
    """Avatars that are optimised together; all stand at the same step of the same attempt.

    Attributes:
        generator: the loaded models.
        run: the method.
        items: prompts and seeds, at most `size`.
        folders: one per item, existing.
        phase1_folders: where the phase 1 of each item is shared between methods; None: it is not.
        attempt: 0, or how often these avatars have diverged before.
        start: the step that their checkpoints stand at; 0 in attempt 0: there is none.
        size: rows that the batch is padded to with copies of its first avatar.
        on_step: told (steps done, steps in all).
    """

    generator: Generator
    run: RunConfig
    items: Sequence[PromptItem]
    folders: Sequence[Path]
    phase1_folders: Sequence[Path] | None
    attempt: int
    start: int
    size: int
    on_step: OnStep | None = None

    def avatars(self) -> Iterator[Avatar | None]:
        """Optimise, and yield the finished avatars in their order.

        None stands for an avatar that diverged and is to be tried again: its folder then holds a checkpoint at the
        start of the next attempt.
        """
        batch, state = self._optimised()
        with torch.no_grad():
            parameters = head_parameters(self.generator.head, state, point_offsets(batch, state))
        for row, (item, folder) in enumerate(zip(self.items, self.folders, strict=True)):
            if state.diverged[row] and self.attempt + 1 < len(PACES):
                again = self._initial_state([item])
                again.attempt, again.elapsed = self.attempt + 1, state.elapsed[row : row + 1]
                save_checkpoint(again, 0, folder)
                yield None
            else:
                yield self._finished(item, batch, state, parameters, row)
                (folder / CHECKPOINT).unlink(missing_ok=True)

    def _optimised(self) -> tuple[Batch, State]:
        """Return what the steps share, and the state after the last one."""
        method, since = self.run.method, now()
        batch, state = self._begun()
        if (self.attempt, self.start) != (0, 0):
            restore(state, [*self.folders, *[self.folders[0]] * (self.size - len(self.folders))])
        recorder = Recorder([History.load(folder, until=self.start) for folder in self.folders])
        while state.step < method.steps:
            losses = take_step(batch, state)
            recorder.add(state.step, losses)
            self._tell(state.step)
            if state.step % CHECKPOINT_STEPS == 0 or state.step in (method.phase1_steps, method.steps):
                since = _charge(state, since, len(self.items))
                self._checkpoint(batch, state, recorder)
        _charge(state, since, len(self.items))
        return batch, state

    def _begun(self) -> tuple[Batch, State]:
        """Return what the steps share, and the state before the first one, of the padded batch."""
        padded = [*self.items, *[self.items[0]] * (self.size - len(self.items))]
        keys = torch.tensor([item.key for item in padded])
        batch = Batch(self.generator.context, self.run.method, self._embedded(padded), keys)
        return batch, self._initial_state(padded)

    def largest_steps(self) -> int:
        """Take the first step of each phase, a snapshot and a finish, and keep nothing; return the peak memory, bytes.

        The first step of phase 2 estimates the masks: no step needs more memory.
        """
        reset_peak_memory()
        batch, state = self._begun()
        for step in sorted({0, self.run.method.phase1_steps} - {self.run.method.steps}):
            state.step = step
            take_step(batch, state)
        snapshots(batch, state)
        if self.run.refine_steps:
            with torch.no_grad():
                one = head_parameters(self.generator.head, state, point_offsets(batch, state))[:1]
            self.generator.refine(batch, 0, one, state.texture[0].detach())
        return int(peak_memory_mb() * 2**20)

    def _embedded(self, items: Sequence[PromptItem]) -> Prompts:
        generator, texts = self.generator, [item.prompt for item in items]
        clip, settings = generator.clip_guide(self.run), generator.settings
        views = self.run.method.view_prompts
        return embed_prompts(generator.prior, texts, views, settings.view_words, clip, settings.negative_prompt)

    def _initial_state(self, items: Sequence[PromptItem]) -> State:
        generator, keys = self.generator, [item.key for item in items]
        settings = generator.settings
        mask_size = 2 * settings.latent_size
        return initial_state(generator.head, self.run.method, settings, generator.context.start, keys, mask_size)

    def _checkpoint(self, batch: Batch, state: State, recorder: Recorder) -> None:
        """Write histories, with a snapshot where one is due, then checkpoints, of all avatars.

        The checkpoint at the end of phase 1 comes between others and takes no snapshot; methods share it.
        """
        method, histories = self.run.method, recorder.flush()
        regular = state.step % CHECKPOINT_STEPS == 0 or state.step == method.steps
        due = regular and histories[0].is_due(state.step, method.steps)
        images = snapshots(batch, state).mul(255).round().byte() if due else None
        for row, (history, folder) in enumerate(zip(histories, self.folders, strict=True)):
            if images is not None:
                history.snapshots.append((state.step, snapshot(images[row].permute(1, 2, 0).cpu().numpy())))
            history.save(folder)
            save_checkpoint(state, row, folder)
        if self.phase1_folders and state.step == method.phase1_steps:
            phase1_cache.store(self.folders, self.phase1_folders, state.step)

    def _finished(self, item: PromptItem, batch: Batch, state: State, parameters: HeadParameters, row: int) -> Avatar:
        """Return an avatar with its textures finished and baked; the grey template if it diverged."""
        seconds, generator = float(state.elapsed[row]), self.generator
        if bool(state.diverged[row]):
            tensors = zero_avatar_tensors(generator.head.template(1), SIZE)
            message = f"a gradient stopped being finite, at each of {len(PACES)} attempts"
            return generator.new_avatar(self.run, item, tensors, seconds, "diverged", message, batch_size=self.size)
        one, latent, since, steps = parameters[row : row + 1], state.texture[row].detach(), now(), self.run.refine_steps
        if steps:
            done = self.run.method.steps + steps * row // len(self.items)
            latent = generator.refine(
                batch, row, one, latent, on_step=lambda k: self._tell(done + k // len(self.items))
            )
        tensors = {**one.first(), "latent_texture": latent, "baked_texture": generator.bake(one, latent, steps > 0)}
        return generator.new_avatar(self.run, item, tensors, seconds + now() - since, batch_size=self.size)

    def _tell(self, done: int) -> None:
        """Tell how many steps are done, those of the finish included: each of its steps takes all avatars in turn."""
        if self.on_step is not None:
            self.on_step(done, self.run.method.steps + self.run.refine_steps)


def _charge(state: State, since: float, avatars: int) -> float:
    """Split the time since `since` evenly over the batch's avatars; return the current time."""
    until = now()
    state.elapsed = state.elapsed + (until - since) / avatars
    return until
