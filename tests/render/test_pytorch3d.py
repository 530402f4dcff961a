"""Agreement with PyTorch3D 0.7.9 on a real head (tests/data/pytorch3d_head64.npz)."""

import pytest
import torch

from avatargen.render.warp import WarpRenderer


@pytest.fixture(scope="module")
def rendered(head, reference, cameras):
    vertices, topology = head
    azimuth, elevation = reference["views"].unbind(1)
    view = cameras(azimuth.tolist(), elevation.tolist())
    return WarpRenderer(topology).render(vertices, view, 64)


def test_same_face_is_visible(rendered, reference):
    both = (rendered.face_ids[0] >= 0) & (reference["fid"] >= 0)
    assert (rendered.face_ids[0] == reference["fid"])[both].float().mean() >= 0.999


def test_same_pixels_are_covered(rendered, reference):
    ours, theirs = rendered.coverage[0, :, 0] > 0, reference["fid"] >= 0
    assert (ours & theirs).sum() / (ours | theirs).sum() >= 0.999


def test_same_depth(rendered, reference):
    both = (rendered.face_ids[0] >= 0) & (reference["fid"] >= 0)
    difference = (rendered.depth[0, :, 0] - reference["depth"])[both]
    assert difference.abs().max() < 1e-5  # metres
    assert torch.isfinite(difference).all()
