"""The FLAME head model.

Shape        300 components, in standard deviations, within ±BOUND.
Expression   100 components, in standard deviations, within ±BOUND.
Joints       neck, jaw, eye_left, eye_right. We leave out FLAME's root, a rotation of the whole head, because cameras
             move instead; vertices bound to the root stay at rest.
Mesh         without the vertices of FLAME's mask ``boundary``, every triangle split in four: 16,000 to 20,000
             vertices, which that mask decides (see `mesh`); the paper has 16,227.
Offsets      at FLAME's own vertices, a quarter of all; linear between them, as the surface is.
Proxy mesh   FLAME's own triangles, a quarter of all. At rest it is the same surface.
Actions      ARKit's jaw and gaze as rotations; its other names with a file of coefficients (see `arkit`).
Origin       the centre of the template's bounding box; axes are FLAME's own: y up, the face along +z.

Source: Li et al., "Learning a model of facial shape and expression from 4D scans", 2017.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from avatargen.geometry.sparse import SparseMap
from avatargen.geometry.types import HeadParameters, HeadTopology
from avatargen.heads.base import FacialAction, HeadModel, Rig
from avatargen.heads.flame.arkit import Pose, read_actions, rotations
from avatargen.heads.flame.files import find_flame
from avatargen.heads.flame.mesh import FlameMesh, build_mesh
from avatargen.heads.flame.reading import EXPRESSION, IDENTITY, PARENTS, FlameSource, read_flame
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
    """The FLAME head; see the module and `HeadModel`. Make one with `FlameHead.load`.

    Attributes:
        poses: facial actions by their ARKit names.
        proxy_faces: vertex indices of the proxy mesh's faces, among all vertices of this head.
        proxy_face_uvs: indices into this head's texture coordinates for the corners of these faces.
    """

    id: str
    topology: HeadTopology
    shape_names: tuple[str, ...]
    expression_names: tuple[str, ...]
    joint_names: tuple[str, ...]
    shape_bounds: Float[Tensor, "2 S"]
    expression_bounds: Float[Tensor, "2 E"]
    shape_template: Float[Tensor, " S"]
    bases: FlameBases = field(repr=False)
    poses: dict[str, FacialAction] = field(repr=False)
    proxy_faces: Int[Tensor, "G 3"] = field(repr=False)
    proxy_face_uvs: Int[Tensor, "G 3"] = field(repr=False)

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
        poses = rotations(EXPRESSION) | (read_actions(files.actions, EXPRESSION) if files.actions else {})
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
            poses={name: _action(pose) for name, pose in poses.items()},
            proxy_faces=torch.from_numpy(mesh.coarse.faces),
            proxy_face_uvs=torch.from_numpy(mesh.coarse.face_uvs),
        )

    def to(self, device: torch.device | str) -> FlameHead:
        names = ("topology", "shape_bounds", "expression_bounds", "shape_template", "bases")
        names += ("proxy_faces", "proxy_face_uvs")
        poses = {
            name: FacialAction(pose.expression.to(device), pose.joints.to(device)) for name, pose in self.poses.items()
        }
        return replace(self, poses=poses, **{name: getattr(self, name).to(device) for name in names})

    def proxy(self) -> FlameHead:
        """Return the proxy mesh, see the base class: FLAME's own triangles on its own vertices, which come first."""
        vertices, coordinates = (int(index.max()) + 1 for index in (self.proxy_faces, self.proxy_face_uvs))
        fine = len(self.topology.regions["skin"])
        kept = torch.arange(vertices, device=self.proxy_faces.device)
        pivots = fine + torch.arange(len(JOINTS), device=kept.device)
        regions = {name: mask[:vertices] for name, mask in self.topology.regions.items()}
        uvs = self.topology.uvs[:coordinates]
        operator = self.bases.operator.chosen(torch.cat([kept, pivots]))
        return replace(
            self,
            topology=HeadTopology(self.proxy_faces, uvs, self.proxy_face_uvs, regions),
            bases=replace(self.bases, weights=self.bases.weights[:, :vertices].contiguous(), operator=operator),
        )

    def canonical(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B N 3"]:
        return self._fine(shape)[0].transpose(1, 2)

    def vertices(self, parameters: HeadParameters) -> Float[Tensor, "B N 3"]:
        bends = _bends(parameters.joints)
        rest, pivots = self._fine(torch.cat([parameters.shape, parameters.expression, bends], dim=1))
        motions = joint_motions(parameters.joints, pivots.transpose(1, 2), PARENTS_OF_JOINTS)
        posed = skin(rest + parameters.offsets.transpose(1, 2), motions, self.bases.weights)
        return posed.transpose(1, 2).contiguous()

    def offset_points(self) -> Float[Tensor, "P 3"]:
        """Return the template's vertices before subdivision, metres."""
        return self.bases.template[:, : -len(JOINTS)].t().contiguous()

    def interpolate_offsets(self, offsets: Float[Tensor, "B P 3"]) -> Float[Tensor, "B N 3"]:
        """Subdivide the offsets as the surface is subdivided, so that the proxy mesh stays the same surface."""
        batch, joints = len(offsets), len(JOINTS)
        rows = F.pad(offsets.permute(1, 0, 2).reshape(-1, 3 * batch), (0, 0, 0, joints))
        return (self.bases.operator @ rows)[:-joints].view(-1, batch, 3).transpose(0, 1)

    def actions(self) -> dict[str, FacialAction]:
        return self.poses

    def correctives(self, joints: Float[Tensor, "B J 3"]) -> Float[Tensor, "B N 3"]:
        """Return FLAME's pose correctives, see the base class."""
        identity = self.shape_template.new_zeros(len(joints), IDENTITY + EXPRESSION)
        posed, rest = (
            self._fine(torch.cat([identity, bends], dim=1))[0] for bends in (_bends(joints), _bends(0 * joints))
        )
        return (posed - rest).transpose(1, 2)

    def rig(self, shape: Float[Tensor, " S"]) -> Rig:
        """Return the rig, see the base class; `correctives` has what it does not include."""
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


def _bends(joints: Float[Tensor, "B J 3"]) -> Float[Tensor, "B K"]:
    """Return the coefficients of the pose correctives, the entries of R - I (FLAME's eq. 3)."""
    turns = rotation_matrices(joints)
    return (turns - torch.eye(3, device=turns.device)).flatten(1)


def _action(pose: Pose) -> FacialAction:
    """Return a facial action as tensors."""
    return FacialAction(_float(pose.expression), _float(pose.joints))


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
    coarse = np.concatenate([source.shapes, source.correctives], axis=2)[mesh.coarse.kept]
    still = np.zeros((len(JOINTS), *source.correctives.shape[1:]))
    basis = np.concatenate([coarse, np.concatenate([pivots, still], axis=2)])
    fine = mesh.operator @ source.template[mesh.coarse.kept]
    centre = (fine.max(axis=0) + fine.min(axis=0)) / 2
    template = np.concatenate([source.template[mesh.coarse.kept], regressor @ source.template]) - centre
    return FlameBases(
        template=_float(template.T),
        basis=_float(basis.transpose(2, 1, 0)),
        weights=_float((mesh.operator @ source.weights[mesh.coarse.kept, 1:]).T),
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
