"""The contour gradient of coverage: by hand, and against differences of 16-fold supersampled coverage."""

import pytest
import torch

from avatargen.render.coverage import ContourEdges
from avatargen.render.warp import WarpRenderer
from avatargen.types import HeadTopology

SIZE = 32  # pixels; faces of the head are a sixth of one


def slope(renderer, vertices, view, field, weight):
    """Derivative of the weighted coverage sum along a displacement field, by the contour gradient."""
    leaf = vertices.clone().requires_grad_()
    coverage = renderer.render(leaf, view, SIZE, normals=False).coverage
    (gradient,) = torch.autograd.grad((coverage * weight).sum(), leaf)
    return (gradient * field).sum().item()


def differences(renderer, vertices, view, field, step):
    """The derivative of each pixel's coverage by central differences of 16 x 16 samples a pixel."""
    moved = (vertices + sign * step * field for sign in (1, -1))
    ahead, behind = (renderer.render(v, view, SIZE, samples=16, normals=False).coverage for v in moved)
    return (ahead - behind) / (2 * step)


def ramps():
    """Smooth weights: one everywhere, and a wave with no symmetry that motion could hide behind."""
    place = (torch.arange(SIZE) + 0.5) / SIZE
    wave = torch.sin(3 * place)[:, None] * torch.cos(2 * place + 1)[None] + 0.3 * place
    return torch.ones(SIZE, SIZE), wave


def fields(vertices):
    """Displacements of about 0.1 to 1 per unit: translations, scale, bending, twisting and two bumps."""
    x, y, _ = vertices.unbind(-1)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    top = vertices[0, y[0].argmax()]
    temple = vertices[0, x[0].argmax()]
    return {
        "right": torch.stack((one, zero, zero), dim=-1),
        "up": torch.stack((zero, one, zero), dim=-1),
        "scale": vertices / 0.15,
        "bend": torch.stack((40 * y * y, zero, zero), dim=-1),
        "twist": torch.stack((6 * y, -6 * x, zero), dim=-1),
        "bump on top": bump(vertices, top, (0.0, 1.0, 0.0)),
        "bump at the side": bump(vertices, temple, (1.0, 0.0, 0.0)),
    }


def bump(vertices, centre, direction):
    squared = (vertices - centre).square().sum(-1, keepdim=True)
    return torch.exp(-squared / 0.04**2) * torch.tensor(direction)


def test_values_are_those_of_the_samples(sphere, cameras):
    vertices, topology = sphere
    renderer, view = WarpRenderer(topology), cameras([0.0, 60.0], [0.0, 30.0])
    plain = renderer.render(vertices, view, 32, samples=2, gradients=False).coverage
    straight = renderer.render(vertices.clone().requires_grad_(), view, 32, samples=2).coverage
    assert straight.requires_grad and torch.equal(plain, straight)


def test_growing_square_by_hand(square, cameras):
    """A square of side a pixels has area a^2; scaling it by 1 + s changes that by 2 a^2 s."""
    vertices, topology = square
    view = cameras([0.0], [0.0], distance=2.0, fov=90.0)  # the image is 4 m and SIZE pixels wide
    small = 0.6 * vertices
    side = 1.2 / 4 * SIZE
    expected = 2 * side**2
    assert slope(WarpRenderer(topology), small, view, small, ramps()[0]) == pytest.approx(expected, rel=1e-4)


def test_one_moving_side_by_hand(square, cameras):
    """Moving the right side of a square changes only its column of pixels: by side / width of image."""
    vertices, topology = square
    view = cameras([0.0], [0.0], distance=2.0, fov=90.0)
    small = 0.6 * vertices
    field = torch.zeros_like(small)
    field[:, 1:3, 0] = 1.0
    column = torch.zeros(SIZE, SIZE)
    column[:, int((0.5 + 0.6 / 4) * SIZE)] = 1.0
    expected = 1.2 * (SIZE / 4) ** 2  # pixels of height times pixels a metre
    renderer = WarpRenderer(topology)
    assert slope(renderer, small, view, field, column) == pytest.approx(expected, rel=1e-4)
    assert slope(renderer, small, view, field, 1 - column) == pytest.approx(0, abs=1e-3 * expected)


def test_no_gradient_without_background(square, sphere, cameras):
    """Neither a square larger than the image nor the outline of a sphere in front of it changes coverage."""
    wall, wall_topology = square
    ball, ball_topology = sphere
    vertices = torch.cat((wall - torch.tensor([0.0, 0, 0.5]), ball), dim=1)
    faces = torch.cat((wall_topology.faces, ball_topology.faces + 4))
    renderer = WarpRenderer(HeadTopology(faces, vertices[0, :, :2].contiguous(), faces, {}))
    leaf = vertices.clone().requires_grad_()
    output = renderer.render(leaf, cameras([0.0], [0.0]), 32)
    output.coverage.sum().backward()
    assert (output.coverage == 1).all() and not leaf.grad.any()


@pytest.mark.parametrize("name", ["right", "up", "scale", "bend", "twist", "bump on top", "bump at the side"])
@pytest.mark.parametrize("view", [(0.0, 0.0), (40.0, 20.0), (-90.0, -15.0), (170.0, 10.0)])
def test_head_against_finite_differences(head, cameras, name, view):
    """Within 10% of the difference, or 2.5% of the gross flow where inflow and outflow cancel."""
    vertices, topology = head
    renderer, view = WarpRenderer(topology), cameras([view[0]], [view[1]])
    field = fields(vertices)[name]
    change = differences(renderer, vertices, view, field, step=2e-3)
    for weight in ramps():
        analytic = slope(renderer, vertices, view, field, weight)
        numeric = (change * weight).sum().item()
        gross = (change * weight).abs().sum().item()
        assert abs(analytic - numeric) <= max(0.1 * abs(numeric), 0.025 * gross), (analytic, numeric, gross)


def test_edges_of_a_square(square):
    """Five edges: the diagonal has two faces, the four sides one."""
    edges = ContourEdges(square[1].faces)
    assert sorted(map(tuple, edges.ends.tolist())) == [(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)]
    open_sides = (edges.sides[:, 1] < 0).tolist()
    assert [tuple(e) for e, o in zip(edges.ends.tolist(), open_sides, strict=True) if not o] == [(0, 2)]


def test_edge_with_three_faces_keeps_every_face():
    faces = torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]])
    edges = ContourEdges(faces)
    shared = (edges.ends == torch.tensor([0, 1])).all(1)
    assert edges.sides[shared].tolist() == [[0, 1], [2, -1]]
