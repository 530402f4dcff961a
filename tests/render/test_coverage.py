"""The gradient of coverage, by hand and against finite differences of coverage with 16 x 16 samples."""

import pytest
import torch

from avatargen.geometry.types import HeadTopology
from avatargen.render.coverage import ContourEdges
from avatargen.render.geometry import camera_frames
from avatargen.render.warp import WarpRenderer

SIZE = 64  # pixels; faces of the head are a third of one


def slopes(renderer, vertices, view, field, weights):
    """Return derivatives of weighted coverage sums along a displacement field, by the contour gradient."""
    leaf = vertices.clone().requires_grad_()
    coverage = renderer.render(leaf, view, SIZE, normals=False).coverage
    sums = [(coverage * weight).sum() for weight in weights]
    gradients = [torch.autograd.grad(total, leaf, retain_graph=True)[0] for total in sums]
    return torch.stack([(gradient * field).sum() for gradient in gradients])


def differences(renderer, vertices, view, field, weights, step):
    """Return the same derivatives by central differences of coverage with 16 x 16 samples a pixel."""
    moved = (vertices + sign * step * field for sign in (1, -1))
    ahead, behind = (renderer.render(v, view, SIZE, samples=16, normals=False).coverage for v in moved)
    return torch.stack([((ahead - behind) * weight).sum() for weight in weights]) / (2 * step)


def smooth_weights():
    """Return weights (6, SIZE, SIZE): a constant, two ramps, a saddle, and two waves."""
    x, y = torch.meshgrid(*[(torch.arange(SIZE) + 0.5) / SIZE - 0.5] * 2, indexing="xy")
    waves = (torch.sin(6 * x + 1) * torch.cos(4 * y), torch.cos(5 * x) * torch.sin(7 * y + 2))
    return torch.stack((torch.ones_like(x), 2 * x, 2 * y, 4 * x * y, *waves))


def make_field(name, vertices, view):
    """Return a displacement field of order 1, by name."""
    x, y, _ = vertices.unbind(-1)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    right, up = camera_frames(view).bases[0, 0, :2]
    fields = {
        "right": one[..., None] * right,
        "up": torch.stack((zero, one, zero), dim=-1),
        "scale": vertices / 0.15,
        "bend": 40 * (y * y)[..., None] * right,
        "twist": torch.stack((6 * y, -6 * x, zero), dim=-1),
        "bump on top": bump(vertices, up),
        "bump at the side": bump(vertices, right),
    }
    return fields[name]


def bump(vertices, direction):
    """Return a bump 4 cm wide around the vertex furthest in a direction, in that direction."""
    furthest = vertices[0, (vertices[0] @ direction).argmax()]
    squared = (vertices - furthest).square().sum(-1, keepdim=True)
    return torch.exp(-squared / 0.04**2) * direction


def test_coverage_has_the_same_values_with_and_without_gradient(sphere, cameras):
    vertices, topology = sphere
    renderer, view = WarpRenderer(topology), cameras([0.0, 60.0], [0.0, 30.0])
    plain = renderer.render(vertices, view, 32, samples=2, gradients=False).coverage
    straight = renderer.render(vertices.clone().requires_grad_(), view, 32, samples=2).coverage
    assert straight.requires_grad and torch.equal(plain, straight)


@pytest.mark.parametrize("angles", [(0.0, 0.0), (60.0, 20.0), (180.0, -10.0)])
def test_silhouette_equals_coverage(head, cameras, angles):
    vertices, topology = head
    renderer, view = WarpRenderer(topology), cameras([angles[0]], [angles[1]])
    whole, alone = vertices.clone().requires_grad_(), vertices.clone().requires_grad_()
    coverage = renderer.render(whole, view, SIZE, samples=3, normals=False).coverage
    silhouette = renderer.silhouette(alone, view, SIZE, samples=3)
    assert torch.equal(coverage, silhouette)
    weights = smooth_weights()[-1]
    for made in (coverage, silhouette):
        (made * weights).sum().backward()
    assert torch.allclose(whole.grad, alone.grad, atol=1e-3 * whole.grad.abs().max())


def test_gradient_of_a_growing_square(square, cameras):
    """A square of side a pixels has area a^2; scaling it by 1 + s changes that by 2 a^2 s."""
    vertices, topology = square
    view = cameras([0.0], [0.0], distance=2.0, fov=90.0)  # the image is 4 m and SIZE pixels wide
    small = 0.6 * vertices
    side = 1.2 / 4 * SIZE
    expected = 2 * side**2
    assert slopes(WarpRenderer(topology), small, view, small, [1.0]).item() == pytest.approx(expected, rel=1e-4)


