"""Rasterised faces give the same images as cast rays, to the bit."""

from dataclasses import replace

import pytest
import torch

from avatargen.render.coverage import ContourEdges, with_contour_gradient
from avatargen.render.geometry import Frames, camera_frames, intersect
from avatargen.render.visibility import FACES_A_SAMPLE, MeshBatch
from tests.render.conftest import make_cameras


def both(faces, vertices):
    """Return two batches of the same meshes: one rasterises faces, one casts rays."""
    batches = [MeshBatch(faces, vertices[0], by_rays=by_rays) for by_rays in (False, True)]
    for meshes in batches:
        meshes.update(vertices)
    return batches


def assert_same(faces, vertices, cameras, size, samples=2):
    """Compare faces, directions, coverage and covered centres; return the faces."""
    frames, (walked, cast) = camera_frames(cameras), both(faces, vertices)
    (seen, directions), (expected, rays) = walked.visible_faces(frames, size), cast.visible_faces(frames, size)
    assert torch.equal(seen, expected)
    assert torch.equal(directions, rays)
    (coverage, hits), (share, centres) = walked.covered(frames, size, samples), cast.covered(frames, size, samples)
    assert torch.equal(coverage, share)
    assert torch.equal(hits >= 0, centres >= 0)
    assert_hit(faces, vertices, frames, hits, directions)
    return expected


def assert_hit(faces, vertices, frames, named, directions):
    """Check that rays hit the faces that are named for them."""
    batch, view, row, column = (named >= 0).nonzero().unbind(1)
    corners = vertices[batch[:, None], faces.long()[named[batch, view, row, column].long()]].double()
    origins, rays = frames.positions[batch, view].double(), directions[batch, view, row, column].double()
    weights, _ = intersect(corners, origins, rays)
    assert (weights > -0.01).all()


def grid(side):
    """Return vertices (1, N, 3) and faces of a flat 2 x 2 m square of `side` x `side` quads."""
    line = torch.linspace(-1, 1, side + 1)
    y, x = torch.meshgrid(line, line, indexing="ij")
    vertices = torch.stack([x, y, torch.zeros_like(x)], dim=-1).view(1, -1, 3)
    first = (torch.arange(side)[:, None] * (side + 1) + torch.arange(side)).flatten()
    right, above = first + 1, first + side + 1
    return vertices, torch.cat([torch.stack([first, right, above + 1], 1), torch.stack([first, above + 1, above], 1)])


@pytest.mark.parametrize(("size", "samples"), [(24, 1), (64, 2), (45, 3)])
def test_heads_of_different_shapes_from_all_sides(head, size, samples):
    vertices, topology = head
    pair = torch.cat([vertices, vertices * torch.tensor([1.2, 0.9, 1.1])])
    view = make_cameras([0.0, 37.0, 90.0, 181.0], [0.0, 20.0, -15.0, 5.0], batch=2)
    seen = assert_same(topology.faces, pair, view, size, samples)
    assert 0.2 < (seen >= 0).float().mean() < 0.9


def test_folds_and_slivers(sphere):
    vertices, topology = sphere
    generator = torch.Generator().manual_seed(0)
    crumpled = vertices * (1 + 0.4 * torch.rand(vertices.shape[:2], generator=generator)[..., None])
    flat = vertices * torch.tensor([1.0, 1.0, 1e-6])
    view = make_cameras([0.0, 90.0, 45.0], [0.0, 0.0, 10.0], fov=20.0, batch=2)
    assert_same(topology.faces, torch.cat([crumpled, flat]), view, 64)


def test_rays_decide_where_faces_tie():
    """Every face is there twice, so all distances are equal, and the hierarchy decides which of two faces counts."""
    vertices, faces = grid(4)
    seen = assert_same(torch.cat([faces, faces.flip(1)]), vertices, make_cameras([30.0], [10.0], 3.0, 50.0), 32)
    assert (seen >= len(faces)).any()
    assert ((seen >= 0) & (seen < len(faces))).any()


