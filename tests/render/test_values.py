"""Renders of every renderer against scenes worked out by hand and a brute-force reference.

Values are those without gradients, which are exact for all of them; `test_pytorch3d` has the soft ones.
"""

import pytest
import torch

from avatargen.render.geometry import camera_frames, intersect, project
from avatargen.render.visibility import MeshBatch
from avatargen.render.warp import WarpRenderer


def test_render_of_a_square_by_hand(make, square, cameras):
    vertices, topology = square
    view = cameras([0.0], [0.0], distance=2.0, fov=90.0)  # the image is 4 m wide at the square
    output = make(topology).render(vertices * 0.75, view, 8, samples=2, gradients=False)
    row = torch.tensor([0, 0, 0.5, 1, 1, 0.5, 0, 0])  # 3 pixels of 8, centred
    assert torch.equal(output.coverage[0, 0, 0], row[:, None] * row[None, :])
    assert torch.allclose(output.depth[0, 0, 0], 2.0 * (row[:, None] * row > 0))
    assert torch.allclose(output.normals[0, 0, 2], 1.0 * (row[:, None] * row > 0))
    assert output.features.shape == (1, 1, 0, 8, 8)


def test_texture_is_upright_and_not_weighted_by_coverage(make, square, cameras):
    vertices, topology = square
    texture = torch.arange(2 * 16.0).view(1, 2, 4, 4)
    view = cameras([0.0], [0.0], distance=1.0, fov=90.0)  # the square fills the image exactly
    output = make(topology).render(vertices, view, 4, texture=texture, gradients=False)
    assert torch.allclose(output.features[:, 0], texture, atol=1e-4)
    smaller = make(topology).render(0.4 * vertices, view, 4, texture=texture * 0 + 3, samples=3, gradients=False)
    assert smaller.coverage[0, 0, 0, 1, 1].item() == pytest.approx(4 / 9)  # it covers 0.8 of the pixel's side
    assert torch.allclose(smaller.features, 3.0 * (smaller.coverage > 0), atol=1e-5)


def test_back_view_mirrors_the_texture(make, square, cameras):
    vertices, topology = square
    texture = torch.arange(16.0).view(1, 1, 4, 4)
    view = cameras([180.0], [0.0], distance=1.0, fov=90.0)
    output = make(topology).render(vertices, view, 4, texture=texture, gradients=False)
    assert torch.allclose(output.features[0, 0], texture[0].flip(-1), atol=1e-4)


def test_attributes_are_perspective_correct(make, square, cameras):
    """World position as attribute: each pixel must show the point where its ray meets the tilted square."""
    vertices, topology = square
    tilted = torch.stack((vertices[..., 0], vertices[..., 1] * 0.6, vertices[..., 1] * 0.8), dim=-1)
    view = cameras([20.0], [5.0], distance=3.0, fov=20.0)
    output = make(topology).render(tilted, view, 16, attributes=tilted, gradients=False)
    place, depth = project(output.features[0, 0].flatten(1).T[None], view, 16)
    hit = (output.face_ids[0, 0] >= 0).flatten()
    row, column = torch.meshgrid(torch.arange(16) + 0.5, torch.arange(16) + 0.5, indexing="ij")
    centres = torch.stack((column, row), dim=-1).flatten(0, 1)
    assert 100 < hit.sum() < 256
    assert torch.allclose(place[0, 0][hit], centres[hit], atol=1e-3)
    assert torch.allclose(depth[0, 0][hit], output.depth.flatten()[hit], atol=1e-5)


