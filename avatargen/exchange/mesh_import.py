"""Read a mesh of another system, and place it where our heads are.

A GLB is read by our own code, see :mod:`avatargen.exchange.gltf_reader` and :mod:`avatargen.exchange.gltf_colours`; OBJ
and PLY by trimesh. Their colours are shown unlit, as stored: the texture, else colours of vertices or faces (written
into a texture with one small chart for each triangle), else the material's colour, else the grey of all bare heads.
Several meshes of a scene become one, with their textures one below the other.

Of OBJ and PLY we do not read transparency, vertex colours on top of a texture, or, in a scene of several textures, the
repetition of a texture beyond its border.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from avatargen.config.other_systems import MeshSettings, face_height
from avatargen.exchange.gltf_colours import Painter, pixels_of
from avatargen.exchange.gltf_reader import GltfReader
from avatargen.exchange.mesh_files import Landmarks, parts_of
from avatargen.exchange.texture_charts import chart_weights, charts, to_linear, to_srgb
from avatargen.geometry.axes import axis_vector
from avatargen.geometry.types import HeadTopology
from avatargen.heads.base import HeadModel
from avatargen.heads.face_points import FacePoints
from avatargen.io.avatar_file import GREY

CELL = 2
"""Texels on each side of a triangle's chart; bilinear filtering makes colours linear over the triangle."""
TRANSLUCENT = 0.01
"""Largest share of a surface's area that may be shown wrongly, since triangles are shown whole or not at all."""
Part = tuple[Float[np.ndarray, "F 3 3"], Float[np.ndarray, "3 _ _"], Float[np.ndarray, "F 3 2"]]
"""Positions of the corners of triangles, their texture, and their texture coordinates."""
Painted = tuple[Float[np.ndarray, "3 _ _"], Float[np.ndarray, "_ 3 2"]]
"""A texture, RGB in [0, 1], and the texture coordinates of the corners of faces."""


@dataclass(frozen=True)
class Mesh:
    """A mesh with a texture.

    Attributes:
        vertices: metres; axes as in `avatargen.geometry.types`.
        topology: faces and texture coordinates; its one region, ``skin``, holds all vertices.
        texture: RGB, in [0, 1].
    """

    vertices: Float[Tensor, "N 3"]
    topology: HeadTopology
    texture: Float[Tensor, "3 H W"]


@dataclass(frozen=True)
class TemplateSize:
    """What meshes are made as large as, metres.

    Attributes:
        height: of the template's bounding box.
        eyes: the point between its pupils.
        face: how far that lies above its chin.
    """

    height: float
    eyes: tuple[float, float, float]
    face: float

    @classmethod
    def of(cls, head: HeadModel) -> TemplateSize:
        """Measure the template of a head model.

        Raises:
            ValueError: the head model has no eyes or no face, see `FacePoints.of`.
        """
        points, vertices = FacePoints.of(head), head.canonical(head.shape_template[None])
        (x, y, z), up = points.eyes(vertices)[0].tolist(), vertices[0, :, 1]
        return cls(float(up.max() - up.min()), (x, y, z), y - float(up[points.chin]))


def read_mesh(path: Path, meshes: MeshSettings, template: TemplateSize, landmarks: Landmarks | None = None) -> Mesh:
    """Read a mesh from a file.

    Args:
        path: of a .glb, .obj or .ply.
        meshes: axes of the file, and the scale if one is stated.
        template: what the mesh is made as large as.
        landmarks: of the mesh, in the file's coordinates, if its size comes from them.

    Raises:
        ValueError: the file is empty or unreadable, or its mesh has no triangles, no extent, or non-finite coordinates.
    """
    if not path.stat().st_size:
        raise ValueError(f"{path}: got an empty file, which stands for a failure of the other system")
    parts = _read_parts(path, meshes)
    if not parts:
        raise ValueError(f"{path}: got no triangles; expected a surface")
    corners = np.concatenate([part[0] for part in parts]).astype(np.float32)  # without noise of rounding
    texture, uvs = _stack_textures([(texture, uvs) for _, texture, uvs in parts])
    if not (np.isfinite(corners).all() and np.isfinite(uvs).all()):
        raise ValueError(f"{path}: got NaN or infinite coordinates; expected finite numbers")
    # merge vertices that seams have split, so that normals are smooth across seams
    points, index = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    if np.ptp(points, axis=0).max() == 0:
        raise ValueError(f"{path}: got a mesh without extent; expected a surface")
    topology = HeadTopology(
        faces=torch.from_numpy(index.reshape(-1, 3)),
        uvs=torch.from_numpy(uvs.reshape(-1, 2)).float(),
        face_uvs=torch.arange(index.size).view(-1, 3),
        regions={"skin": torch.ones(len(points), dtype=torch.bool)},
    )
    placed = place(points, meshes, template, landmarks)
    return Mesh(torch.from_numpy(placed).float(), topology, torch.from_numpy(texture).float())


