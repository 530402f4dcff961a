"""Where a method's avatars come from: one class for each value of `MethodSettings.source`.

Other code asks a source (`source_of`), never its name. Validation asks it at every parse of the Snakefile, so this
module imports torch only where an avatar is made.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatargen.config.errors import InputError
from avatargen.config.experiment import RunConfig
from avatargen.config.places import ROOT
from avatargen.config.plugins import SOURCES, load_class
from avatargen.config.prompts import PromptItem
from avatargen.headworld.phrases import described

if TYPE_CHECKING:
    from avatargen.io.avatar_file import Avatar
    from avatargen.method.generator import Generator

WORLD_HEAD = "anny"
"""The head model of the closed world: ground-truth heads are of no other."""
WORLD_HEADS = (WORLD_HEAD, "anny_coarse", "anny_fine")
"""The same head model at all its resolutions."""


class Source:
    """Where avatars come from.

    Attributes:
        optimises: avatars take optimisation steps; `Generator` makes them in batches, and `make` is not called.
        uses_prior: avatars depend on the diffusion prior; an experiment with several runs the method with each.
        needs_truth: only prompts whose ground-truth head is known can be made.
        paints: avatars have the colours of the ground-truth head; their pictures compress less than grey ones.
        is_external: another system made the avatars: they have another topology than the ground-truth heads, and their
            failures are results rather than mishaps of a run.
        has_geometry: avatars have a surface, which the geometry track shows.
    """

    optimises = False
    uses_prior = False
    needs_truth = False
    paints = False
    is_external = False
    has_geometry = True

    def problems(self, run: RunConfig, items: Iterable[PromptItem], root: Path = ROOT) -> list[str]:
        """Return what is missing to make avatars of these prompts, one line each."""
        return []

    def notes(self, run: RunConfig) -> list[str]:
        """Return what the user should know of these avatars, one line each."""
        return []

    def ingredients(self, run: RunConfig, item: PromptItem, root: Path = ROOT) -> list[Any]:
        """Return what an avatar depends on besides its method, JSON-ready; a part of its fingerprint."""
        return [item.prompt, item.seed, item.key, list(item.tags)]  # the code that makes the key is not hashed

    def make(self, generator: Generator, run: RunConfig, item: PromptItem) -> Avatar:
        """Make one avatar without optimisation.

        Raises:
            InputError: its ground-truth head is not known.
            ValueError: the mesh of another system is missing, empty or not readable.
        """
        raise NotImplementedError(f"source '{run.method.source}' optimises in batches; call Generator.run")


class Optimise(Source):
    """Optimised with the prior."""

    optimises = True
    uses_prior = True


class Template(Source):
    """The floor: the template head, grey."""

    def make(self, generator: Generator, run: RunConfig, item: PromptItem) -> Avatar:
        """Return the template; see the base class."""
        from avatargen.io.avatar_file import zero_avatar_tensors
        from avatargen.method.texture_baking import SIZE

        began = time.monotonic()
        tensors = zero_avatar_tensors(generator.head.template(1), SIZE)
        return generator.new_avatar(run, item, tensors, time.monotonic() - began)


class Oracle(Source):
    """The ceiling: the ground-truth head of the closed world.

    Attributes:
        true_shape: avatars have the geometry and expression of the ground-truth head, else the template's.
        paints: avatars have the texture of the ground-truth head, else the template's grey.
    """

    needs_truth = True
    true_shape = True
    paints = True

    def make(self, generator: Generator, run: RunConfig, item: PromptItem) -> Avatar:
        """Return the ground-truth head, or the half of it that the source shows; see the base class."""
        from avatargen.headworld.truth import true_head
        from avatargen.io.avatar_file import zero_avatar_tensors
        from avatargen.method.texture_baking import SIZE

        began = time.monotonic()
        truth = true_head(item.prompt, item.tags, generator.head)
        if truth is None:
            raise InputError([f"{item.list}/{item.item}: no ground-truth head is known for '{item.prompt}'"])
        tensors = zero_avatar_tensors(generator.head.template(1), SIZE)
        if self.true_shape:
            tensors |= truth.parameters.first()
        if self.paints:
            tensors["baked_texture"] = truth.texture
        return generator.new_avatar(run, item, tensors, time.monotonic() - began)


class TrueTexture(Oracle):
    """The ceiling of the texture alone: the ground-truth texture on the neutral template.

    Hair, beards and horns are offsets of the geometry, so this head has their colours without their volume.
    """

    true_shape = False


class TrueShape(Oracle):
    """The ceiling of the geometry alone: the ground-truth geometry and expression, in the template's grey."""

    paints = False


def source_of(run: RunConfig) -> Source:
    """Return the source of a method's avatars."""
    return load_class("source", run.method.source, SOURCES)()


def flat_methods(runs: Mapping[str, RunConfig]) -> frozenset[str]:
    """Return the methods whose avatars have no surface: nothing that needs one is asked of them."""
    return frozenset(name for name, run in runs.items() if not source_of(run).has_geometry)


def has_truth(head: str, item: PromptItem) -> bool:
    """Return whether the ground-truth head of a prompt is known, and is of the head model `head`."""
    return head in WORLD_HEADS and _is_described(item.prompt, item.tags)


@cache
def _is_described(prompt: str, tags: tuple[str, ...]) -> bool:
    """Return whether the closed world knows a prompt's head; remembered, since parsing a long list takes a second."""
    return described(prompt, tags) is not None