@pytest.mark.parametrize("size", [16, 33, 64])
@pytest.mark.parametrize("distance", [1.7, 2.0, 3.0])
def test_faces_at_a_border_through_pixel_centres(size, distance):
    """A query may miss a box of the hierarchy there; faces that are seen must still be hit."""
    vertices, faces = grid(2)
    forward = torch.tensor([[[[1.0, 0, 0], [0, 1, 0], [0, 0, -1]]]])
    extent = torch.tensor([[size / (size - 1) / distance]])  # the outermost centres show the border
    frames = Frames(torch.tensor([[[0.0, 0, distance]]]), forward, extent)
    for doubled in (faces, torch.cat([faces, faces.flip(1)])):
        walked, _ = both(doubled, vertices)
        seen, directions = walked.visible_faces(frames, size)
        assert (seen >= 0).sum() >= (size - 2) ** 2
        assert_hit(doubled, vertices, frames, seen, directions)


def test_heads_beyond_the_image_and_around_the_camera(sphere):
    vertices, topology = sphere
    vertices = vertices / vertices.abs().max()
    view = make_cameras([0.0, 120.0], [0.0, 60.0], distance=3.0, fov=30.0)
    aside = replace(view, target=torch.tensor([[[0.6, 0.4, 0.0], [-0.5, -0.7, 0.2]]]))
    seen = assert_same(topology.faces, vertices, aside, 48)
    assert 0.1 < (seen >= 0).float().mean() < 0.95
    inside = replace(view, distance=torch.full((1, 2), 0.9))
    assert (assert_same(topology.faces, vertices, inside, 16) >= 0).all()


def test_faces_that_reach_behind_the_camera():
    """A corner behind the camera or far off the image has no place in it; the face may cover any sample."""
    below = torch.tensor([[[0.0, -0.2, -50.0], [-1.0, -0.2, 50.0], [1.0, -0.2, 50.0]]])
    view = make_cameras([0.0, 15.0], [0.0, 5.0], distance=1.0, fov=60.0)
    seen = assert_same(torch.tensor([[0, 1, 2]]), below, view, 32)
    assert (seen >= 0).sum() > 500
    generator = torch.Generator().manual_seed(1)
    corners = torch.randn(1, 3000, 3, generator=generator) * torch.tensor([4.0, 4.0, 0.02]) + torch.tensor([0, 0, 0.96])
    near = make_cameras([0.0, 2.0], [0.0, 1.0], distance=1.0, fov=8.0)
    assert (assert_same(torch.arange(3000).view(-1, 3), corners, near, 32) >= 0).any()


def test_gradients_of_silhouettes_are_the_same(head):
    vertices, topology = head
    view = make_cameras([20.0, 100.0], [0.0, 10.0])
    found = []
    frames, edges = camera_frames(view), ContourEdges(topology.faces)
    for meshes in both(topology.faces, vertices):
        moved = vertices.clone().requires_grad_()
        coverage, seen = meshes.covered(frames, 64, samples=2)
        with_contour_gradient(coverage[:, :, None], moved, frames, edges, meshes, seen).square().sum().backward()
        found.append(moved.grad)
    assert found[0].abs().max() > 0
    assert torch.equal(*found)


def test_rays_are_cast_for_few_samples_of_many_faces(sphere):
    """By default. Rays name no face that covers a centre: they write 0."""
    vertices, topology = sphere
    meshes = MeshBatch(topology.faces)
    meshes.update(vertices)
    enough = int((len(topology.faces) / FACES_A_SAMPLE) ** 0.5) + 1
    frames = camera_frames(make_cameras([0.0], [0.0]))
    _, cast = meshes.covered(frames, enough - 2, samples=1)
    _, rasterised = meshes.covered(frames, enough, samples=1)
    assert cast.max() == 0 and rasterised.max() > 0