def _read_parts(path: Path, meshes: MeshSettings) -> list[Part]:
    """Return the parts of a file's scene.

    Raises:
        ValueError: the file cannot be read, or alpha hides much of what we would show.
    """
    try:
        if path.suffix == ".glb":
            return _painted(path, meshes)
        scene = trimesh.load_scene(path, process=False)
        named = len([part for part in parts_of(path) if part.suffix != ".mtl"]) > 1
        return list(_parts(scene, _TrimeshPainter(images=named)))
    except Exception as error:  # trimesh's readers, images and buffers raise exceptions of any kind
        raise ValueError(f"{path}: cannot be read: {error or type(error).__name__}") from error


def _painted(path: Path, meshes: MeshSettings) -> list[Part]:
    """Return the parts of a GLB's scene.

    Raises:
        ValueError: a part cannot be read, or alpha hides much that we show.
    """
    reader = GltfReader(path)
    painter = Painter(reader, meshes.vertex_colours)
    parts = [part for surface in reader.surfaces() for part in painter.paint(surface)]
    if painter.wrong > TRANSLUCENT * painter.area:
        raise ValueError(_translucent(painter))
    return parts


def translucency(path: Path, meshes: MeshSettings) -> str | None:
    """Return how much of a GLB is half transparent, or cut by masks of alpha, if it is more than we leave out.

    Args:
        path: of the file.
        meshes: settings of the method.

    Raises:
        ValueError: a part cannot be read.
    """
    reader = GltfReader(path)
    painter = Painter(reader, meshes.vertex_colours)
    for surface in reader.surfaces():
        painter.shown(surface, painter.look(surface))
    return _translucent(painter) if painter.wrong > TRANSLUCENT * painter.area else None


def _translucent(painter: Painter) -> str:
    """Return what is shown wrongly, as ``got X; expected Y``."""
    share = painter.wrong / painter.area
    return (
        f"got {share:.0%} of the surface half transparent, or cut by alpha across triangles; expected at most "
        f"{TRANSLUCENT:.0%}; export opaque materials"
    )


def _parts(scene: trimesh.Scene, painter: _TrimeshPainter) -> Iterator[Part]:
    """Yield for each mesh of a scene: positions of its faces' corners, its texture, and their texture coordinates."""
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        mesh = scene.geometry[name]
        if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces):
            points = trimesh.transform_points(np.asarray(mesh.vertices, np.float64), transform)
            texture, uvs = painter.paint(mesh)
            turn = -1 if np.linalg.det(transform[:3, :3]) < 0 else 1  # a mirrored mesh is wound the other way
            yield points[mesh.faces][:, ::turn], texture, uvs[:, ::turn]


def place(
    points: Float[np.ndarray, "N 3"],
    meshes: MeshSettings,
    template: TemplateSize,
    landmarks: Landmarks | None = None,
) -> Float[np.ndarray, "N 3"]:
    """Rotate points so that y is up and the face looks along +z, then scale and move them.

    With landmarks, the eyes come to those of the template and the chin to its height: a chin that juts out or recedes
    turns no head. With a scale, the file's origin stays the origin. Else the box is centred and made as tall as the
    template's.

    Args:
        points: in the units of the file.
        meshes: axes of the file, and the scale if one is stated.
        template: what the points are fitted to.
        landmarks: of the mesh, if its size comes from them.

    Returns:
        Points in metres.

    Example:
        >>> template = TemplateSize(height=0.3, eyes=(0.0, 0.03, 0.08), face=0.11)
        >>> meshes = MeshSettings(folder="x", up="+z", front="-y", scale=0.5)
        >>> place(np.array([[1.0, 2.0, 3.0]]), meshes, template).tolist()
        [[0.5, 1.5, -1.0]]
        >>> marks = Landmarks(eyes=(0.0, -8.0, 15.0), chin=(0.0, -9.0, 4.0))
        >>> place(np.array([*marks]), meshes, template, marks).round(3).tolist()
        [[0.0, 0.03, 0.08], [0.0, -0.08, 0.09]]
    """
    up, front = axis_vector(meshes.up), axis_vector(meshes.front)
    turn = np.stack([np.cross(up, front), up, front]).T
    turned = points @ turn
    if landmarks is not None:
        scale = template.face / face_height(meshes.up, *landmarks)
        return (turned - np.array(landmarks.eyes) @ turn) * scale + np.array(template.eyes)
    if meshes.scale is not None:
        return turned * meshes.scale
    low, high = turned.min(axis=0), turned.max(axis=0)
    return (turned - (low + high) / 2) * (template.height / max(high[1] - low[1], 1e-9))


