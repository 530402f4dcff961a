"""Per-vertex offsets as an MLP of canonical position, one for each avatar.

It is evaluated at the points that a head model names (`HeadModel.offset_points`), which spreads what they get over its
vertices: Anny's before and after subdivision. Forward and backward take a quarter of the time that they took at all
19,184 vertices. The last layer starts at zero, so an avatar starts at its head model; a tanh bounds each component.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

OCTAVES = 5
"""With three, a mohawk, a bun or horns became a tall head. With five, surfaces crumple unless they are kept smooth."""
HIDDEN = 48
Layers = dict[str, Tensor]


def encode_positions(positions: Float[Tensor, "N 3"]) -> Float[Tensor, "N D"]:
    """Fourier features (NeRF, arXiv 2003.08934, eq. 4) of positions, with the largest extent scaled to [-1, 1]."""
    scaled = positions / positions.abs().max()
    waves = [scaled * (2.0**k * torch.pi / 2) for k in range(OCTAVES)]
    return torch.cat([scaled, *(wave.sin() for wave in waves), *(wave.cos() for wave in waves)], dim=-1)


def initial_layers(features: int, seeds: list[int]) -> Layers:
    """Weights of each avatar's MLP, from its own seed; leading dimension B."""
    drawn = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        first = torch.randn(features, HIDDEN, generator=generator) * features**-0.5
        drawn.append((first, torch.randn(HIDDEN, HIDDEN, generator=generator) * HIDDEN**-0.5))
    batch = len(seeds)
    return {
        "mlp_w1": torch.stack([first for first, _ in drawn]),
        "mlp_b1": torch.zeros(batch, 1, HIDDEN),
        "mlp_w2": torch.stack([second for _, second in drawn]),
        "mlp_b2": torch.zeros(batch, 1, HIDDEN),
        "mlp_w3": torch.zeros(batch, HIDDEN, 3),
    }


def offsets(layers: Layers, features: Float[Tensor, "N D"], limit: float) -> Float[Tensor, "B N 3"]:
    """Offsets in canonical space, metres, each component within `limit`.

    One avatar after the other: a batch's hidden layers do not fit a CPU's cache, and take up to a quarter longer.
    """
    batch = len(layers["mlp_w1"])
    return (
        torch.cat([_offsets({name: value[b] for name, value in layers.items()}, features) for b in range(batch)])
        * limit
    )


def _offsets(layers: Layers, features: Float[Tensor, "N D"]) -> Float[Tensor, "1 N 3"]:
    """Of one avatar, each component in [-1, 1]."""
    hidden = torch.nn.functional.silu(features @ layers["mlp_w1"] + layers["mlp_b1"])
    hidden = torch.nn.functional.silu(hidden @ layers["mlp_w2"] + layers["mlp_b2"])
    out = (layers["mlp_w3"].t() @ hidden.t()).t()  # with three columns, products take two to four times as long
    return torch.tanh(out)[None]
