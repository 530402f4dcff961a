"""Images made face by face show what rays do, to the bit."""

from dataclasses import replace

import pytest
import torch

from avatargen.render.geometry import camera_frames
from avatargen.render.visibility import FACES_A_SAMPLE, MeshBatch
from tests.render.conftest import make_cameras


def both(faces, vertices):
    """The same meshes, asked face by face and ray by ray."""
    batches = [MeshBatch(faces, vertices[0], by_rays=by_rays) for by_rays in (False, True)]
    for meshes in batches:
        meshes.update(vertices)
    return batches


def assert_same(faces, vertices, cameras, size, samples=2):
    """Faces, directions, coverage and hit centres; returns the faces."""
    frames, (walked, cast) = camera_frames(cameras), both(faces, vertices)
    (seen, directions), (expected, rays) = walked.visible_faces(frames, size), cast.visible_faces(frames, size)
    assert torch.equal(seen, expected)
    assert torch.equal(directions, rays)
    (coverage, hits), (share, centres) = walked.covered(frames, size, samples), cast.covered(frames, size, samples)
    assert torch.equal(coverage, share)
    assert torch.equal(hits >= 0, centres >= 0)
    return expected


@pytest.mark.parametrize(("size", "samples"), [(24, 1), (64, 2), (45, 3)])
def test_heads_of_different_shape_from_all_around(head, size, samples):
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


def test_where_faces_tie_the_ray_decides(square):
    """Every face twice, so that all distances are equal; which of two counts is the hierarchy's to say."""
    vertices, topology = square
    twice = torch.cat([topology.faces, topology.faces.flip(0).flip(1)])
    view = make_cameras([0.0, 30.0], [0.0, 10.0], distance=3.0, fov=50.0)
    seen = assert_same(twice, vertices, view, 32)
    assert (seen >= 0).any()


def test_heads_that_leave_the_image_and_surround_the_camera(sphere):
    """A face with a corner behind the camera may be anywhere in the image."""
    vertices, topology = sphere
    vertices = vertices / vertices.abs().max()
    view = make_cameras([0.0, 120.0], [0.0, 60.0], distance=3.0, fov=30.0)
    aside = replace(view, target=torch.tensor([[[0.6, 0.4, 0.0], [-0.5, -0.7, 0.2]]]))
    seen = assert_same(topology.faces, vertices, aside, 48)
    assert 0.1 < (seen >= 0).float().mean() < 0.95
    inside = replace(view, distance=torch.full((1, 2), 0.9))
    assert (assert_same(topology.faces, vertices, inside, 16) >= 0).all()


def test_few_samples_of_many_faces_are_cast(sphere, monkeypatch):
    """By default; the choice cannot be seen in the image, so the places that only faces need tell."""
    vertices, topology = sphere
    meshes, asked = MeshBatch(topology.faces), []
    meshes.update(vertices)
    monkeypatch.setattr(meshes, "_places", lambda frames: asked.append(1) or MeshBatch._places(meshes, frames))
    enough = int((len(topology.faces) / FACES_A_SAMPLE) ** 0.5) + 1
    frames = camera_frames(make_cameras([0.0], [0.0]))
    meshes.visible_faces(frames, enough - 2)
    assert not asked
    meshes.visible_faces(frames, enough)
    assert asked
