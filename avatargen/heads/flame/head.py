"""The FLAME head (Li et al., "Learning a model of facial shape and expression from 4D scans", 2017), as in the paper.

Shape        300 components, in standard deviations, within +-BOUND.
Expression   100 components, likewise.
Joints       neck, jaw, eye_left, eye_right. FLAME's root, a turn of the whole head, is the cameras' affair; what is
             bound to it stays at rest.
Mesh         without the lowest ring of the neck (FLAME's mask ``boundary``), every triangle split in four
             (`flame_mesh`): some 16,000 vertices, as in the paper.
Origin       the centre of the template's bounding box; axes are FLAME's own: y up, the face along +z.
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
"""Standard deviations: 3 of 1,000 draws from a normal distribution lie beyond."""


@dataclass(frozen=True)
class FlameBases:
    """M coarse vertices followed by the pivots of J joints, coordinates first; N fine vertices.

    Attributes:
        template: metres.
        basis: displacements by shape, expression and the correctives of poses; these do not move pivots.
        weights: skinning weights.
        operator: (N + J, M + J), subdivision; the pivots pass through, last.
    """

    template: Float[Tensor, "3 P"]
    basis: Float[Tensor, "C 3 P"]
    weights: Float[Tensor, "J N"]
    operator: SparseMap

    def to(self, target: torch.device | str) -> FlameBases:
        """The same on another device."""
        return FlameBases(**{name: value.to(target) for name, value in vars(self).items()})


@dataclass(frozen=True)
class FlameHead(HeadModel):
    """See the module's text and `HeadModel`. Make one with `FlameHead.load`."""

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
            place: the folder, or the model's file in it; by default where `flame_files` says.

        Raises:
            InputError: files that are missing, or no FLAME.
        """
        files = find_flame(place)
        source = read_flame(files)
        mesh = build_mesh(source)
        identity = f"flame-{files.hash()}-{code_hash([__name__])[:12]}"
        topology = HeadTopology(
            torch.from_numpy(mesh.faces), _float(mesh.uvs), torch.from_numpy(mesh.face_uvs),
            {name: torch.from_numpy(mask) for name, mask in mesh.regions.items()},
        )  # fmt: skip
        return cls(
            id=identity, topology=topology, shape_names=_names("shape", IDENTITY),
            expression_names=_names("expression", EXPRESSION), joint_names=JOINTS,
            shape_bounds=_bounds(IDENTITY), expression_bounds=_bounds(EXPRESSION),
            shape_template=torch.zeros(IDENTITY), bases=_bases(source, mesh),
        )  # fmt: skip

    def to(self, device: torch.device | str) -> FlameHead:
        names = ("topology", "shape_bounds", "expression_bounds", "shape_template", "bases")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def canonical(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B N 3"]:
        return self._fine(shape)[0].transpose(1, 2)

    def vertices(self, parameters: HeadParameters) -> Float[Tensor, "B N 3"]:
        turns = rotation_matrices(parameters.joints)
        bends = (turns - torch.eye(3, device=turns.device)).flatten(1)  # FLAME's eq. 3: zero at rest
        rest, pivots = self._fine(torch.cat([parameters.shape, parameters.expression, bends], dim=1))
        motions = joint_motions(parameters.joints, pivots.transpose(1, 2), _OURS)
        posed = skin(rest + parameters.offsets.transpose(1, 2), motions, self.bases.weights)
        return posed.transpose(1, 2).contiguous()

    def rig(self, shape: Float[Tensor, " S"]) -> Rig:
        """See the base class; the correctives of FLAME's poses are no part of it."""
        return Rig(_OURS, self._fine(shape[None])[1][0].T, self.bases.weights)

    def _fine(self, coefficients: Float[Tensor, "B D"]) -> tuple[Float[Tensor, "B 3 N"], Float[Tensor, "B 3 J"]]:
        """Subdivided vertices and pivots, by the first D rows of the basis."""
        template, basis = self.bases.template.flatten(), self.bases.basis.flatten(1)[: coefficients.shape[1]]
        moved = one_by_one(lambda row: torch.addmm(template, row, basis), coefficients)
        fine = (self.bases.operator @ moved.view(3 * len(coefficients), -1).t()).t().contiguous()
        fine = fine.view(len(coefficients), 3, -1)
        return fine[..., : -len(JOINTS)], fine[..., -len(JOINTS) :]


_OURS = tuple(parent - 1 for parent in PARENTS)
"""Parents among JOINTS: the root is none of them."""


def _bases(source: FlameSource, mesh: FlameMesh) -> FlameBases:
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
        operator=_sparse(sp.block_diag([mesh.operator, sp.identity(len(JOINTS))])),
    )


def _float(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).float()


def _sparse(matrix: sp.spmatrix) -> SparseMap:
    """A matrix without empty rows or columns."""

    def parts(rows: sp.csr_matrix) -> tuple[Tensor, Tensor, Tensor]:
        rows.sort_indices()
        return torch.from_numpy(rows.indptr[:-1]).long(), torch.from_numpy(rows.indices).long(), _float(rows.data)

    return SparseMap(*parts(matrix.tocsr()), parts(matrix.T.tocsr()))


def _names(kind: str, count: int) -> tuple[str, ...]:
    """``shape001`` and so on, strongest first."""
    return tuple(f"{kind}{k:03d}" for k in range(1, count + 1))


def _bounds(count: int) -> Float[Tensor, "2 K"]:
    return torch.tensor([[-BOUND], [BOUND]]).expand(2, count).clone()
