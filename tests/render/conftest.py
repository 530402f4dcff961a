"""Small meshes, cameras and the reference head of the renderer's tests."""

from pathlib import Path

import numpy as np
import pytest
import torch

from avatargen.geometry.types import Cameras, HeadTopology

DATA = Path(__file__).parents[1] / "data"


def make_topology(faces, uvs):
    return HeadTopology(faces, uvs, faces, {})


def make_cameras(azimuths, elevations, distance=1.15, fov=18.0, batch=1):
    azimuth = torch.tensor([azimuths] * batch, dtype=torch.float32)
    elevation = torch.tensor([elevations] * batch, dtype=torch.float32)
    constant = torch.ones_like(azimuth)
    target = torch.zeros(*azimuth.shape, 3)
    return Cameras(azimuth, elevation, constant * distance, constant * fov, target)


def icosphere(levels):
    """Return vertices and faces of a unit sphere, a subdivided octahedron."""
    corners = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    triangles = [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
    faces = torch.tensor(triangles)
    for _ in range(levels):
        edges = torch.stack((faces, faces.roll(-1, 1)), dim=-1).sort(dim=-1).values
        unique, index = edges.reshape(-1, 2).unique(dim=0, return_inverse=True)
        ab, bc, ca = (index.view(-1, 3) + len(corners)).unbind(1)
        a, b, c = faces.unbind(1)
        faces = torch.cat([torch.stack(t, 1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))])
        corners = torch.cat((corners, corners[unique].mean(1)))
        corners = torch.nn.functional.normalize(corners, dim=1)
    return corners, faces


@pytest.fixture(scope="session")
def cameras():
    """Return a function from azimuths and elevations to Cameras."""
    return make_cameras


@pytest.fixture(scope="session")
def topology():
    """Return a function from faces and texture coordinates (one for each vertex) to a HeadTopology."""
    return make_topology


@pytest.fixture(scope="session")
def square():
    """Return the square |x|, |y| <= 1 at z = 0 that faces +z: vertices (1, 4, 3), and topology with uv from 0 to 1."""
    vertices = torch.tensor([[[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    return vertices, make_topology(faces, torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]]))


@pytest.fixture(scope="session")
def sphere():
    """Return a sphere of 1,026 vertices and 0.12 m radius: vertices (1, N, 3) and topology."""
    corners, faces = icosphere(4)
    return 0.12 * corners[None], make_topology(faces, 0.5 + 0.5 * corners[:, :2])


@pytest.fixture(scope="session")
def reference():
    """Return a head rasterised by PyTorch3D 0.7.9 at 64 x 64 in four views: V, F, views, fid, depth."""
    with np.load(DATA / "pytorch3d_head64.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in ("V", "F", "views", "fid", "depth")}


@pytest.fixture(scope="session")
def head(reference):
    """Return the reference head: vertices (1, 18593, 3), and topology with a cylindrical texture layout."""
    vertices, faces = reference["V"], reference["F"].long()
    u = torch.atan2(vertices[:, 0], vertices[:, 2]) / (2 * torch.pi) + 0.5
    return vertices[None], make_topology(faces, torch.stack((u, 3 * vertices[:, 1] + 0.5), dim=1))
