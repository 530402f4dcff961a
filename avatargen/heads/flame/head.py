"""The FLAME head model.

Shape        300 components, in standard deviations, within ±BOUND.
Expression   100 components, in standard deviations, within ±BOUND.
Joints       neck, jaw, eye_left, eye_right. We leave out FLAME's root, a rotation of the whole head, because cameras
             move instead; vertices bound to the root stay at rest.
Mesh         without the lowest ring of the neck (FLAME's mask ``boundary``), every triangle split in four (see
             `build_mesh`): about 16,000 vertices, as in the paper.
Origin       the centre of the template's bounding box; axes are FLAME's own: y up, the face along +z.

Source: Li et al., "Learning a model of facial shape and expression from 4D scans", 2017.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.geometry.sparse import SparseMap
from avatargen.geometry.types import HeadParameters, HeadTopology
from avatargen.heads.base import HeadModel, Rig
from avatargen.heads.flame.files import EXPRESSION, IDENTITY, PARENTS, FlameSource, find_flame, read_flame
from avatargen.heads.flame.mesh import FlameMesh, build_mesh
from avatargen.heads.skinning import joint_motions, one_by_one, rotation_matrices, skin
from avatargen.io.code_hash import code_hash

JOINTS = ("neck", "jaw", "eye_left", "eye_right")
BOUND = 3.0
"""Bound of the coefficients, in standard deviations; 0.3% of a normal distribution lies beyond."""
PARENTS_OF_JOINTS = tuple(parent - 1 for parent in PARENTS)
"""Parents as indices into JOINTS; -1 stands for the root, which is not one of them."""


@dataclass(frozen=True)
class FlameBases:
    """Tensors that are not part of the interface.

    P counts the coarse vertices and, after them, the J pivots; N counts the fine vertices; coordinates come first.

    Attributes:
        template: coarse template and pivots, metres.
        basis: displacements by shape, by expression and by pose correctives, metres; correctives do not move pivots.
        weights: skinning weight of each joint on each fine vertex.
        operator: the (N + J, P) subdivision; pivots pass through unchanged.
    """

    template: Float[Tensor, "3 P"]
    basis: Float[Tensor, "C 3 P"]
    weights: Float[Tensor, "J N"]
    operator: SparseMap

    def to(self, target: torch.device | str) -> FlameBases:
        """Return the same tensors on another device."""
        return FlameBases(**{name: value.to(target) for name, value in vars(self).items()})


@dataclass(frozen=True)
class FlameHead(HeadModel):
    """The FLAME head; see the module and `HeadModel`. Make one with `FlameHead.load`."""

    id: str
    topology: HeadTopology
    shape_names: tuple[str, ...]
    expression_names: tuple[str, ...]
    joint_names: tuple[str, ...]
    shape_bounds: Float[Tensor, "2 S"]
    expression_bounds: Float[Tensor, "2 E"]
    shape_template: Float[Tensor, " S"]
    bases: FlameBases = field(repr=False)

    @classmethod
    def load(cls, place: Path | None = None) -> FlameHead:
        """Read FLAME from the user's files.

        Args:
            place: the folder, or the model's file in it; by default see `find_flame`.

        Raises:
            InputError: files are missing, or are not FLAME's.
        """
        files = find_flame(place)
        source = read_flame(files)
        mesh = build_mesh(source)
        return cls(
            id=f"flame-{files.hash()}-{code_hash([__name__])[:12]}",
            topology=_topology(mesh),
            shape_names=_names("shape", IDENTITY),
            expression_names=_names("expression", EXPRESSION),
            joint_names=JOINTS,
            shape_bounds=_bounds(IDENTITY),
            expression_bounds=_bounds(EXPRESSION),
            shape_template=torch.zeros(IDENTITY),
            bases=_bases(source, mesh),
        )

    def to(self, device: torch.device | str) -> FlameHead:
        names = ("topology", "shape_bounds", "expression_bounds", "shape_template", "bases")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def canonical(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B N 3"]:
        return self._fine(shape)[0].transpose(1, 2)

    def vertices(self, parameters: HeadParameters) -> Float[Tensor, "B N 3"]:
        turns = rotation_matrices(parameters.joints)
        bends = (turns - torch.eye(3, device=turns.device)).flatten(1)  # pose correctives, FLAME's eq. 3
        rest, pivots = self._fine(torch.cat([parameters.shape, parameters.expression, bends], dim=1))
        motions = joint_motions(parameters.joints, pivots.transpose(1, 2), PARENTS_OF_JOINTS)
        posed = skin(rest + parameters.offsets.transpose(1, 2), motions, self.bases.weights)
        return posed.transpose(1, 2).contiguous()

    def rig(self, shape: Float[Tensor, " S"]) -> Rig:
        """Return the rig, see the base class; it does not include FLAME's pose correctives."""
        return Rig(PARENTS_OF_JOINTS, self._fine(shape[None])[1][0].T, self.bases.weights)

    def _fine(self, coefficients: Float[Tensor, "B D"]) -> tuple[Float[Tensor, "B 3 N"], Float[Tensor, "B 3 J"]]:
        """Return the vertices after subdivision, and the pivots.

        Args:
            coefficients: of the first D rows of the basis.
        """
        template, basis = self.bases.template.flatten(), self.bases.basis.flatten(1)[: coefficients.shape[1]]
        moved = one_by_one(lambda row: torch.addmm(template, row, basis), coefficients)
        fine = (self.bases.operator @ moved.view(3 * len(coefficients), -1).t()).t().contiguous()
        fine = fine.view(len(coefficients), 3, -1)
        return fine[..., : -len(JOINTS)], fine[..., -len(JOINTS) :]


