"""Read a mesh that another system made, and put it where our heads are.

Colours are taken as they are written and shown unlit: a texture, else colours of vertices or faces (written into a
texture, one small chart for each triangle), else the material's, else the grey that all bare heads have. A GLB's
factor multiplies them as light does. A scene of several meshes becomes one, their textures one below the other. Not
known here: transparency, vertex colours on top of a texture, and, of a texture in a scene of several, what repeats
beyond its border.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from avatargen.config.settings import Axis, MeshSettings
from avatargen.exchange.mesh_files import LARGEST, parts_of
from avatargen.geometry.types import HeadTopology
from avatargen.io.avatar_file import GREY

CELL = 2
"""Texels on each side of a triangle's chart: colours are linear between the centres of four."""
GAMMA = 2.2
"""Of sRGB, nearly."""


@dataclass(frozen=True)
class Mesh:
    """A mesh with a texture.

    Attributes:
        vertices: metres, by the conventions of `avatargen.geometry.types`.
        texture: RGB, in [0, 1] where it is seen.
    """

    vertices: Float[Tensor, "N 3"]
    topology: HeadTopology
    texture: Float[Tensor, "3 H W"]


def read_mesh(path: Path, meshes: MeshSettings, height: float) -> Mesh:
    """Read a mesh.

    Args:
        height: of the template's bounding box, metres.

    Raises:
        ValueError: it is empty, cannot be read, has no triangles, no extent, or coordinates that are no numbers.
    """
    if not path.stat().st_size:
        raise ValueError(f"{path}: empty, which stands for a failure of the system that was to make it")
    try:
        scene = trimesh.load_scene(path, process=False)
        named = len([part for part in parts_of(path) if part.suffix != ".mtl"]) > 1
        painter = _Painter(images=path.suffix == ".glb" or named)
        parts = list(_parts(scene, painter))
    except Exception as error:  # readers raise whatever comes to pass
        raise ValueError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
    if not parts:
        raise ValueError(f"{path}: got no triangles; expected a surface")
    corners = np.concatenate([part[0] for part in parts])
    texture, uvs = side_by_side([(texture, uvs) for _, texture, uvs in parts])
    if not (np.isfinite(corners).all() and np.isfinite(uvs).all()):
        raise ValueError(f"{path}: got coordinates that are no numbers")
    points, index = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)  # seams are no creases
    if np.ptp(points, axis=0).max() == 0:
        raise ValueError(f"{path}: got a mesh without extent")
    topology = HeadTopology(
        torch.from_numpy(index.reshape(-1, 3)), torch.from_numpy(uvs.reshape(-1, 2)).float(),
        torch.arange(index.size).view(-1, 3), {"skin": torch.ones(len(points), dtype=torch.bool)},
    )  # fmt: skip
    placed = place(points, meshes, height)
    return Mesh(torch.from_numpy(placed).float(), topology, torch.from_numpy(texture).float())


def _parts(
    scene: trimesh.Scene, painter: _Painter
) -> Iterator[tuple[Float[np.ndarray, "F 3 3"], np.ndarray, np.ndarray]]:
    """Of each mesh of a scene: where its corners are in it, its texture, and where the corners are in that."""
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        mesh = scene.geometry[name]
        if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces):
            points = trimesh.transform_points(np.asarray(mesh.vertices, np.float64), transform)
            texture, uvs = painter.paint(mesh)
            turn = -1 if np.linalg.det(transform[:3, :3]) < 0 else 1  # what is mirrored is wound the other way
            yield points[mesh.faces][:, ::turn], texture, uvs[:, ::turn]


def place(points: Float[np.ndarray, "N 3"], meshes: MeshSettings, height: float) -> Float[np.ndarray, "N 3"]:
    """Turn points so that y is up and the face looks along +z; centre and scale their box if that is asked for."""
    up, front = direction(meshes.up), direction(meshes.front)
    turned = points @ np.stack([np.cross(up, front), up, front]).T
    if not meshes.fit:
        return turned
    low, high = turned.min(axis=0), turned.max(axis=0)
    return (turned - (low + high) / 2) * (height / max(high[1] - low[1], 1e-9))


def direction(axis: Axis) -> Float[np.ndarray, "3"]:
    """The unit vector that ``+x`` to ``-z`` stand for."""
    vector = np.zeros(3)
    vector["xyz".index(axis[1])] = 1.0 if axis[0] == "+" else -1.0
    return vector


