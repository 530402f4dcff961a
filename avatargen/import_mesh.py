"""Read a mesh that another system made, and put it where our heads are.

Colours are taken as they are written and shown unlit: a texture, else colours of vertices or faces (written into a
texture, one small chart for each triangle), else mid-grey. A scene of several meshes becomes one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from avatargen.settings import Axis, MeshSettings
from avatargen.types import HeadTopology

LARGEST = 2048
"""Rows and columns of a texture, at most; larger ones are made smaller."""
CELL = 4
"""Texels on each side of a triangle's chart: colours are linear in it, so that a few are exact."""
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
        ValueError: it is empty, cannot be read, has no triangles, or coordinates that are no numbers.
    """
    if not path.stat().st_size:
        raise ValueError(f"{path}: empty, which stands for a failure of the system that was to make it")
    try:
        loaded = trimesh.load_scene(path, process=False).to_mesh()
    except Exception as error:  # readers raise whatever comes to pass
        raise ValueError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
    corners = np.asarray(loaded.vertices, np.float64)[loaded.faces]
    if not len(corners):
        raise ValueError(f"{path}: got no triangles; expected a surface")
    if not np.isfinite(corners).all():
        raise ValueError(f"{path}: got coordinates that are no numbers")
    points, index = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)  # seams are no creases
    faces = index.reshape(-1, 3)
    texture, uvs, face_uvs = _colours(loaded)
    topology = HeadTopology(
        torch.from_numpy(faces), torch.from_numpy(uvs).float(), torch.from_numpy(face_uvs),
        {"skin": torch.ones(len(points), dtype=torch.bool)},
    )  # fmt: skip
    placed = place(points, meshes, height)
    return Mesh(torch.from_numpy(placed).float(), topology, torch.from_numpy(texture).float())


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


def _colours(
    mesh: trimesh.Trimesh,
) -> tuple[Float[np.ndarray, "3 H W"], Float[np.ndarray, "T 2"], Int[np.ndarray, "F 3"]]:
    """Texture, texture coordinates and their indices at the corners of faces."""
    faces, kind = np.asarray(mesh.faces), mesh.visual.kind
    if kind == "texture":
        image, factor = _material(mesh)
        if image is not None and mesh.visual.uv is not None:
            pixels = multiplied(_pixels(image), factor[:, None, None])
            return pixels, *_within_the_image(np.asarray(mesh.visual.uv, np.float64), faces)
        corners = np.broadcast_to(multiplied(np.ones(3), factor), (*faces.shape, 3))
    elif kind == "face":
        corners = np.repeat(mesh.visual.face_colors[:, None, :3], 3, axis=1) / 255
    elif kind == "vertex":
        corners = np.asarray(mesh.visual.vertex_colors)[faces][..., :3] / 255
    else:
        corners = np.full((*faces.shape, 3), GREY)
    return charts_of(corners)


def _material(mesh: trimesh.Trimesh) -> tuple[Image.Image | None, Float[np.ndarray, "3"]]:
    """The image of a material, if it has one, and its factor."""
    material = mesh.visual.material
    if not isinstance(material, trimesh.visual.material.PBRMaterial):
        image = material.image
        return image, np.ones(3) if image else (np.asarray(material.diffuse)[:3] / 255) ** GAMMA
    factor = material.baseColorFactor
    whole = 255 if factor is not None and np.asarray(factor).dtype.kind in "iu" else 1
    return material.baseColorTexture, np.ones(3) if factor is None else np.asarray(factor, np.float64)[:3] / whole


def multiplied(colours: Float[np.ndarray, "*shape"], factor: Float[np.ndarray, "*#shape"]) -> np.ndarray:
    """Colours times a factor of light, as glTF's base colours are (its section 3.9.2)."""
    return (colours**GAMMA * factor) ** (1 / GAMMA)


def _pixels(image: Image.Image) -> Float[np.ndarray, "3 H W"]:
    image = image.convert("RGB")
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return np.asarray(image).transpose(2, 0, 1) / 255


def _within_the_image(uvs: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Texture coordinates and their indices; a triangle beyond the image goes to the repetition where its middle is."""
    if uvs.min() >= 0 and uvs.max() <= 1:
        return uvs, faces
    corners = uvs[faces]
    corners = corners - np.floor(corners.mean(axis=1, keepdims=True))
    return corners.reshape(-1, 2), np.arange(faces.size).reshape(-1, 3)


def charts_of(
    corners: Float[np.ndarray, "F 3 3"],
) -> tuple[Float[np.ndarray, "3 H W"], Float[np.ndarray, "T 2"], Int[np.ndarray, "F 3"]]:
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
    texture = grid.reshape(3, rows * CELL, columns * CELL)
    first = np.stack(np.divmod(np.arange(count), columns)[::-1], axis=1) * CELL + 0.5
    texels = first[:, None] + np.array([[0, 0], [CELL - 1, 0], [0, CELL - 1]])
    uvs = texels / (columns * CELL, rows * CELL) * (1, -1) + (0, 1)
    return texture, uvs.reshape(-1, 2), np.arange(3 * count).reshape(-1, 3)
