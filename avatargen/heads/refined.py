"""Give a head model four times the faces: every triangle split in four, by one more step of subdivision.

What the finer head takes from the coarser one is its proxy mesh and the points of its offsets: a method on it moves,
evaluates and finishes four times as many vertices and faces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.geometry.sparse import SparseMap
from avatargen.geometry.types import HeadTopology
from avatargen.heads.base import HeadModel
from avatargen.heads.flame.mesh import split

Rule = Callable[[np.ndarray, int], tuple[sp.csr_matrix, np.ndarray]]
"""A step of subdivision with the arguments, numbering and order of `split`."""


@dataclass(frozen=True)
class FineOffsets(HeadModel):
    """A head whose offsets are given at all vertices of the coarser head; mixed into a head model that has a proxy.

    Attributes:
        points: the coarser head's template vertices, metres.
        spread: the (N, P) matrix from these points to the head's vertices.
        proxy_faces: of the head model.
    """

    points: Float[Tensor, "P 3"] = field(repr=False)
    spread: SparseMap = field(repr=False)
    proxy_faces: Int[Tensor, "G 3"] = field(repr=False)

    def to(self, device: torch.device | str) -> Any:
        """Return the same model on another device, see the base class."""
        moved: Any = super().to(device)
        return replace(moved, points=self.points.to(device), spread=self.spread.to(device))

    def proxy(self) -> Any:
        """Return the proxy mesh, see the base class."""
        proxy: Any = super().proxy()
        return replace(proxy, spread=self.spread.chosen(self.proxy_faces.unique()))

    def offset_points(self) -> Float[Tensor, "P 3"]:
        """Return the coarser head's template vertices, metres."""
        return self.points

    def interpolate_offsets(self, offsets: Float[Tensor, "B P 3"]) -> Float[Tensor, "B N 3"]:
        """Subdivide the offsets as the surface is subdivided."""
        batch = len(offsets)
        rows = offsets.permute(1, 0, 2).reshape(-1, 3 * batch)
        return (self.spread @ rows).view(-1, batch, 3).transpose(0, 1)


def refined_fields(head: Any, rule: Rule) -> dict[str, Any]:
    """Return the fields of a `FineOffsets` head with four times the faces.

    Args:
        head: a head model that subdivides a coarser mesh by ``bases.operator``, with a proxy mesh.
        rule: moves and adds vertices.
    """
    topology, bases = head.topology, head.bases
    step, faces = rule(topology.faces.numpy(), len(next(iter(topology.regions.values()))))
    plain, face_uvs = split(topology.face_uvs.numpy(), len(topology.uvs))
    whole = sp.block_diag([step, sp.identity(len(head.joint_names))]) @ _matrix(bases.operator)
    soft = getattr(head, "region_weights", None)
    regions = {name: _times(step, mask.float()) > 0.5 for name, mask in topology.regions.items()}
    fields = {name: getattr(head, name) for name in head.__dataclass_fields__}
    return {
        **fields,
        "id": f"{head.id}-fine",
        "topology": HeadTopology(
            torch.from_numpy(faces), _times(plain, topology.uvs), torch.from_numpy(face_uvs), regions
        ),
        "bases": replace(bases, weights=_times(step, bases.weights.T).T.contiguous(), operator=_sparse(whole)),
        "proxy_faces": topology.faces,
        "proxy_face_uvs": topology.face_uvs,
        "points": head.canonical(head.shape_template[None])[0].contiguous(),
        "spread": _sparse(step),
        **({} if soft is None else {"region_weights": {name: _times(step, mask) for name, mask in soft.items()}}),
    }


def coarse_fields(head: Any) -> dict[str, Any]:
    """Return the fields of a head model that is another one's proxy mesh: a quarter of its faces."""
    proxy = head.proxy()
    return {name: getattr(proxy, name) for name in proxy.__dataclass_fields__} | {"id": f"{head.id}-coarse"}


def _times(matrix: sp.csr_matrix, values: Float[Tensor, "N *C"]) -> Float[Tensor, "M *C"]:
    return torch.from_numpy(matrix @ values.double().numpy()).float()


def _matrix(operator: SparseMap) -> sp.csr_matrix:
    """Return a sparse map as a matrix of scipy's."""
    ends = np.append(operator.starts.numpy(), len(operator.values))
    shape = (len(operator.starts), len(operator.transposed[0]))
    return sp.csr_matrix((operator.values.double().numpy(), operator.columns.numpy(), ends), shape=shape)


def _sparse(matrix: sp.spmatrix) -> SparseMap:
    """Return a matrix of scipy's as a sparse map."""
    matrix = sp.coo_matrix(matrix)
    height, width = matrix.shape or (0, 0)
    rows, columns = (torch.from_numpy(index).long() for index in (matrix.row, matrix.col))
    return SparseMap.of(rows, columns, torch.from_numpy(matrix.data).float(), (height, width))
