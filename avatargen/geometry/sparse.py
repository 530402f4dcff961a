"""Products with constant sparse matrices, with a cheap backward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Parts = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class SparseMap:
    """A constant sparse matrix in CSR form, kept with its transpose for the backward pass.

    Product and gradient of the mesh Laplacian take a third of the time that torch's CSR tensors take.

    Attributes:
        starts: index of each row's first entry, (N,).
        columns: column of each entry, (E,).
        values: value of each entry, (E,).
        transposed: the same three of the transpose.

    Example:
        >>> rows, columns = torch.tensor([0, 1, 1]), torch.tensor([1, 0, 1])
        >>> matrix = SparseMap.of(rows, columns, torch.tensor([2.0, 3.0, 4.0]), (2, 2))  # [[0, 2], [3, 4]]
        >>> (matrix @ torch.tensor([[1.0], [10.0]])).tolist()
        [[20.0], [43.0]]
    """

    starts: Tensor
    columns: Tensor
    values: Tensor
    transposed: Parts

    @classmethod
    def of(
        cls, rows: Int[Tensor, " E"], columns: Int[Tensor, " E"], values: Float[Tensor, " E"], shape: tuple[int, int]
    ) -> SparseMap:
        """Build a matrix from its entries, in any order.

        Args:
            rows: of the entries.
            columns: of the entries.
            values: of the entries.
            shape: rows and columns of the matrix.
        """
        return cls(*_parts(rows, columns, values, shape[0]), _parts(columns, rows, values, shape[1]))

    def chosen(self, rows: Int[Tensor, " R"]) -> SparseMap:
        """Return the matrix of some of the rows, in the given order."""
        ends = torch.cat([self.starts[1:], self.starts.new_tensor([len(self.values)])])
        counts = (ends - self.starts)[rows]
        first = (self.starts[rows] - counts.cumsum(0) + counts).repeat_interleave(counts)
        entries = first + torch.arange(len(first), device=rows.device)
        number = torch.arange(len(rows), device=rows.device).repeat_interleave(counts)
        shape = len(rows), len(self.transposed[0])
        return SparseMap.of(number, self.columns[entries], self.values[entries], shape)

    def to(self, target: torch.device | str | torch.dtype) -> SparseMap:
        """Return the matrix on another device, or with values of another dtype."""

        def move(starts: Tensor, columns: Tensor, values: Tensor) -> Parts:
            if isinstance(target, torch.dtype):
                return starts, columns, values.to(target)
            return starts.to(target), columns.to(target), values.to(target)

        return SparseMap(*move(self.starts, self.columns, self.values), move(*self.transposed))

    def __matmul__(self, dense: Float[Tensor, "M D"]) -> Float[Tensor, "N D"]:
        return _SparseProduct.apply(dense, (self.starts, self.columns, self.values), self.transposed)


class _SparseProduct(torch.autograd.Function):
    """Sparse product by `embedding_bag`, which is as fast as CSR tensors and, unlike them, no beta feature."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: Parts, transposed: Parts) -> Tensor:
        ctx.matrices = (transposed, matrix)
        starts, columns, values = matrix
        return F.embedding_bag(columns, dense.contiguous(), starts, mode="sum", per_sample_weights=values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _SparseProduct.apply(gradient, *ctx.matrices), None, None


def _parts(rows: Tensor, columns: Tensor, values: Tensor, count: int) -> Parts:
    """Return the CSR form of a matrix of `count` rows."""
    order = (rows * (int(columns.max()) + 1) + columns).argsort()
    starts = torch.searchsorted(rows[order].contiguous(), torch.arange(count, device=rows.device))
    return starts, columns[order].contiguous(), values[order].contiguous()