def test_gradient_of_one_moving_side(square, cameras):
    """Moving the right side of a square changes only its column of pixels: by side / width of image."""
    vertices, topology = square
    view = cameras([0.0], [0.0], distance=2.0, fov=90.0)
    small = 0.6 * vertices
    field = torch.zeros_like(small)
    field[:, 1:3, 0] = 1.0
    column = torch.zeros(SIZE, SIZE)
    column[:, int((0.5 + 0.6 / 4) * SIZE)] = 1.0
    expected = 1.2 * (SIZE / 4) ** 2  # pixels of height times pixels a metre
    inside, outside = slopes(WarpRenderer(topology), small, view, field, [column, 1 - column]).tolist()
    assert inside == pytest.approx(expected, rel=1e-4)
    assert outside == pytest.approx(0, abs=1e-3 * expected)


def test_composite_gradient_where_no_sample_hits(square, cameras):
    """One side of a square moves a quarter into its column of pixels, where the single sample misses."""
    vertices, topology = square
    view = cameras([0.0], [0.0], distance=2.0, fov=90.0)
    pixel = 4 / SIZE
    small = vertices * (10.25 * pixel)
    field = torch.zeros_like(small)
    field[:, 1:3, 0] = 1.0
    leaf = small.clone().requires_grad_()
    seen = WarpRenderer(topology).render(leaf, view, SIZE, attributes=torch.full((1, 4, 1), 0.8), normals=False)
    column = int((0.5 + 10.25 / SIZE) * SIZE)
    assert not seen.coverage[..., column].any()
    background = torch.full((1, 1, 1, 1, 1), 0.3)
    composite = seen.extended().over(background)
    assert torch.equal(composite, seen.over(background))
    (gradient,) = torch.autograd.grad(composite[..., column].sum(), leaf)
    expected = (0.8 - 0.3) * 20.5 / pixel  # pixels of height times pixels a metre
    assert (gradient * field).sum().item() == pytest.approx(expected, rel=0.01)


def test_no_gradient_without_visible_background(square, sphere, cameras):
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


def test_gradients_are_those_of_the_vertices_that_were_rendered(sphere, cameras):
    """Backward passes cast rays at the vertices of their own forward pass, whatever was rendered in between."""
    vertices, topology = sphere
    renderer, view, gradients = WarpRenderer(topology), cameras([30.0], [10.0]), []
    for between in (False, True):
        leaf = vertices.clone().requires_grad_()
        coverage = renderer.silhouette(leaf, view, 32)
        if between:
            renderer.silhouette(0.3 * vertices, view, 32)
        gradients += torch.autograd.grad(coverage.square().sum(), leaf)
    assert gradients[0].any() and torch.equal(*gradients)


def test_vertices_that_changed_since_have_no_gradients(sphere, cameras):
    vertices, topology = sphere
    leaf = vertices.clone().requires_grad_()
    moved = leaf * 1.0
    coverage = WarpRenderer(topology).silhouette(moved, cameras([30.0], [10.0]), 32)
    moved.mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        coverage.sum().backward()


@pytest.mark.parametrize("name", ["right", "up", "scale", "bend", "twist", "bump on top", "bump at the side"])
@pytest.mark.parametrize("angles", [(40.0, 20.0), (-90.0, -15.0)])
def test_gradient_of_a_head_against_finite_differences(head, cameras, name, angles):
    """The derivatives of six weighted sums, as a vector, within 10%."""
    vertices, topology = head
    renderer, view = WarpRenderer(topology), cameras([angles[0]], [angles[1]])
    field, weights = make_field(name, vertices, view), smooth_weights()
    analytic = slopes(renderer, vertices, view, field, weights)
    numeric = differences(renderer, vertices, view, field, weights, step=2e-3)
    assert (analytic - numeric).norm() <= 0.1 * numeric.norm(), (analytic, numeric)


def test_edges_of_a_square(square):
    """Five edges: the diagonal has two faces, the four sides one."""
    edges = ContourEdges(square[1].faces)
    assert sorted(map(tuple, edges.ends.tolist())) == [(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)]
    open_sides = (edges.sides[:, 1] < 0).tolist()
    assert [tuple(e) for e, o in zip(edges.ends.tolist(), open_sides, strict=True) if not o] == [(0, 2)]


def test_edge_with_three_faces_keeps_all_of_them():
    faces = torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]])
    edges = ContourEdges(faces)
    shared = (edges.ends == torch.tensor([0, 1])).all(1)
    assert edges.sides[shared].tolist() == [[0, 1], [2, -1]]
