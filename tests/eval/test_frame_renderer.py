"""Rendered views of another system, shown in place of a mesh."""

import numpy as np
import pytest
import torch

from avatargen.geometry.cameras import evaluation_cameras
from avatargen.geometry.types import HeadTopology
from avatargen.io.avatar_file import Avatar, AvatarFileError, load_avatar, save_avatar
from avatargen.io.frames import FRAMES, HEAD, Frames
from eval.frame_renderer import FrameRenderer

TRIANGLE = HeadTopology(torch.arange(3)[None], torch.zeros(3, 2), torch.arange(3)[None].clone(), {})


def frames(levels, azimuths, elevations=None, alpha=255, size=4):
    images = np.full((len(levels), size, size, 4), alpha, np.uint8)
    images[..., :3] = np.array(levels, np.uint8)[:, None, None, None]
    unknown = np.full(len(levels), np.nan)
    return Frames(images, np.array(azimuths, np.float32), np.float32(unknown if elevations is None else elevations))


def shown(views, cameras, size=4):
    return FrameRenderer(views, TRIANGLE).render(torch.zeros(1, 3, 3), cameras, size)


def levels(output):
    return (output.features[0, :, 0, 0, 0] * 255).round().int().tolist()


def test_each_camera_shows_the_nearest_frame():
    views = frames([10, 20, 30], [0.0, 100.0, -170.0])
    assert levels(shown(views, evaluation_cameras(1, 4))) == [10, 20, 30, 30]  # 0, 90, 180, 270


def test_known_elevations_count():
    views = frames([10, 20, 30], [0.0, 0.0, 5.0], [60.0, 12.0, 40.0])
    assert levels(shown(views, evaluation_cameras(1, 1, elevation=10.0))) == [20]


def test_what_alpha_hides_is_background():
    views = frames([200], [0.0], alpha=51)
    output = shown(views, evaluation_cameras(1, 1))
    assert torch.allclose(output.over(torch.zeros(1, 1, 3, 1, 1)), torch.tensor(200 / 255 * 0.2), atol=1e-6)
    assert not output.normals.any() and (output.face_ids == -1).all()


def test_frames_are_exact_at_their_own_size_and_averaged_below():
    views = frames([0], [0.0], size=8)
    views.images[0, ..., :3] = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    exact = shown(views, evaluation_cameras(1, 1), size=8).features[0, 0] * 255
    assert torch.allclose(exact, torch.arange(64.0).view(8, 8).expand(3, 8, 8), atol=1e-4)
    assert shown(views, evaluation_cameras(1, 1), size=2).features.mean() * 255 == pytest.approx(31.5, abs=1e-3)


def test_frames_survive_the_avatar_file(tmp_path):
    views = frames([10, 20], [0.0, 180.0], [10.0, np.nan], alpha=100)
    tensors = {"shape": torch.zeros(0), "expression": torch.zeros(0), "joints": torch.zeros(0, 3)}
    tensors |= {"offsets": torch.zeros(3, 3), "baked_texture": torch.zeros(3, 1, 1)}
    about = {"id": "a-man-1", "prompt": "a man", "seed": 0, "method": "theirs", "head_id": HEAD, "prior_id": "mini"}
    save_avatar(tmp_path, Avatar(**about, **tensors, latent_texture=None, topology=TRIANGLE, frames=views))
    loaded = load_avatar(tmp_path).frames
    for name in ("images", "azimuth", "elevation"):
        assert np.array_equal(getattr(loaded, name), getattr(views, name), equal_nan=name == "elevation")
    whole = (tmp_path / FRAMES).read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:200] + bytes(80) + whole[280:]):
        (tmp_path / FRAMES).write_bytes(damaged)
        with pytest.raises(AvatarFileError, match="not a readable avatar"):
            load_avatar(tmp_path)
    (tmp_path / FRAMES).unlink()
    with pytest.raises(AvatarFileError, match=r"got no frames\.npz"):
        load_avatar(tmp_path)
