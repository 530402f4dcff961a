"""Read a mesh of another system, and place it where our heads are.

Colours are shown unlit, as stored: the texture, else colours of vertices or faces (written into a texture with one
small chart for each triangle), else the material's colour, else the grey of all bare heads. A GLB's base colour factor
multiplies them in linear light. Several meshes of a scene become one, with their textures one below the other.

We do not read transparency, vertex colours on top of a texture, or, in a scene of several textures, the repetition of a
texture beyond its border.
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
from trimesh.visual.material import PBRMaterial

from avatargen.config.settings import Axis, MeshSettings, face_height
from avatargen.exchange.mesh_files import LARGEST, Landmarks, parts_of
from avatargen.geometry.types import HeadTopology
from avatargen.heads.base import HeadModel
from avatargen.heads.face_points import FacePoints
from avatargen.io.avatar_file import GREY

CELL = 2
"""Texels on each side of a triangle's chart; bilinear filtering makes colours linear over the triangle."""
GAMMA = 2.2
"""Exponent that approximates sRGB."""
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
    parts = _read_parts(path)
    if not parts:
        raise ValueError(f"{path}: got no triangles; expected a surface")
    corners = np.concatenate([part[0] for part in parts])
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


def _read_parts(path: Path) -> list[tuple[Float[np.ndarray, "F 3 3"], np.ndarray, np.ndarray]]:
    """Return the parts of a file's scene, see `_parts`."""
    try:
        scene = trimesh.load_scene(path, process=False)
        named = len([part for part in parts_of(path) if part.suffix != ".mtl"]) > 1
        painter = _Painter(images=path.suffix == ".glb" or named)
        return list(_parts(scene, painter))
    except Exception as error:  # trimesh's readers raise exceptions of any kind
        raise ValueError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error


def _parts(
    scene: trimesh.Scene, painter: _Painter
) -> Iterator[tuple[Float[np.ndarray, "F 3 3"], np.ndarray, np.ndarray]]:
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


def axis_vector(axis: Axis) -> Float[np.ndarray, "3"]:
    """Return the unit vector of an axis, ``+x`` to ``-z``.

    Example:
        >>> axis_vector("-z").tolist()
        [0.0, 0.0, -1.0]
    """
    vector = np.zeros(3)
    vector["xyz".index(axis[1])] = 1.0 if axis[0] == "+" else -1.0
    return vector


class _Painter:
    """Extracts the colours of a file's meshes as textures; meshes that share an image share one array.

    Args:
        images: False if the file has no images, in which case trimesh supplies grey ones, to be ignored.
    """

    def __init__(self, images: bool):
        self.images = images
        self._known: dict[tuple[int, bytes], np.ndarray] = {}

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
        image, factor = _material(visual.material)
        if image is not None and self.images and visual.uv is not None:
            return self._texture(image, factor), _within_the_image(np.asarray(visual.uv, np.float64)[faces])
        colours = visual.vertex_attributes.get("color", mesh.vertex_attributes.get("color"))
        if colours is not None:
            light = np.ones(3) if factor is None else factor
            return face_charts(_multiply_light(_fractions(colours)[faces][..., :3], light))
        plain = np.full(3, GREY) if factor is None else _multiply_light(np.ones(3), factor)
        return face_charts(np.broadcast_to(plain, (*faces.shape, 3)))

    def _texture(self, image: Image.Image, factor: np.ndarray | None) -> Float[np.ndarray, "3 H W"]:
        """Return an image times its factor; the same array each time."""
        factor = np.ones(3) if factor is None else factor
        key = (id(image), factor.tobytes())
        if key not in self._known:
            self._known[key] = _multiply_light(_pixels(image), factor[:, None, None])
        return self._known[key]


def _material(material: Any) -> tuple[Image.Image | None, Float[np.ndarray, "3"] | None]:
    """Return the image of a material and its colour factor in linear light, each None if it has none."""
    if isinstance(material, PBRMaterial):
        factor = material.baseColorFactor
        white = None if material.baseColorTexture is not None else np.ones(3)
        return material.baseColorTexture, white if factor is None else _fractions(factor)[:3]
    own = material.image is None and "kd" in material.kwargs  # exporters write a default Kd beside a texture; ignore it
    return material.image, _fractions(material.kwargs["kd"])[:3] ** GAMMA if own else None


def _fractions(values: object) -> np.ndarray:
    """Return numbers in [0, 1]; unsigned integers are divided by their largest value."""
    array = np.asarray(values)
    return array / np.iinfo(array.dtype).max if array.dtype.kind == "u" else array.astype(np.float64)


def _multiply_light(colours: Float[np.ndarray, "*shape"], factor: Float[np.ndarray, "*#shape"]) -> np.ndarray:
    """Return sRGB colours times a factor in linear light, as glTF 2.0 defines base colours (section 3.9.2)."""
    return colours if (factor == 1).all() else (colours**GAMMA * factor) ** (1 / GAMMA)


def _pixels(image: Image.Image) -> Float[np.ndarray, "3 H W"]:
    """Return an image as RGB in [0, 1], at most `LARGEST` on each side."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    image = image.convert("RGB")
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return np.asarray(image).transpose(2, 0, 1) / 255


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
    count = len(corners)
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    across, down = np.meshgrid(np.linspace(0, 1, CELL), np.linspace(0, 1, CELL))
    weights = np.stack([1 - across - down, across, down], axis=-1)
    cells = np.einsum("ijk,fkc->fijc", weights, corners)
    cells = np.concatenate([cells, np.zeros((rows * columns - count, CELL, CELL, 3))])
    grid = cells.reshape(rows, columns, CELL, CELL, 3).transpose(4, 0, 2, 1, 3)
    first = np.stack(np.divmod(np.arange(count), columns)[::-1], axis=1) * CELL + 0.5
    texels = first[:, None] + np.array([[0, 0], [CELL - 1, 0], [0, CELL - 1]])
    uvs = texels / (columns * CELL, rows * CELL) * (1, -1) + (0, 1)
    return grid.reshape(3, rows * CELL, columns * CELL), uvs
