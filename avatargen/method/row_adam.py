"""Adam with one second moment for each avatar and tensor, for the geometry.

Plain Adam takes steps of one size in every coefficient, however little the images constrain it: a hundred shape
coefficients that no silhouette shows random-walk as fast as age and weight move. Here the second moment is shared over
an avatar's whole tensor (as over blocks in Adam-mini, arXiv 2406.16793): steps keep the gradient's direction, and do
not depend on its scale.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class RowAdam(torch.optim.Optimizer):
    """Adam (arXiv 1412.6980, algorithm 1) with the second moment averaged over a row; a row is one avatar's tensor.

    Args:
        groups: parameters (B, ...), or groups of them with their `lr`.
        lr: largest root mean square of a row's step.
        betas: decay rates of the first and second moment.
        eps: added to the root of the second moment.

    Example:
        >>> value = torch.zeros(1, 4, requires_grad=True)
        >>> value.grad = torch.tensor([[3.0, 0.0, 0.0, 4.0]])  # root mean square 2.5
        >>> RowAdam([value], lr=0.5).step()
        >>> value.detach().mul(10).round().tolist()
        [[-6.0, 0.0, 0.0, -8.0]]
    """

    def __init__(
        self,
        groups: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
    ):
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None  # see `step`
        mean = gradient.square().mean(dim=tuple(range(1, parameter.dim())), keepdim=True)
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(mean)
        state["step"] += 1
        first, second = group["betas"]
        state["exp_avg"].lerp_(gradient, 1 - first)
        state["exp_avg_sq"].lerp_(mean, 1 - second)
        count = float(state["step"])
        size = (state["exp_avg_sq"] / (1 - second**count)).sqrt() + group["eps"]
        parameter.sub_(group["lr"] * (state["exp_avg"] / (1 - first**count)) / size)
