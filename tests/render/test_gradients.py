"""Gradients of features, depth and normals of every renderer against finite differences.

Only pixels whose visible faces do not change count, without soft blending; the gradients of coverage and of soft
rasterisation are tested elsewhere.
"""

import pytest
import torch

SIZE = 20  # pixels
STEP = 1e-4  # metres times the displacement field, which is at most about 1


@pytest.fixture(scope="module")
def scene(make, sphere, cameras):
    vertices, topology = sphere
    generator = torch.Generator().manual_seed(1)
    texture = torch.rand(1, 3, 6, 6, generator=generator)
    attributes = torch.rand(1, vertices.shape[1], 2, generator=generator)
    field = torch.sin(torch.rand(1, 1, 3, generator=generator) * 4 + 20 * vertices.roll(1, -1))
    return vertices, make(topology), cameras([10.0, 200.0], [5.0, -30.0]), texture, attributes, field


def outputs(scene, vertices, source="texture", **options):
    _, renderer, view, texture, attributes, _ = scene
    table = {"texture": texture} if source == "texture" else {"attributes": attributes}
    return renderer.render(vertices, view, SIZE, **table, **{"gradients": False, **options})


def unchanged(scene, shapes, samples):
    """Return the pixels (1, V, 1, SIZE, SIZE) in which every sample hits the same face in all shapes."""
    _, renderer, view, *_ = scene
    first, *others = (renderer.render(shape, view, SIZE * samples, gradients=False).face_ids for shape in shapes)
    same = (first >= 0) & torch.stack([first == other for other in others]).all(0)
    return same.unflatten(2, (SIZE, samples)).unflatten(4, (SIZE, samples)).all(5).all(3)[:, :, None]


@pytest.mark.parametrize(
    ("name", "source"),
    [("features", "texture"), ("features", "attributes"), ("depth", "texture"), ("normals", "texture")],
)
@pytest.mark.parametrize("samples", [1, 2])
def test_gradient_of_vertices_against_finite_differences(scene, name, source, samples):
    vertices, field = scene[0].clone().requires_grad_(), scene[-1]
    here = outputs(scene, vertices, source, samples=samples)
    with torch.no_grad():
        after = outputs(scene, vertices + STEP * field, source, samples=samples)
        before = outputs(scene, vertices - STEP * field, source, samples=samples)
        same = unchanged(scene, [vertices + sign * STEP * field for sign in (-1, 0, 1)], samples)
        weight = torch.rand(getattr(here, name).shape, generator=torch.Generator().manual_seed(2)) * same
        numeric = ((getattr(after, name) - getattr(before, name)) * weight).sum() / (2 * STEP)
    assert same.float().mean() > 0.15
    (gradient,) = torch.autograd.grad((getattr(here, name) * weight).sum(), vertices)
    assert (gradient * field).sum().item() == pytest.approx(numeric.item(), rel=0.02)


def test_gradient_of_the_texture_is_exact(scene):
    """Features are linear in the texture, so a finite difference of any size is exact."""
    vertices, renderer, view, texture, _, _ = scene
    leaf = texture.clone().requires_grad_()
    change = torch.rand(texture.shape, generator=torch.Generator().manual_seed(3))
    features = renderer.render(vertices, view, SIZE, texture=leaf, samples=2, gradients=False).features
    weight = torch.rand(features.shape, generator=torch.Generator().manual_seed(4))
    moved = renderer.render(vertices, view, SIZE, texture=texture + change, samples=2, gradients=False).features
    (gradient,) = torch.autograd.grad((features * weight).sum(), leaf)
    expected = ((moved - features) * weight).sum().item()
    assert (gradient * change).sum().item() == pytest.approx(expected, rel=1e-4)


def test_interior_gradient_can_be_switched_off(scene):
    vertices = scene[0].clone().requires_grad_()
    output = outputs(scene, vertices, gradients=True, interior="none")
    (gradient,) = torch.autograd.grad(output.coverage.sum(), vertices)
    assert gradient.any()
    assert not any(part.requires_grad for part in (output.features, output.depth, output.normals))


def test_normals_alone_can_have_gradients(scene):
    vertices = scene[0].clone().requires_grad_()
    output = outputs(scene, vertices, gradients=True, interior="normals")
    assert not any(part.requires_grad for part in (output.features, output.depth))
    weight = torch.rand(output.normals.shape, generator=torch.Generator().manual_seed(3))
    (gradient,) = torch.autograd.grad((output.normals * weight).sum(), vertices)
    hit = output.coverage.expand_as(output.normals) > 0.999
    step = 1e-5 * gradient / gradient.abs().max()
    ends = [outputs(scene, scene[0] + sign * step, gradients=True).normals for sign in (1, -1)]
    moved = ((ends[0] - ends[1]) * weight)[hit].sum().item()
    assert moved > 0


def test_normals_are_zero_if_not_computed(scene):
    output = outputs(scene, scene[0], normals=False)
    assert output.normals.shape == (1, 2, 3, SIZE, SIZE) and not output.normals.any()
