"""Images of a sphere that is red in front and blue behind."""

from dataclasses import replace

import imageio.v2 as imageio
import numpy as np
import pytest
import torch
from PIL import Image

from avatargen.config.experiment import EvaluationSettings
from avatargen.geometry.cameras import evaluation_cameras
from eval.contact_sheet import contact_sheet
from eval.images import ALBEDO, AMBIENT, DIFFUSE, KINDS
from eval.turntable import render_avatar, soften
from eval.views import RenderTools, decode_views, neural_latents, protocol_cameras, render_views, shade_clay

SETTINGS = EvaluationSettings(views=4, size=64, samples=2, turntable_frames=4, turntable_size=65)


@pytest.fixture(scope="module")
def tools(head, renderer, resize_prior, prior_settings) -> RenderTools:
    return RenderTools(head, renderer, resize_prior, prior_settings, "sphere", "warp")


def seen(avatar, tools):
    """The views of the protocol."""
    decoded = decode_views(avatar, tools, protocol_cameras(avatar, tools, SETTINGS), SETTINGS.background)
    return render_views(avatar, tools, SETTINGS, decoded)


def test_front_and_back_show_their_colours_on_grey(avatar, tools):
    views = seen(avatar, tools)
    assert tuple(views) == KINDS
    for kind, tolerance in {"texture": 12, "baked": 1}.items():
        images = views[kind].astype(int)
        assert images.shape == (4, 64, 64, 3)
        assert np.abs(images[0, 32, 32] - (255, 0, 0)).max() <= tolerance, kind
        assert np.abs(images[2, 32, 32] - (0, 0, 255)).max() <= tolerance, kind
        assert np.abs(images[:, 1, 1] - 128).max() <= tolerance, kind


@pytest.mark.parametrize("texture", ["latent", "rgb"])
def test_latents_are_on_the_priors_device(avatar, distant_tools, texture):
    avatar = avatar if texture == "latent" else replace(avatar, latent_texture=None)
    latents = neural_latents(avatar, distant_tools, evaluation_cameras(1, views=2), SETTINGS.background)
    assert latents.device == distant_tools.prior.device and latents.shape == (2, 3, 16, 16)


def test_clay_is_grey_and_lit_from_upper_left(avatar, tools):
    clay = seen(avatar, tools)["geometry"].astype(int)
    assert (clay.max(axis=-1) == clay.min(axis=-1)).all()
    assert np.abs(clay[0] - clay[1]).mean() < 1
    assert clay[0, 22, 24].max() > clay[0, 42, 40].max() + 40  # lit from above and from the left


def test_clay_by_hand():
    cameras = evaluation_cameras(1, views=1, elevation=0.0)
    towards = torch.tensor([-25.0, 25.0]).deg2rad()
    up, turn = towards[1], towards[0]
    light = torch.stack((turn.sin() * up.cos(), up.sin(), turn.cos() * up.cos()))
    normals = torch.stack((light, -light)).T.reshape(1, 1, 3, 1, 2)
    shade = shade_clay(normals, cameras)[0, 0, 0, 0]
    assert shade.tolist() == pytest.approx([ALBEDO * (AMBIENT + DIFFUSE), ALBEDO * AMBIENT], abs=1e-5)


def test_without_latents_the_render_passes_the_autoencoder(avatar, tools):
    oracle = type(avatar)(**{**vars(avatar), "latent_texture": None})
    views = seen(oracle, tools)
    texture, baked = views["texture"].astype(int), views["baked"].astype(int)
    assert np.abs(texture[::2, 32, 32] - baked[::2, 32, 32]).max() <= 1  # flat: kept
    rim = np.abs(texture - baked).max(axis=-1)  # ResizePrior blurs edges, and only those
    assert rim.max() > 40 and (rim > 12).mean() < 0.25


def test_renders_are_written_once_for_a_fingerprint(avatar, tools, tmp_path):
    facts = render_avatar(avatar, tools, SETTINGS, tmp_path, "one")
    with imageio.get_reader(tmp_path / "turntable.mp4", "ffmpeg") as reader:
        frames = [np.asarray(frame) for frame in reader]
    assert len(frames) == 4 and frames[0].shape == (64, 128, 3)  # an odd size is rounded down
    assert frames[0][32, 32, 0] > 200 > 60 > frames[2][32, 32, 0]
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.width > 4 * 192 and sheet.height > 3 * 192
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert set(times) == {"views.npz", "turntable.mp4", "sheet.png", "render.json"}
    assert render_avatar(avatar, tools, SETTINGS, tmp_path, "one") == facts
    assert times == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    (tmp_path / "sheet.png").unlink()
    render_avatar(avatar, tools, SETTINGS, tmp_path, "one")
    assert (tmp_path / "sheet.png").is_file()


def test_soften_keeps_flat_areas_and_averages_edges():
    images = np.zeros((1, 4, 6, 3), dtype=np.uint8)
    images[:, :, 3:] = 200
    assert soften(images)[0, 2, :, 0].tolist() == [0, 0, 50, 150, 200, 200]


def test_contact_sheets_wrap_long_titles_and_odd_text():
    images = np.full((2, 64, 64, 3), 90, dtype=np.uint8)
    short = contact_sheet("a head", "note", {"One": images}, [0.0, 180.0])
    long = contact_sheet("word " * 500 + "\x00\n头", "note", {"One": images, "Two": images}, [0.0, -90.0])
    assert long.height < short.height + 64 + 60 and long.width == short.width