class _TrimeshPainter:
    """Extracts the colours of a file's meshes as textures; meshes that share an image share one array.

    Args:
        images: False if the file has no images, in which case trimesh supplies grey ones, to be ignored.
    """

    def __init__(self, images: bool):
        self.images = images
        self._known: dict[int, np.ndarray] = {}

    def paint(self, mesh: trimesh.Trimesh) -> Painted:
        """Return the texture and the texture coordinates of a mesh."""
        faces = np.asarray(mesh.faces)
        visual: Any = mesh.visual  # its class depends on `kind`
        if visual.kind == "face":
            return face_charts(np.repeat(np.asarray(visual.face_colors)[:, None, :3], 3, axis=1) / 255)
        if visual.kind == "vertex":
            return face_charts(np.asarray(visual.vertex_colors)[faces][..., :3] / 255)
        if visual.kind != "texture":
            return face_charts(np.full((*faces.shape, 3), GREY))
        image = visual.material.image
        if image is not None and self.images and visual.uv is not None:
            return self._texture(image), _within_the_image(np.asarray(visual.uv, np.float64)[faces])
        # exporters write a default Kd beside a texture; ignore it
        own = np.asarray(visual.material.kwargs["kd"])[:3] if image is None and "kd" in visual.material.kwargs else None
        colours = visual.vertex_attributes.get("color", mesh.vertex_attributes.get("color"))
        if colours is not None:
            stored = _fractions(colours)[faces][..., :3]
            return face_charts(stored if own is None else to_srgb(to_linear(stored) * to_linear(own)))
        return face_charts(np.broadcast_to(np.full(3, GREY) if own is None else own, (*faces.shape, 3)))

    def _texture(self, image: Image.Image) -> Float[np.ndarray, "3 H W"]:
        """Return an image's colours; the same array each time."""
        if id(image) not in self._known:
            self._known[id(image)] = pixels_of(image)[..., :3].transpose(2, 0, 1)
        return self._known[id(image)]


def _fractions(values: object) -> np.ndarray:
    """Return numbers in [0, 1]; unsigned integers are divided by their largest value."""
    array = np.asarray(values)
    return array / np.iinfo(array.dtype).max if array.dtype.kind == "u" else array.astype(np.float64)


def _within_the_image(corners: Float[np.ndarray, "F 3 2"]) -> Float[np.ndarray, "F 3 2"]:
    """Move each triangle's texture coordinates by whole periods so that its centre lies in the image."""
    if corners.min() >= 0 and corners.max() <= 1:
        return corners
    return corners - np.floor(corners.mean(axis=1, keepdims=True))


def _stack_textures(painted: list[Painted]) -> Painted:
    """Stack several textures, one below the other, into one; an array that several parts share is stored once."""
    if len(painted) == 1:
        return painted[0]
    textures = {id(texture): texture for texture, _ in painted}
    width = max(texture.shape[2] for texture in textures.values())
    tops = np.cumsum([0, *(texture.shape[1] for texture in textures.values())])
    whole, height = np.zeros((3, tops[-1], width)), int(tops[-1])
    places = dict(zip(textures, tops[:-1].tolist(), strict=True))
    for key, texture in textures.items():
        whole[:, places[key] : places[key] + texture.shape[1], : texture.shape[2]] = texture
    moved = []
    for texture, corners in painted:
        inside = np.array(texture.shape[:0:-1])
        texels = np.clip((corners * (1, -1) + (0, 1)) * inside, 0.5, inside - 0.5)  # no neighbour bleeds in
        moved.append((texels + np.array([0, places[id(texture)]])) / (width, height) * (1, -1) + (0, 1))
    return whole, np.concatenate(moved)


def face_charts(corners: Float[np.ndarray, "F 3 3"]) -> Painted:
    """Return a texture in which each triangle has its own square cell, with colours linear over the triangle.

    Corners lie at the centres of the cell's texels: first, last of the first row, last of the first column.

    Args:
        corners: RGB of each triangle's corners, in [0, 1].

    Example:
        >>> texture, uvs = face_charts(np.ones((1, 3, 3)))
        >>> texture.shape, uvs.tolist()
        ((3, 2, 2), [[[0.25, 0.75], [0.75, 0.75], [0.25, 0.25]]])
    """
    return charts(np.einsum("sc,fck->fsk", chart_weights(CELL), corners), CELL)
