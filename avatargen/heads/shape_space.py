"""Anny's shape space, evaluated exactly: phenotypes and local changes to blend-shape weights.

A phenotype head is a sum of sculpted heads (each for a combination such as old, female, heavy, muscular) times the
product of hat functions of the phenotypes; that is piecewise multilinear, cheap, and kept as it is rather than
linearised. A local change moves along one sculpted direction when positive and along another when negative.

At the kinks of both (an anchor age, a local change of 0) derivatives are the mean of the two sides, so that a
coefficient that sits on one (the template does) still gets a useful gradient.

Source: Brégier et al., arXiv 2511.03589, and `anny.models.phenotype`.
"""

from __future__ import annotations

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
FEATURES = tuple(key for anchors in ANCHORS.values() for key in anchors) + ANCESTRIES
ONE = len(FEATURES)  # index of the constant feature that pads short products


def hats(value: Float[Tensor, " B"], anchors: list[float]) -> list[Float[Tensor, " B"]]:
    """Piecewise linear interpolation weights of increasing anchors; the end pieces extrapolate."""
    last = len(anchors) - 2
    rises = []
    for k in range(len(anchors) - 1):
        t = (value - anchors[k]) / (anchors[k + 1] - anchors[k])
        below = 0.0 * t if k == 0 else (t.abs() - t) / 2  # what the clamp at 0 adds
        above = 0.0 * t if k == last else ((t - 1).abs() + t - 1) / 2  # what the clamp at 1 takes away
        rises.append(t + below - above)
    return [1 - rises[0], *(a - b for a, b in zip(rises, rises[1:], strict=False)), rises[-1]]


def features(phenotypes: Float[Tensor, "B P"]) -> Float[Tensor, "B Q"]:
    """Interpolation weight of every anchor, then the ancestries, then 1. P follows `PHENOTYPES`."""
    columns = [hat for k, anchors in enumerate(ANCHORS.values()) for hat in hats(phenotypes[:, k], [*anchors.values()])]
    ancestry = phenotypes[:, len(ANCHORS) :].clamp(min=0) + 1e-6
    ancestry = ancestry / ancestry.sum(dim=1, keepdim=True)
    return torch.cat([torch.stack(columns, dim=1), ancestry, torch.ones_like(ancestry[:, :1])], dim=1)


def factor_indices(labels: list[str]) -> Int[Tensor, "K 5"]:
    """For blend shapes named ``block:key-key-…``, the features whose product is its weight."""
    keys = [label.split(":")[1].split("-") for label in labels]
    padded = [[FEATURES.index(key) for key in row] + [ONE] * (5 - len(row)) for row in keys]
    return torch.tensor(padded)


def phenotype_weights(phenotypes: Float[Tensor, "B P"], factors: Int[Tensor, "K 5"]) -> Float[Tensor, "B K"]:
    """Weight of each phenotype blend shape: the product of its features."""
    table = features(phenotypes)
    product = table[:, factors[:, 0]]
    for k in range(1, factors.shape[1]):
        product = product * table[:, factors[:, k]]
    return product


def coefficients(
    shape: Float[Tensor, "B S"],
    factors: Int[Tensor, "K 5"],
    projection: Float[Tensor, "K R"],
    origin: Float[Tensor, " K"],
    even: Int[Tensor, " L"],
) -> Float[Tensor, "B C"]:
    """Coefficients of the baked basis: [phenotypes projected, local changes, |some local changes|].

    Args:
        shape: phenotypes in the order of `PHENOTYPES`, then the local changes.
        factors, projection: see `phenotype_weights`; the weights are projected on a compact basis.
        origin: phenotype weights of the template.
        even: local changes whose two directions are not each other's opposites.
    """
    split = len(PHENOTYPES)
    phenotype = (phenotype_weights(shape[:, :split], factors) - origin) @ projection
    local = shape[:, split:]
    return torch.cat([phenotype, local, local[:, even].abs()], dim=1)
