"""Images of fixed views go onto the texture that renders like them."""

import pytest
import torch

from avatargen.config.settings import CameraSettings
from avatargen.geometry.cameras import usual_framing
from avatargen.heads.anny.head import AnnyHead
from avatargen.method.fixed_views import bake_cameras, refine_cameras
from avatargen.method.projection import LEAST_WEIGHT, SOLID, Projection, build_projection
from avatargen.render.texel_map import build_texel_map
from avatargen.render.warp import WarpRenderer

RANGES = CameraSettings(close=0.3)
SIZE, VIEW = 64, 48


@pytest.fixture(scope="module")
def parts():
    """A renderer, a texel map and the template's vertices."""
    anny = AnnyHead.load()
    vertices = anny.vertices(anny.template(1))
    return WarpRenderer(anny.topology, vertices[0]), build_texel_map(anny.topology, SIZE), anny.topology.faces, vertices


def projection_of(parts, cameras) -> Projection:
    renderer, texel_map, faces, vertices = parts
    return build_projection(renderer, texel_map, faces, vertices, cameras, usual_framing(RANGES)[1], 2 * VIEW)


def lack(projection: Projection, texture, images) -> float:
    """Return the mean absolute difference of a texture's renders from images, inside the silhouette."""
    made = projection.render(texture, VIEW, 2)
    solid = (made.coverage[0] > SOLID).expand_as(images)
    return float((made.features[0] - images).abs()[solid].mean())


def test_a_plain_texture_comes_back(parts):
    projection = projection_of(parts, bake_cameras(RANGES))
    images = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1).expand(14, -1, VIEW, VIEW)
    made = projection.mean(images.contiguous())
    torch.testing.assert_close(made, images[0, :, :1, :1].expand_as(made))
    torch.testing.assert_close(projection.corrected(made, images.contiguous(), 2), made)


def test_corrections_lower_the_distance_to_renders_of_a_texture(parts):
    """Of a known texture with details of 4 to 16 texels; three corrections halve the distance."""
    projection, draw = projection_of(parts, bake_cameras(RANGES, close_ups=True)), torch.Generator().manual_seed(0)
    known = sum(
        torch.nn.functional.interpolate(torch.rand(1, 3, n, n, generator=draw), SIZE, mode="bilinear")[0] / 3
        for n in (4, 8, 16)
    )
    images = projection.render(known, VIEW, 2).features[0]
    texture = projection.mean(images)
    distances = [lack(projection, texture, images)]
    for _ in range(3):
        texture = projection.corrected(texture, images, 2)
        distances.append(lack(projection, texture, images))
    assert distances == sorted(distances, reverse=True) and distances[3] < 0.5 * distances[0], distances


def test_a_close_up_outweighs_the_view_from_its_place(parts):
    projection, fov = projection_of(parts, refine_cameras(RANGES)), usual_framing(RANGES)[1]
    front, close = projection.weights[0], projection.weights[10]
    both = (front > 0.1) & (close > 0.1)
    extent = [torch.tensor(torch.pi / 360 * angle).tan() for angle in (fov, 11.0)]
    expected = float((extent[0] / extent[1]) ** 2)
    assert both.sum() > 20
    torch.testing.assert_close((close / front)[both].median().item(), expected, rtol=0.05, atol=0)


def test_a_texel_that_no_view_sees_takes_the_nearest_seen_one(parts):
    projection, covered = projection_of(parts, refine_cameras(CameraSettings())), parts[1].covered
    seen = projection.weights.sum(0) > LEAST_WEIGHT
    assert 0 < (~seen).sum() < len(seen) / 2
    made = projection.mean(torch.rand(10, 3, VIEW, VIEW, generator=torch.Generator().manual_seed(0)))
    mask = torch.zeros_like(covered)
    mask[covered] = seen
    rows, columns = torch.where(~mask)
    places = torch.stack(torch.where(mask), dim=1)
    for row, column in zip(rows[::97].tolist(), columns[::97].tolist(), strict=True):
        distance = (places - torch.tensor([row, column])).float().norm(dim=1)
        nearest = places[distance == distance.min()].tolist()
        assert any(torch.equal(made[:, row, column], made[:, r, c]) for r, c in nearest)


def test_priors_without_close_ups_have_none():
    assert refine_cameras(CameraSettings()).fov.unique().tolist() == [18.0]
    fovs = refine_cameras(CameraSettings(close=0.2, close_fov=(8.0, 12.0))).fov
    assert fovs[0].tolist() == [18.0] * 10 + [10.0] * 5
