"""Exported textures: what no camera saw is painted anew, what was seen stays."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from avatargen.config.plugins import HEADS, load_class
from avatargen.config.settings import CameraSettings
from avatargen.exchange.surface_fit import seam_pairs, smooth_fit, unique_edges
from avatargen.exchange.texture_fill import MOUTH, TextureFill, export_texture, mouth_colours, region_colours
from avatargen.io.avatar_file import Avatar
from tests.small_flame import write_flame

SKIN, HAIR, PAINT = (0.8, 0.6, 0.5), (0.2, 0.1, 0.3), (0.1, 0.9, 0.1)
"""Colours of what was seen, and of texels that no camera saw."""


@pytest.fixture(scope="module")
def fill():
    return TextureFill(load_class("head", "anny", HEADS).load())


def avatar_of(head, config, texture, prompt="a man"):
    template = head.template(1)
    return Avatar(
        id="a-man",
        prompt=prompt,
        seed=0,
        method="full",
        head_id=head.id,
        prior_id="mini",
        **template.first(),
        latent_texture=torch.zeros(4, 8, 8),
        baked_texture=texture,
        config=config,
    )


@pytest.fixture(scope="module")
def painted(fill):
    """Skin and hair where the cameras see them, paint elsewhere; at each vertex, and as a texture."""
    head = fill.head
    certain = fill.confidence(head.vertices(head.template(1)), CameraSettings())
    colours = torch.tensor(SKIN).expand(len(certain), 3)
    colours = torch.where(fill.regions["scalp"][:, None] > 0.5, torch.tensor(HAIR), colours)
    colours = torch.where(certain[:, None] > 0, colours, torch.tensor(PAINT))
    texels = fill._texel_map(256)
    return certain, texels.to_image(texels.gather(colours[fill.vertex_of]))


@pytest.fixture(scope="module")
def filled(fill, painted, make_config):
    texture = fill(avatar_of(fill.head, make_config, painted[1]))
    texels = fill._texel_map(256)
    at = torch.zeros(len(fill.regions["skin"]), 3)
    at[fill.vertex_of[texels.corners[:, 0]]] = texture[:, texels.covered].T
    return texture, at


@pytest.fixture(scope="module")
def make_config():
    from avatargen.config.loading import load_experiment, load_library, resolve

    return resolve(load_experiment("embedded"), "full", load_library()).model_dump(mode="json")


def test_cameras_see_the_face_and_not_the_mouth(fill, painted):
    certain = painted[0]
    assert certain[fill.regions["brows"] > 0.5].mean() > 0.9
    for name in ("mouth_interior", "teeth", "eye_sockets"):
        assert certain[fill.regions[name] > 0.5].mean() < 0.02, name
    top = fill.head.vertices(fill.head.template(1))[0, :, 1].argmax()
    assert certain[top] == 0  # its normal points above all cameras


@pytest.mark.parametrize("name", ["mouth_interior", "teeth", "tongue"])
def test_the_mouth_has_its_own_colours(fill, painted, filled, name):
    inside = (fill.regions[name] > 0.99) & (painted[0] == 0) & filled[1].any(1)
    assert inside.sum() > 30
    assert (filled[1][inside] - torch.tensor(MOUTH[name])).abs().median() < 0.02


def test_the_crown_has_the_colour_of_the_hair(fill, painted, filled):
    crown = (fill.regions["scalp"] > 0.99) & (painted[0] == 0) & filled[1].any(1)
    assert crown.sum() > 10 and (filled[1][crown] - torch.tensor(HAIR)).abs().max() < 0.03


def test_what_was_seen_stays(fill, painted, filled):
    texels = fill._texel_map(256)
    certain = texels.gather(painted[0][fill.vertex_of][:, None])[:, 0]
    before, after = painted[1][:, texels.covered].T, filled[0][:, texels.covered].T
    change = (after - before)[certain == 1].abs().max(1).values
    assert change.median() < 1e-6 and change.quantile(0.99) < 0.02  # seams are brought together


def test_the_sides_of_seams_agree(fill, make_config):
    """A texture that is random from texel to texel differs between them; after the fill it does not."""
    noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    rough = torch.nn.functional.interpolate(noise[None], size=256, mode="bilinear")[0]

    def gap(texture):
        places = fill.head.topology.uvs * torch.tensor([2.0, -2.0]) + torch.tensor([-1.0, 1.0])
        sides = torch.nn.functional.grid_sample(texture[None], places[None, None], align_corners=False)[0, :, 0].T
        return (sides[fill.seams[:, 0]] - sides[fill.seams[:, 1]]).abs().mean()

    assert gap(fill(avatar_of(fill.head, make_config, rough))) < 0.25 * gap(rough)


def test_eyes_have_the_avatars_own_colours():
    regions = {name: torch.tensor([1.0, 1.0]) for name in ("eyes", "iris")} | {"pupil": torch.zeros(2)}
    many = {name: mask.repeat_interleave(20) for name, mask in regions.items()}
    seen = torch.tensor([0.1, 0.6, 0.2]).expand(40, 3)
    certain = torch.arange(40) < 20
    colours, pull = region_colours(many, certain.float(), seen, {})
    assert torch.allclose(colours[-1], seen[0], atol=1e-6) and pull.tolist() == [1.0] * 40
    unseen, _ = region_colours(many, torch.zeros(40), seen, {})
    assert unseen[0].tolist() == pytest.approx([0.30, 0.19, 0.11])


def test_statues_have_mouths_of_their_material():
    stone = torch.tensor([0.6, 0.6, 0.5])
    made = mouth_colours("a stone statue, of a girl", stone)
    assert torch.equal(made["teeth"], stone) and torch.allclose(made["mouth_interior"], 0.4 * stone)
    assert mouth_colours("a girl of stature", stone)["teeth"].tolist() == pytest.approx(MOUTH["teeth"])


def test_textures_that_no_camera_baked_stay(fill):
    texture = torch.rand(3, 16, 16)
    avatar = replace(avatar_of(fill.head, {}, texture), latent_texture=None)
    assert fill(avatar) is texture and export_texture(avatar, fill.head) is texture


def test_heads_without_a_mouth_are_filled_too(tmp_path, make_config):
    head = load_class("head", "flame", HEADS).load(write_flame(tmp_path))
    plain = torch.tensor(SKIN).view(3, 1, 1).expand(3, 64, 64)
    made = TextureFill(head)(avatar_of(head, make_config, plain))
    assert (made - plain).abs().max() < 1e-4


def test_smooth_fit_solves_the_normal_equations():
    """Against a dense solution of a random graph."""
    rng = np.random.default_rng(0)
    edges = torch.tensor([(i, j) for i in range(8) for j in range(i) if rng.random() < 0.5])
    weights, mass, known = torch.rand(len(edges)), torch.rand(8), torch.rand(8, 2)
    laplacian = torch.diag(mass)
    for (i, j), w in zip(edges.tolist(), weights, strict=True):
        laplacian[i, i] += w
        laplacian[j, j] += w
        laplacian[i, j] -= w
        laplacian[j, i] -= w
    wanted = torch.linalg.solve(laplacian, mass[:, None] * known)
    assert torch.allclose(smooth_fit(edges, weights, mass, mass[:, None] * known), wanted, atol=1e-5)


def test_seams_are_vertices_with_two_texture_coordinates():
    """Two triangles over one edge, whose charts lie apart."""
    faces, corners = torch.tensor([[0, 1, 2], [2, 1, 3]]), torch.tensor([[0, 1, 2], [3, 4, 5]])
    vertex_of = torch.tensor([0, 1, 2, 2, 1, 3])
    assert sorted(map(tuple, seam_pairs(vertex_of, corners, 4).tolist())) == [(1, 4), (2, 3)]
    assert len(unique_edges(faces)) == 5
