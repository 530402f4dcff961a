"""Read a mesh that another system made, and put it where our heads are.

Colours are taken as they are written and shown unlit: a texture, else colours of vertices or faces (written into a
texture, one small chart for each triangle), else mid-grey. A factor of the material multiplies them as light does.
A scene of several meshes becomes one, their textures side by side. Transparency is not known here.
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

from avatargen.mesh_files import LARGEST
from avatargen.settings import Axis, MeshSettings
from avatargen.types import HeadTopology

CELL = 2
"""Texels on each side of a triangle's chart: colours are linear between the centres of four."""
GREY = 0.5
GAMMA = 2.2
"""Of sRGB, nearly."""


@dataclass(frozen=True)
class Mesh:
    """A mesh with a texture.

    Attributes:
        vertices: metres, by the conventions of `avatargen.types`.
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
        parts = list(_parts(trimesh.load_scene(path, process=False)))
        painted = [_colours(part, LARGEST / max(1, len(parts)) ** 0.5) for part in parts]
    except Exception as error:  # readers raise whatever comes to pass
        raise ValueError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
    if not parts:
        raise ValueError(f"{path}: got no triangles; expected a surface")
    corners = np.concatenate([np.asarray(part.vertices, np.float64)[part.faces] for part in parts])
    if not np.isfinite(corners).all():
        raise ValueError(f"{path}: got coordinates that are no numbers")
    points, index = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)  # seams are no creases
    if np.ptp(points, axis=0).max() == 0:
        raise ValueError(f"{path}: got a mesh without extent")
    texture, uvs = side_by_side(painted)
    topology = HeadTopology(
        torch.from_numpy(index.reshape(-1, 3)), torch.from_numpy(uvs.reshape(-1, 2)).float(),
        torch.arange(index.size).view(-1, 3), {"skin": torch.ones(len(points), dtype=torch.bool)},
    )  # fmt: skip
    placed = place(points, meshes, height)
    return Mesh(torch.from_numpy(placed).float(), topology, torch.from_numpy(texture).float())


def _parts(scene: trimesh.Scene) -> Iterator[trimesh.Trimesh]:
    """The meshes of a scene that have triangles, where they are in it."""
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        mesh = scene.geometry[name]
        if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces):
            placed = mesh.copy().apply_transform(transform)
            placed.visual = mesh.visual  # a copy loses its vertices' colours
            yield placed


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


def _colours(mesh: trimesh.Trimesh, largest: float) -> Painted:
    """What a mesh looks like; an image has at most `largest` rows and columns."""
    faces, visual = np.asarray(mesh.faces), mesh.visual
    if visual.kind == "face":
        return charts_of(np.repeat(np.asarray(visual.face_colors)[:, None, :3], 3, axis=1) / 255)
    if visual.kind == "vertex":
        return charts_of(np.asarray(visual.vertex_colors)[faces][..., :3] / 255)
    if visual.kind != "texture":
        return charts_of(np.full((*faces.shape, 3), GREY))
    image, factor = _material(visual.material)
    if image is not None and visual.uv is not None:
        pixels = multiplied(_pixels(image, largest), factor[:, None, None])
        return pixels, _within_the_image(np.asarray(visual.uv, np.float64)[faces])
    colours = visual.vertex_attributes.get("color")
    if colours is None:
        return charts_of(np.broadcast_to(multiplied(np.ones(3), factor), (*faces.shape, 3)))
    return charts_of(multiplied(_fractions(colours)[faces][..., :3], factor))


def _material(material: object) -> tuple[Image.Image | None, Float[np.ndarray, "3"]]:
    """The image of a material, if it has one, and its factor."""
    if not isinstance(material, trimesh.visual.material.PBRMaterial):
        image = material.image
        return image, np.ones(3) if image else _fractions(material.diffuse)[:3] ** GAMMA
    factor = material.baseColorFactor
    return material.baseColorTexture, np.ones(3) if factor is None else _fractions(factor)[:3]


def _fractions(values: object) -> np.ndarray:
    """Numbers in [0, 1], of bytes too."""
    array = np.asarray(values)
    return array / np.iinfo(array.dtype).max if array.dtype.kind == "u" else array.astype(np.float64)


def multiplied(colours: Float[np.ndarray, "*shape"], factor: Float[np.ndarray, "*#shape"]) -> np.ndarray:
    """Colours times a factor of light, as glTF's base colours are (its section 3.9.2)."""
    return colours if (factor == 1).all() else (colours**GAMMA * factor) ** (1 / GAMMA)


def _pixels(image: Image.Image, largest: float) -> Float[np.ndarray, "3 H W"]:
    image = image.convert("RGB")
    image.thumbnail((max(1, int(largest)),) * 2, Image.Resampling.LANCZOS)
    return np.asarray(image).transpose(2, 0, 1) / 255


def _within_the_image(corners: Float[np.ndarray, "F 3 2"]) -> Float[np.ndarray, "F 3 2"]:
    """Texture coordinates; a triangle beyond the image goes to the repetition where its middle is."""
    if corners.min() >= 0 and corners.max() <= 1:
        return corners
    return corners - np.floor(corners.mean(axis=1, keepdims=True))


def side_by_side(painted: list[Painted]) -> Painted:
    """One texture of several, one below the other."""
    if len(painted) == 1:
        return painted[0]
    width = max(texture.shape[2] for texture, _ in painted)
    height = sum(texture.shape[1] for texture, _ in painted)
    whole, moved, top = np.zeros((3, height, width)), [], 0
    for texture, corners in painted:
        rows, columns = texture.shape[1:]
        whole[:, top : top + rows, :columns] = texture
        inside = np.array([columns, rows])
        texels = (corners * (1, -1) + (0, 1)) * inside
        texels = np.clip(texels, 0.5, inside - 0.5)  # the neighbour's colours stay out
        moved.append((texels + np.array([0, top])) / (width, height) * (1, -1) + (0, 1))
        top += rows
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
