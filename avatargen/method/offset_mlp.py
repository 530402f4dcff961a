"""Per-vertex offsets as an MLP of canonical position, one MLP for each avatar.

The MLP is evaluated at `HeadModel.offset_points`; the head model interpolates the result to its vertices. For Anny the
points are its vertices before subdivision: forward and backward take a quarter of their time at all 19,184 vertices.
The last layer starts at zero, so that an avatar starts as its head model; a tanh bounds each component.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

OCTAVES = 5
"""With 3, a mohawk, a bun or horns become a tall head. With 5, surfaces crumple unless a loss keeps them smooth."""
HIDDEN = 48
"""Width of both hidden layers."""
Layers = dict[str, Tensor]


def encode_positions(positions: Float[Tensor, "N 3"]) -> Float[Tensor, "N D"]:
    """Return Fourier features (NeRF, arXiv 2003.08934, eq. 4) of positions scaled to [-1, 1].

    The lowest octave is half that of NeRF, whose features of -1 and 1 are equal: both ends of a head would be.

    Args:
        positions: any unit; the largest absolute coordinate is scaled to 1.

    Returns:
        D = 3 (1 + 2 OCTAVES) features of each: scaled position, sines, cosines.

    Example:
        >>> encode_positions(torch.tensor([[0.5, 0.0, 0.0], [-0.25, 0.0, 0.0]])).shape
        torch.Size([2, 33])
    """
    scaled = positions / positions.abs().max()
    waves = [scaled * (2.0**k * torch.pi / 2) for k in range(OCTAVES)]
    return torch.cat([scaled, *(wave.sin() for wave in waves), *(wave.cos() for wave in waves)], dim=-1)


def initial_layers(features: int, keys: list[int]) -> Layers:
    """Draw the weights of each avatar's MLP from the avatar's own key.

    Args:
        features: size D of the encoded positions.
        keys: of each avatar's random numbers.

    Returns:
        weights `mlp_w1`, `mlp_w2`, `mlp_w3` and biases `mlp_b1`, `mlp_b2`, with leading dimension B.

    Example:
        >>> {name: tuple(value.shape) for name, value in initial_layers(33, keys=[0, 1]).items()}["mlp_w1"]
        (2, 33, 48)
    """
    drawn = []
    for key in keys:
        generator = torch.Generator().manual_seed(key)
        first = torch.randn(features, HIDDEN, generator=generator) * features**-0.5
        drawn.append((first, torch.randn(HIDDEN, HIDDEN, generator=generator) * HIDDEN**-0.5))
    batch = len(keys)
    return {
        "mlp_w1": torch.stack([first for first, _ in drawn]),
        "mlp_b1": torch.zeros(batch, 1, HIDDEN),
        "mlp_w2": torch.stack([second for _, second in drawn]),
        "mlp_b2": torch.zeros(batch, 1, HIDDEN),
        "mlp_w3": torch.zeros(batch, HIDDEN, 3),
    }


def offsets(layers: Layers, features: Float[Tensor, "N D"], limit: float) -> Float[Tensor, "B N 3"]:
    """Return offsets in canonical space, metres.

    On the CPU, avatars are evaluated one after the other: the hidden layers of a whole batch do not fit its cache, and
    take up to a quarter longer. On a GPU they are evaluated together, in as many kernels as one avatar takes.

    Args:
        layers: see `initial_layers`.
        features: encoded positions.
        limit: largest absolute value of a component, metres.

    Example:
        >>> features = encode_positions(torch.tensor([[0.5, 0.0, 0.0], [-0.25, 0.0, 0.0]]))
        >>> offsets(initial_layers(features.shape[1], keys=[0]), features, limit=0.06).abs().max().item()
        0.0
    """
    if layers["mlp_w1"].is_cuda:
        return _offsets(layers, features.expand(len(layers["mlp_w1"]), -1, -1)) * limit
    rows = zip(*(value.unbind() for value in layers.values()), strict=True)
    return torch.stack([_offsets(dict(zip(layers, row, strict=True)), features) for row in rows]) * limit


def _offsets(layers: Layers, features: Float[Tensor, "*batch N D"]) -> Float[Tensor, "*batch N 3"]:
    """Return offsets as fractions of the limit, in [-1, 1]."""
    hidden = torch.nn.functional.silu(features @ layers["mlp_w1"] + layers["mlp_b1"])
    hidden = torch.nn.functional.silu(hidden @ layers["mlp_w2"] + layers["mlp_b2"])
    out = (layers["mlp_w3"].mT @ hidden.mT).mT  # as features @ w3, it takes two to four times as long
    return torch.tanh(out)
