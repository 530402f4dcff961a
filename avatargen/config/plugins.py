"""One table for each pluggable kind: a name, and the class that implements it.

Nothing registers itself by being imported; to add a head, a prior, a renderer or a source, add a line here.
"""

from __future__ import annotations

from importlib import import_module

from avatargen.config.errors import InputError, unknown

HEADS = {"anny": "avatargen.heads.anny.head:AnnyHead", "flame": "avatargen.heads.flame.head:FlameHead"}
PRIORS = {
    "stable_diffusion": "avatargen.priors.stable_diffusion:StableDiffusionPrior",
    "sdxl": "avatargen.priors.stable_diffusion:StableDiffusionPrior",
    "kandinsky": "avatargen.priors.kandinsky:KandinskyPrior",
}
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
    "imported": "avatargen.method.sources:Imported",
}


def load_class(kind: str, name: str, table: dict[str, str]) -> type:
    """Return the class that a name stands for.

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
