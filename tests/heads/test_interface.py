"""The contract that every head model fulfils, see `HeadModel`."""

from dataclasses import replace

import pytest
import torch
from scipy.spatial import cKDTree

from avatargen.heads.face_points import FacePoints
from avatargen.heads.skinning import joint_motions, skin

FIELDS = ["shape", "expression", "joints", "offsets"]


@pytest.fixture(scope="module")
def varied(head):
    """Two heads away from the template and from the kinks of the shape space."""
    draw = torch.Generator().manual_seed(3)
    low, high = head.shape_bounds
    span = high - low
    base = head.template(2)
    shape = low + span * (0.15 + 0.7 * torch.rand(base.shape.shape, generator=draw))
    return replace(
        base,
        shape=shape,
        expression=0.2 * torch.rand(base.expression.shape, generator=draw),
        joints=0.3 * torch.randn(base.joints.shape, generator=draw),
        offsets=1e-3 * torch.randn(base.offsets.shape, generator=draw),
    )


@pytest.fixture(scope="module")
def template_points(head):
    return head.canonical(head.template(1).shape)[0]


def test_sizes_agree(head):
    check_sizes(head)


def check_sizes(head):
    vertices = head.canonical(head.template(1).shape).shape[1]
    topology = head.topology
    assert topology.faces.min() == 0 and topology.faces.max() == vertices - 1
    assert topology.face_uvs.min() == 0 and topology.face_uvs.max() == len(topology.uvs) - 1
    assert all(mask.shape == (vertices,) for mask in topology.regions.values())
    assert head.shape_bounds.shape == (2, len(head.shape_names))
    assert head.expression_bounds.shape == (2, len(head.expression_names))
    for names in (head.shape_names, head.expression_names, head.joint_names):
        assert len(set(names)) == len(names)


def test_template_is_within_bounds_and_centred(head):
    low, high = head.shape_bounds
    assert ((low <= head.shape_template) & (head.shape_template <= high)).all()
    points = head.canonical(head.template(1).shape)[0]
    resampled = head.id.endswith(("-coarse", "-fine"))  # the origin is that of the head it is made of
    assert ((points.max(dim=0).values + points.min(dim=0).values) / 2).abs().max() < (5e-4 if resampled else 1e-5)


def test_eyes_and_chin_are_points_of_the_face(head, template_points):
    points = FacePoints.of(head)
    right, left, chin = template_points[[points.right, points.left, points.chin]]
    eyes = points.eyes(template_points[None])[0]
    assert right[0] < -0.01 and left[0] > 0.01 and eyes[0].abs() < 2e-3 and chin[0].abs() < 0.01
    assert head.topology.regions["eyes"][[points.right, points.left]].all()
    assert 0.05 < eyes[1] - chin[1] < 0.15 and min(eyes[2], chin[2]) > 0.02


def test_rest_is_canonical_and_offsets_add(head, varied):
    rest = replace(varied.neutral(), offsets=torch.zeros_like(varied.offsets))
    canonical = head.canonical(varied.shape)
    assert torch.allclose(head.vertices(rest), canonical, atol=1e-6)
    lifted = head.vertices(replace(rest, offsets=varied.offsets))
    assert torch.allclose(lifted, canonical + varied.offsets, atol=1e-6)


def test_offsets_are_interpolated_like_the_surface(head, template_points):
    """The template's points give its vertices; no offset grows, and no bit depends on the rest of the batch."""
    points = head.offset_points()
    assert torch.allclose(head.interpolate_offsets(points[None])[0], template_points, atol=1e-6)
    drawn = torch.randn(3, *points.shape, generator=torch.Generator().manual_seed(1))
    full = head.interpolate_offsets(drawn)
    assert (full.abs().amax((1, 2)) <= drawn.abs().amax((1, 2)) + 1e-6).all()
    assert torch.equal(head.interpolate_offsets(drawn[[2]])[0], full[2])


def test_proxy_vertices_move_with_those_of_the_head(head, varied, template_points):
    proxy, drawn = head.proxy(), torch.Generator().manual_seed(4)
    check_sizes(proxy)
    away, own = cKDTree(template_points).query(proxy.canonical(proxy.template(1).shape)[0])
    assert away.max() < 1e-6 and torch.equal(proxy.offset_points(), head.offset_points())
    moved = 1e-3 * torch.randn(2, *head.offset_points().shape, generator=drawn)
    here, there = (h.vertices(replace(varied, offsets=h.interpolate_offsets(moved))) for h in (proxy, head))
    assert torch.allclose(here, there[:, own], atol=1e-6)


def test_poses_are_rig_and_correctives(head, varied):
    """Skinning by the rig of the vertices with correctives gives the model's own; at rest there are none."""
    parameters = replace(varied, expression=torch.zeros_like(varied.expression))
    wanted, rest = head.vertices(parameters), head.canonical(varied.shape) + head.correctives(varied.joints)
    for row, shape in enumerate(varied.shape):
        rig = head.rig(shape)
        motions = joint_motions(varied.joints[row][None], rig.pivots[None], rig.parents)
        neutral = (rest[row] + varied.offsets[row]).T[None]
        assert torch.allclose(skin(neutral, motions, rig.weights)[0].T, wanted[row], atol=1e-6)
    assert not head.correctives(torch.zeros_like(varied.joints)).any()


def test_actions_are_poses_with_names_of_their_own(head):
    for name, action in head.actions().items():
        assert name not in head.expression_names
        assert action.expression.shape == (len(head.expression_names),)
        assert action.joints.shape == (len(head.joint_names), 3)
        assert action.expression.any() or action.joints.any()


def test_a_head_does_not_depend_on_its_batch(head, varied):
    both, alone = head.vertices(varied), head.vertices(varied[1:])
    assert torch.allclose(both[1:], alone, atol=1e-6)


@pytest.mark.parametrize("name", FIELDS)
def test_gradient_matches_finite_differences(head, varied, name):
    draw = torch.Generator().manual_seed(5)
    at = getattr(varied, name)
    probe = torch.randn(varied.offsets.shape, generator=draw)
    direction = torch.randn(at.shape, generator=draw)

    def value(tensor):
        return (head.vertices(replace(varied, **{name: tensor})) * probe).double().sum()

    leaf = at.clone().requires_grad_()
    value(leaf).backward()
    step = {"shape": 2e-4, "joints": 5e-4}.get(name, 1e-2)
    numeric = (value(at + step * direction) - value(at - step * direction)) / (2 * step)
    scale = leaf.grad.norm() * direction.norm()
    assert abs(numeric - (leaf.grad * direction).sum()) < 0.005 * scale


def test_coefficients_are_set_by_name(head):
    name = head.shape_names[0]
    high = head.shape_bounds[1, 0].item()
    shape = head.shape_from(**{name.replace("-", "_"): high})
    assert shape[0] == high and torch.equal(shape[1:], head.shape_template[1:])
    assert head.expression_from(**{head.expression_names[3]: 0.5})[3] == 0.5
    with pytest.raises(ValueError, match=f"did you mean .*{name}") as caught:
        head.shape_from(**{name + "x": 0.0, name: high + 1})
    assert f"{name}: got {high + 1:g}; expected a value in [" in str(caught.value)