def test_faces_and_depth_agree_with_brute_force(make, sphere, cameras):
    """Every ray against every triangle of a crumpled sphere."""
    vertices, topology = sphere
    bent = vertices * (1 + 0.3 * torch.sin(25 * vertices[..., :1]))
    view = cameras([0.0, 130.0], [10.0, -40.0])
    output = make(topology).render(bent, view, 12, gradients=False)
    frames, meshes = camera_frames(view), MeshBatch(topology.faces)
    meshes.update(bent)
    _, directions = meshes.visible_faces(frames, 12)
    corners = bent[0][topology.faces]
    for v in range(2):
        for ray, depth in zip(directions[0, v].view(-1, 3), output.depth[0, v].flatten(), strict=True):
            origin = frames.positions[0, v].expand(len(corners), 3)
            weights, distance = intersect(corners, origin, ray.expand(len(corners), 3))
            hits = distance[(weights > -1e-5).all(1)]
            expected = hits.min() if len(hits) else torch.tensor(0.0)
            assert depth.item() == pytest.approx(expected.item(), abs=1e-5)


def test_smooth_normals_of_a_sphere_are_radial(make, sphere, cameras):
    vertices, topology = sphere
    output = make(topology).render(vertices, cameras([30.0], [20.0]), 32, attributes=vertices, gradients=False)
    hit = output.face_ids[0, 0] >= 0
    radial = torch.nn.functional.normalize(output.features[0, 0].movedim(0, -1)[hit], dim=-1)
    assert ((output.normals[0, 0].movedim(0, -1)[hit] * radial).sum(-1) > 0.9995).all()


@pytest.mark.parametrize("mate", [0.5, 0.73, 1.4])
def test_renders_do_not_depend_on_mates_or_earlier_calls(make, sphere, cameras, mate):
    """Values and gradients are the same, whatever the mate's size and whatever was rendered before.

    To the bit by Warp; exponentials of torch depend on their place in memory in the last bits.
    """
    vertices, topology = sphere
    texture = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    view = cameras([0.0, 70.0], [0.0, 20.0], batch=2)

    def second(renderer, scale):
        pair = torch.cat((scale * vertices, vertices * torch.tensor([1.0, 1.3, 0.8]))).requires_grad_()
        output = renderer.render(pair, view, 24, texture=texture, samples=2)
        tensors = [output.features, output.coverage, output.depth, output.normals]
        sum(tensor.square().sum() for tensor in tensors).backward()
        return [tensor[1].detach() for tensor in tensors] + [output.face_ids[1], pair.grad[1]]

    used = make(topology)
    second(used, 1.0)
    for expected, actual in zip(second(make(topology), 1.0), second(used, mate), strict=True):
        close = torch.allclose(expected, actual, rtol=1e-4, atol=1e-5 * expected.abs().max())
        assert torch.equal(expected, actual) if make is WarpRenderer else close


def test_vertices_changed_in_place_are_rendered_again(make, sphere, cameras):
    vertices, topology = sphere
    renderer, moved, view = make(topology), vertices.clone(), cameras([0.0], [0.0])
    before = renderer.render(moved, view, 24).coverage
    moved *= 0.5
    half = make(topology).render(0.5 * vertices, view, 24).coverage
    assert torch.equal(renderer.silhouette(moved, view, 24, samples=1), half)
    assert renderer.render(moved, view, 24).coverage.sum() < 0.5 * before.sum()


def test_mesh_out_of_view_gives_empty_renders(make, sphere, cameras):
    vertices, topology = sphere
    moved = (vertices + torch.tensor([5.0, 0, 0])).requires_grad_()
    output = make(topology).render(moved, cameras([0.0], [0.0]), 8, attributes=moved)
    assert not output.coverage.any() and not output.depth.any() and (output.face_ids == -1).all()
    output.coverage.sum().backward()
    assert not moved.grad.any()


def test_wrong_arguments_are_refused(make, sphere, cameras):
    vertices, topology = sphere
    view = cameras([0.0], [0.0])
    renderer = make(topology)
    with pytest.raises(ValueError, match="both"):
        renderer.render(vertices, view, 8, texture=torch.zeros(1, 3, 4, 4), attributes=vertices)
    with pytest.raises(ValueError, match="cameras for 2 meshes; expected 1"):
        renderer.render(vertices, cameras([0.0], [0.0], batch=2), 8)