def _topology(mesh: FlameMesh) -> HeadTopology:
    """Return the mesh's faces, texture layout and regions as tensors."""
    return HeadTopology(
        faces=torch.from_numpy(mesh.faces),
        uvs=_float(mesh.uvs),
        face_uvs=torch.from_numpy(mesh.face_uvs),
        regions={name: torch.from_numpy(mask) for name, mask in mesh.regions.items()},
    )


def _bases(source: FlameSource, mesh: FlameMesh) -> FlameBases:
    """Return the tensors of the trimmed and refined mesh, centred on the template's bounding box."""
    regressor = source.regressor[1:]
    pivots = np.einsum("jv,vck->jck", regressor, source.shapes)
    coarse = np.concatenate([source.shapes, source.correctives], axis=2)[mesh.kept]
    still = np.zeros((len(JOINTS), *source.correctives.shape[1:]))
    basis = np.concatenate([coarse, np.concatenate([pivots, still], axis=2)])
    fine = mesh.operator @ source.template[mesh.kept]
    centre = (fine.max(axis=0) + fine.min(axis=0)) / 2
    template = np.concatenate([source.template[mesh.kept], regressor @ source.template]) - centre
    return FlameBases(
        template=_float(template.T),
        basis=_float(basis.transpose(2, 1, 0)),
        weights=_float((mesh.operator @ source.weights[mesh.kept, 1:]).T),
        operator=_sparse(sp.coo_matrix(sp.block_diag([mesh.operator, sp.identity(len(JOINTS))]))),
    )


def _float(array: np.ndarray) -> Tensor:
    """Return a contiguous tensor of 32-bit floats."""
    return torch.from_numpy(np.ascontiguousarray(array)).float()


def _sparse(matrix: sp.coo_matrix) -> SparseMap:
    """Return the map of a matrix that has no empty row or column."""

    def parts(rows: sp.csr_matrix) -> tuple[Tensor, Tensor, Tensor]:
        rows.sort_indices()
        return torch.from_numpy(rows.indptr[:-1]).long(), torch.from_numpy(rows.indices).long(), _float(rows.data)

    starts, columns, values = parts(sp.csr_matrix(matrix))
    return SparseMap(starts, columns, values, parts(sp.csr_matrix(matrix.T)))


def _names(kind: str, count: int) -> tuple[str, ...]:
    """Return ``shape001`` and so on, strongest component first."""
    return tuple(f"{kind}{k:03d}" for k in range(1, count + 1))


def _bounds(count: int) -> Float[Tensor, "2 K"]:
    """Return the bounds of `count` coefficients."""
    return torch.tensor([[-BOUND], [BOUND]]).expand(2, count).clone()
