"""Map Anny's phenotypes and local changes to blend-shape weights, exactly.

A phenotype head is a sum of sculpted heads (one for each combination such as old, female, heavy, muscular), each
weighted by a product of hat functions of the phenotypes. The sum is piecewise multilinear and cheap, so we do not
linearise it. A local change moves along one sculpted direction when positive and along another when negative. Beyond
the bounds, the end pieces continue.

At the kinks (an anchor age, a local change of 0) the derivative is the mean of both sides, so that a coefficient on a
kink, such as the template's, still gets a useful gradient.

Source: Brégier et al., "Human Mesh Modeling for Anny Body", arXiv 2511.03589, and `anny.models.phenotype`.
"""

from __future__ import annotations

from functools import cache
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
"""Values of each phenotype at which heads are sculpted."""
ANCESTRIES = ("african", "asian", "caucasian")
"""Relative weights; `phenotype_weights` normalises them to sum to 1."""
PHENOTYPES = (*ANCHORS, *ANCESTRIES)
TEMPLATE = dict.fromkeys(PHENOTYPES, 0.5) | {"age": 2 / 3}
"""Phenotypes of the template: a young adult, average in all else."""
INFANTS = 2
"""The youngest ages, which have no sculpted proportions."""


def phenotype_labels() -> list[str]:
    """Return Anny's labels of the sculpted heads, in the order of `phenotype_weights`.

    Example:
        >>> labels = phenotype_labels()
        >>> len(labels), labels[0]
        (408, 'universal:male-newborn-minmuscle-minweight')
    """
    gender, age, muscle, weight, height, proportions = (list(anchors) for anchors in ANCHORS.values())
    blocks = {
        "universal": (gender, age, muscle, weight),
        "race": (list(ANCESTRIES), gender, age),
        "height": (gender, age, muscle, weight, height),
        "proportions": (gender, age[INFANTS:], muscle, weight, proportions),
    }
    return [f"{block}:{'-'.join(keys)}" for block, lists in blocks.items() for keys in product(*lists)]


def hats(values: Float[Tensor, "B A"]) -> list[Float[Tensor, "B _"]]:
    """Return the interpolation weights of the anchors of each phenotype in `ANCHORS`, in its order.

    Args:
        values: the phenotypes of `ANCHORS`, in its order.

    Example:
        >>> adult = torch.tensor([[0.0, 5 / 6, 0.5, 0.5, 0.5, 0.5]], dtype=torch.float64)
        >>> (100 * hats(adult)[1]).round().tolist()  # newborn, baby, child, young, old
        [[0.0, 0.0, 0.0, 50.0, 50.0]]
    """
    sizes = [len(a) - 1 for a in ANCHORS.values()]
    owner, start, width, is_first, is_last = _pieces(values.device, values.dtype)
    t = (values[:, owner] - start) / width
    # t + below - above is t clamped to [0, 1], but with the mean of both sides as derivative at the ends;
    # the first piece has no clamp at 0 and the last none at 1, so that they extrapolate
    below = torch.where(is_first, 0.0, (t.abs() - t) / 2)
    above = torch.where(is_last, 0.0, ((t - 1).abs() + t - 1) / 2)
    rises = (t + below - above).split(sizes, dim=1)
    one = torch.ones_like(values[:, :1])
    return [torch.cat([one, rise], dim=1) - torch.cat([rise, 0 * one], dim=1) for rise in rises]


@cache
@torch.inference_mode(False)
def _pieces(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return, of each piece between two anchors, its phenotype, start, width, and whether it is the first or last one.

    They are copied to a device once: each copy would wait for the GPU.
    """
    anchors = [torch.tensor(list(a.values()), dtype=dtype) for a in ANCHORS.values()]
    owner = torch.tensor([k for k, a in enumerate(anchors) for _ in a[1:]])
    start, width = torch.cat([a[:-1] for a in anchors]), torch.cat([a.diff() for a in anchors])
    is_first = torch.cat([torch.arange(len(a) - 1) == 0 for a in anchors])
    is_last = torch.cat([torch.arange(len(a) - 1) == len(a) - 2 for a in anchors])
    return owner.to(device), start.to(device), width.to(device), is_first.to(device), is_last.to(device)


def _outer(left: Tensor, right: Tensor) -> Tensor:
    """Return the outer product, row by row: (B, *L) and (B, R) to (B, *L, R)."""
    return left[..., None] * right.reshape(right.shape[0], *[1] * (left.ndim - 1), right.shape[1])


def phenotype_weights(phenotypes: Float[Tensor, "B P"]) -> Float[Tensor, "B K"]:
    """Return the weight of each sculpted head, in the order of `phenotype_labels`.

    Args:
        phenotypes: in the order of `PHENOTYPES`.

    Example:
        >>> template = torch.tensor([[TEMPLATE[name] for name in PHENOTYPES]])
        >>> weights = dict(zip(phenotype_labels(), phenotype_weights(template)[0].tolist()))
        >>> round(weights["universal:male-young-averagemuscle-averageweight"], 3)
        0.5
    """
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
    """Return the weights of the sculpted heads, then the local changes: the input of `coefficients`.

    No bit of a row depends on the other rows.

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
    """Return the coefficients of the baked basis: [projected phenotypes, local changes, |some local changes|].

    Args:
        weights: as `blend_weights` returns them.
        projection: from phenotype weights to the compact basis.
        origin: phenotype weights of the template.
        even: indices of the local changes whose two directions are not opposites of each other.

    Example:
        >>> weights, projection = torch.tensor([[1.0, 3.0, -0.5]]), torch.eye(2)
        >>> coefficients(weights, projection, origin=torch.ones(2), even=torch.tensor([0])).tolist()
        [[0.0, 2.0, -0.5, 0.5]]
    """
    phenotype = (weights[:, : len(origin)] - origin) @ projection
    local = weights[:, len(origin) :]
    return torch.cat([phenotype, local, local[:, even].abs()], dim=1)
