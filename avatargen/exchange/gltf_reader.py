"""Read the triangles of a GLB as a viewer shows them at rest: morph targets at their weights, skins in their pose.

Source: the glTF 2.0 specification, sections 3.5 (scenes and nodes) and 3.7 (meshes, morph targets, skins). Python's
readers of glTF (trimesh, pygltflib) hand out accessors and leave morph targets and skins to the caller, so this is our
own. Animations stand still.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from avatargen.exchange.gltf_accessors import Accessors
from avatargen.exchange.gltf_document import read_gltf
from avatargen.exchange.gltf_schema import FAN, STRIP, GltfMaterial, Node, Primitive, Skin


@dataclass(frozen=True)
class Surface:
    """The triangles of a primitive, in the coordinates of the scene.

    Attributes:
        corners: positions of their corners; front faces are wound counter-clockwise.
        attributes: texture coordinates and colours of the corners, by their names in glTF.
        material: None for glTF's default.
    """

    corners: Float[np.ndarray, "F 3 3"]
    attributes: dict[str, Float[np.ndarray, "F 3 _"]]
    material: GltfMaterial | None


class GltfReader:
    """Reads the scene of a GLB that viewers show first.

    Args:
        path: of the file.

    Attributes:
        document: its JSON.
        accessors: its arrays and images.

    Raises:
        ValueError: the container, the JSON or its indices are wrong.
    """

    def __init__(self, path: Path):
        self.document = read_gltf(path)
        self.accessors = Accessors(path, self.document)

    def surfaces(self) -> Iterator[Surface]:
        """Yield the primitives of the scene that have triangles.

        Raises:
            ValueError: a primitive is no surface, or its arrays do not fit together.
        """
        for number in self.document.shown():
            node = self.document.nodes[number]
            if node.mesh is not None:
                mesh = self.document.meshes[node.mesh]
                for place, primitive in enumerate(mesh.primitives):
                    try:
                        yield self._surface(number, primitive, node.weights or mesh.weights)
                    except (ValueError, IndexError, TypeError) as error:
                        raise ValueError(f"meshes.{node.mesh}.primitives.{place}: {error}") from error

    def _surface(self, number: int, primitive: Primitive, weights: list[float]) -> Surface:
        """Return the triangles of a primitive of a node."""
        node = self.document.nodes[number]
        names = [name for name in primitive.attributes if name.startswith(("TEXCOORD_", "COLOR_"))]
        values = {name: self._morphed(primitive, name, weights) for name in ("POSITION", *names)}
        points = values.pop("POSITION")
        if node.skin is not None and "JOINTS_0" in primitive.attributes:
            matrices = self._joint_matrices(self.document.skins[node.skin])
            points = skinned(points, *self._influences(primitive), matrices)
        else:
            matrices = self.globals[number][None]
            points = points @ matrices[0, :3, :3].T + matrices[0, :3, 3]
        faces = self._faces(primitive, len(points))
        if np.linalg.det(matrices[:, :3, :3]).sum() < 0:  # a mirrored mesh is wound the other way
            faces = faces[:, ::-1]
        if not all(np.isfinite(rows).all() for rows in (points, *values.values())):
            raise ValueError("got NaN or infinite coordinates or colours; expected finite numbers")
        material = None if primitive.material is None else self.document.materials[primitive.material]
        return Surface(points[faces], {name: rows[faces] for name, rows in values.items()}, material)

    def _morphed(self, primitive: Primitive, name: str, weights: list[float]) -> Float[np.ndarray, "N K"]:
        """Return an attribute with its morph targets."""
        rows = self.accessors.floats(primitive.attributes[name])
        for target, weight in zip(primitive.targets, weights, strict=False):
            if weight and name in target:
                rows = rows + weight * self.accessors.floats(target[name])
        return rows

    def _faces(self, primitive: Primitive, count: int) -> Int[np.ndarray, "F 3"]:
        """Return the triangles of a primitive, as indices of its vertices."""
        stored = primitive.indices
        order = np.arange(count) if stored is None else self.accessors.stored(stored)[:, 0].astype(np.int64)
        if order.max(initial=-1) >= count:
            raise ValueError(f"indices: got {order.max()}; expected an index of {count} vertices")
        return triangles(order, primitive.mode)

    def _influences(self, primitive: Primitive) -> tuple[Int[np.ndarray, "N J"], Float[np.ndarray, "N J"]]:
        """Return the joints of each vertex and their weights."""
        sets = sorted(name for name in primitive.attributes if name.startswith("JOINTS_"))
        joints = [self.accessors.stored(primitive.attributes[name]).astype(np.int64) for name in sets]
        names = [name.replace("JOINTS", "WEIGHTS") for name in sets]
        if missing := [name for name in names if name not in primitive.attributes]:
            raise ValueError(f"attributes: got joints without {missing[0]}; expected both")
        return np.hstack(joints), np.hstack([self.accessors.floats(primitive.attributes[name]) for name in names])

    def _joint_matrices(self, skin: Skin) -> Float[np.ndarray, "J 4 4"]:
        """Return what moves vertices along with each joint: its place in the scene after its inverse bind matrix."""
        places = self.globals[skin.joints]
        if skin.inverseBindMatrices is None:
            return places
        inverse = self.accessors.floats(skin.inverseBindMatrices).reshape(-1, 4, 4).swapaxes(1, 2)
        return places @ inverse[: len(places)]

    @cached_property
    def globals(self) -> Float[np.ndarray, "N 4 4"]:
        """Return where each node lies in the scene."""
        nodes = self.document.nodes
        parents = {child: number for number, node in enumerate(nodes) for child in node.children}
        found: dict[int, np.ndarray] = {}
        for number in range(len(nodes)):
            chain = [number]
            while chain[-1] in parents and chain[-1] not in found:
                chain.append(parents[chain[-1]])
            for one in reversed(chain):
                if one not in found:
                    own = local_matrix(nodes[one])
                    found[one] = found[parents[one]] @ own if one in parents else own
        return np.stack([found[number] for number in range(len(nodes))])


def local_matrix(node: Node) -> Float[np.ndarray, "4 4"]:
    """Return the matrix of a node relative to its parent: translation after rotation after scale.

    Example:
        >>> local_matrix(Node(translation=[1.0, 2.0, 3.0], scale=[2.0, 2.0, 2.0]))[0].tolist()
        [2.0, 0.0, 0.0, 1.0]
    """
    if node.matrix is not None:
        return np.array(node.matrix, np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.rotation) / max(np.linalg.norm(node.rotation), 1e-12)
    turn = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(turn) * node.scale
    matrix[:3, 3] = node.translation
    return matrix


def skinned(
    points: Float[np.ndarray, "N 3"],
    joints: Int[np.ndarray, "N K"],
    weights: Float[np.ndarray, "N K"],
    matrices: Float[np.ndarray, "J 4 4"],
) -> Float[np.ndarray, "N 3"]:
    """Return points moved by their joints; weights are scaled to sum to 1, as viewers do.

    Args:
        points: at rest.
        joints: of each point, as indices of `matrices`.
        weights: of these joints.
        matrices: of all joints.

    Example:
        >>> move = np.stack([np.eye(4), np.eye(4)])
        >>> move[1, 0, 3] = 1.0
        >>> skinned(np.zeros((1, 3)), np.array([[0, 1]]), np.array([[0.5, 1.5]]), move).tolist()
        [[0.75, 0.0, 0.0]]
    """
    if joints.max(initial=0) >= len(matrices):
        raise ValueError(f"JOINTS: got {joints.max()}; expected a joint of {len(matrices)}")
    total = weights.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, weights / np.where(total > 0, total, 1), np.eye(1, weights.shape[1]))
    whole = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    moved = np.zeros((len(points), 3))
    for k in range(joints.shape[1]):
        moved += shares[:, k, None] * np.einsum("nij,nj->ni", matrices[joints[:, k], :3], whole)
    return moved


def triangles(order: Int[np.ndarray, " N"], mode: int) -> Int[np.ndarray, "F 3"]:
    """Return the triangles of a list, a strip or a fan of vertices (glTF 2.0, section 3.7.2.1).

    Args:
        order: of the vertices.
        mode: of the primitive.

    Raises:
        ValueError: points or lines.

    Example:
        >>> triangles(np.arange(5), STRIP).tolist()
        [[0, 1, 2], [1, 3, 2], [2, 3, 4]]
        >>> triangles(np.arange(4), FAN).tolist()
        [[1, 2, 0], [2, 3, 0]]
    """
    if mode < 4:
        raise ValueError(f"mode: got {mode}, points or lines; expected triangles")
    if mode == STRIP:
        first = np.arange(max(len(order) - 2, 0))
        odd = first % 2
        return order[np.stack([first, first + 1 + odd, first + 2 - odd], axis=1)]
    if mode == FAN:
        first = np.arange(1, max(len(order) - 1, 1))
        return order[np.stack([first, first + 1, np.zeros_like(first)], axis=1)]
    return order[: len(order) // 3 * 3].reshape(-1, 3)