Painted = tuple[Float[np.ndarray, "3 _ _"], Float[np.ndarray, "_ 3 2"]]
"""A texture, and texture coordinates of the corners of faces."""


class _Painter:
    """Finds out what meshes of one file look like; what several share is one array.

    Args:
        images: whether the file has any. trimesh puts grey ones in their place.
    """

    def __init__(self, images: bool):
        self.images = images
        self._known: dict[tuple[int, bytes], np.ndarray] = {}

    def paint(self, mesh: trimesh.Trimesh) -> Painted:
        """Texture and texture coordinates of a mesh."""
        faces, visual = np.asarray(mesh.faces), mesh.visual
        if visual.kind == "face":
            return charts_of(np.repeat(np.asarray(visual.face_colors)[:, None, :3], 3, axis=1) / 255)
        if visual.kind == "vertex":
            return charts_of(np.asarray(visual.vertex_colors)[faces][..., :3] / 255)
        if visual.kind != "texture":
            return charts_of(np.full((*faces.shape, 3), GREY))
        image, factor = _material(visual.material)
        if image is not None and self.images and visual.uv is not None:
            return self._texture(image, factor), _within_the_image(np.asarray(visual.uv, np.float64)[faces])
        colours = visual.vertex_attributes.get("color", mesh.vertex_attributes.get("color"))
        if colours is not None:
            return charts_of(multiplied(_fractions(colours)[faces][..., :3], np.ones(3) if factor is None else factor))
        plain = np.full(3, GREY) if factor is None else multiplied(np.ones(3), factor)
        return charts_of(np.broadcast_to(plain, (*faces.shape, 3)))

    def _texture(self, image: Image.Image, factor: np.ndarray | None) -> Float[np.ndarray, "3 H W"]:
        factor = np.ones(3) if factor is None else factor
        key = (id(image), factor.tobytes())
        if key not in self._known:
            self._known[key] = multiplied(_pixels(image), factor[:, None, None])
        return self._known[key]


def _material(material: object) -> tuple[Image.Image | None, Float[np.ndarray, "3"] | None]:
    """The image of a material and its factor, each if it has one."""
    if isinstance(material, trimesh.visual.material.PBRMaterial):
        factor = material.baseColorFactor
        white = None if material.baseColorTexture is not None else np.ones(3)
        return material.baseColorTexture, white if factor is None else _fractions(factor)[:3]
    own = material.image is None and "kd" in material.kwargs  # beside an image Kd is as good as never meant
    return material.image, _fractions(material.kwargs["kd"])[:3] ** GAMMA if own else None


def _fractions(values: object) -> np.ndarray:
    """Numbers in [0, 1], of bytes too."""
    array = np.asarray(values)
    return array / np.iinfo(array.dtype).max if array.dtype.kind == "u" else array.astype(np.float64)


def multiplied(colours: Float[np.ndarray, "*shape"], factor: Float[np.ndarray, "*#shape"]) -> np.ndarray:
    """Colours times a factor of light, as glTF's base colours are (its section 3.9.2)."""
    return colours if (factor == 1).all() else (colours**GAMMA * factor) ** (1 / GAMMA)


def _pixels(image: Image.Image) -> Float[np.ndarray, "3 H W"]:
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    image = image.convert("RGB")
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return np.asarray(image).transpose(2, 0, 1) / 255


def _within_the_image(corners: Float[np.ndarray, "F 3 2"]) -> Float[np.ndarray, "F 3 2"]:
    """Texture coordinates; a triangle beyond the image goes to the repetition where its middle is."""
    if corners.min() >= 0 and corners.max() <= 1:
        return corners
    return corners - np.floor(corners.mean(axis=1, keepdims=True))


def side_by_side(painted: list[Painted]) -> Painted:
    """One texture of several, one below the other; an array that is there twice is one texture."""
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
        texels = np.clip((corners * (1, -1) + (0, 1)) * inside, 0.5, inside - 0.5)  # the neighbour's colours stay out
        moved.append((texels + np.array([0, places[id(texture)]])) / (width, height) * (1, -1) + (0, 1))
    return whole, np.concatenate(moved)


def charts_of(corners: Float[np.ndarray, "F 3 3"]) -> Painted:
    """A texture in which each triangle has a square cell of its own, colours linear over it.

    Corners lie at the centres of the cell's texels: first, last of the first row, last of the first column.
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
