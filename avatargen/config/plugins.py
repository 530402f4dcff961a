"""One table for each pluggable kind: a name, and the class that implements it.

Nothing registers itself by being imported; to add a head, a prior, a renderer or a source, add a line here.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

from avatargen.config.errors import InputError, unknown
from avatargen.config.places import ROOT

HEADS = {
    "anny": "avatargen.heads.anny.head:AnnyHead",
    "anny_coarse": "avatargen.heads.anny.coarse:AnnyCoarse",
    "anny_fine": "avatargen.heads.anny.fine:AnnyFine",
    "flame": "avatargen.heads.flame.head:FlameHead",
    "flame_coarse": "avatargen.heads.flame.coarse:FlameCoarse",
    "flame_fine": "avatargen.heads.flame.fine:FlameFine",
}
PRIORS = {
    "stable_diffusion": "avatargen.priors.stable_diffusion:StableDiffusionPrior",
    "sdxl": "avatargen.priors.stable_diffusion:StableDiffusionPrior",
    "kandinsky": "avatargen.priors.kandinsky:KandinskyPrior",
}
READERS = {"small": "avatargen.priors.expression_reader:SmallReader"}
RENDERERS = {
    "warp": "avatargen.render.warp:WarpRenderer",
    "pytorch3d": "avatargen.render.pytorch3d:Pytorch3dRenderer",
}
SOURCES = {
    "optimise": "avatargen.method.sources:Optimise",
    "template": "avatargen.method.sources:Template",
    "oracle": "avatargen.method.sources:Oracle",
    "true_texture": "avatargen.method.sources:TrueTexture",
    "true_shape": "avatargen.method.sources:TrueShape",
    "imported": "avatargen.method.imported:Imported",
    "frames": "avatargen.method.imported_frames:ImportedFrames",
}
DIAGNOSTICS = {
    "articulation": "eval.diagnostics.articulation:Articulation",
    "detail": "eval.diagnostics.detail:Detail",
    "features": "eval.diagnostics.features:Features",
    "flicker": "eval.diagnostics.flicker:Flicker",
    "robustness": "eval.diagnostics.robustness:Robustness",
    "shape": "eval.diagnostics.shape:Shape",
}
QUESTIONS = {
    "articulation": "eval.questions.articulation:answer",
    "cost": "eval.questions.cost:answer",
    "cross_prior": "eval.questions.cross_prior:answer",
    "detail": "eval.questions.detail:answer",
    "expressiveness": "eval.questions.expressiveness:answer",
    "first_experiments": "eval.questions.first_experiments:answer",
    "flicker": "eval.questions.flicker:answer",
    "out_of_domain": "eval.questions.out_of_domain:answer",
    "phase_balance": "eval.questions.phase_balance:answer",
    "robustness": "eval.questions.robustness:answer",
    "saturation": "eval.questions.saturation:answer",
}
NEEDED = {
    "articulation": ("articulation",),
    "detail": ("detail",),
    "expressiveness": ("shape",),
    "first_experiments": ("features",),
    "flicker": ("flicker",),
    "robustness": ("robustness",),
}
"""Diagnostics without which a question has little to go by."""


def load_class(kind: str, name: str, table: dict[str, str]) -> Any:
    """Return the class that a name stands for; for a question, the function.

    Args:
        kind: of the table, for messages.
        name: a key of `table`.
        table: names to ``module:Class``.

    Raises:
        InputError: the name is not in the table; says which is nearest.
    """
    if name not in table:
        raise InputError([unknown(kind, name, table, kind)])
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)


def module_of(spec: str) -> str:
    """Return the module of ``module:Class``."""
    return spec.partition(":")[0]


def summary(spec: str) -> str:
    """Return the first line of the docstring of a plug-in's module, without importing it."""
    file = ROOT / Path(*module_of(spec).split(".")).with_suffix(".py")
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").splitlines()[0]
