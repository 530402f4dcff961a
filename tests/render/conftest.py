"""Small meshes, heads, cameras and all renderers, for the renderers' tests."""

import pytest
import torch

from avatargen.config.packages import pytorch3d_problem
from avatargen.config.plugins import RENDERERS, load_class
from avatargen.geometry.types import Cameras, HeadTopology
from avatargen.heads.anny.head import AnnyHead


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
def anny():
    """Return the default head model."""
    return AnnyHead.load()


@pytest.fixture(scope="session")
def head(anny):
    """Return the default head: vertices (1, 19184, 3), and topology."""
    return anny.canonical(anny.shape_template[None]).detach().contiguous(), anny.topology


@pytest.fixture(scope="session")
def proxy(anny):
    """Return its proxy mesh: vertices (1, 4961, 3), and topology."""
    coarse = anny.proxy()
    return coarse.canonical(coarse.shape_template[None]).detach().contiguous(), coarse.topology


@pytest.fixture(scope="session", params=RENDERERS)
def make(request):
    """Return the class of each renderer in turn; PyTorch3D's is skipped only where PyTorch3D cannot be imported."""
    if request.param == "pytorch3d" and (problem := pytorch3d_problem()):
        pytest.skip(problem)
    return load_class("renderer", request.param, RENDERERS)
