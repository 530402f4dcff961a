"""The nearest head of a model, against heads whose nearest one is known."""

import pytest
import torch

from avatargen.heads.anny.head import AnnyHead
from eval.span import nearest_offsets, nearest_shape
from tests.eval.conftest import RADIUS


def even(head) -> torch.Tensor:
    return torch.ones(len(head.template(1).offsets[0]))


@pytest.mark.parametrize(("scale", "wanted"), [(1.04, 0.4), (0.93, -0.7), (1.25, 1.0), (0.5, -1.0)])
def test_sphere_is_as_large_as_the_bounds_let_it(head, scale, wanted):
    """The sphere's radius is 1 + 0.1 size, with a size of -1 to 1."""
    assert nearest_shape(head, scale * head.sphere, even(head)).item() == pytest.approx(wanted, abs=1e-3)


def test_weights_choose_what_is_fitted(head):
    """The upper half is 5 % larger, the lower half 5 % smaller."""
    up = head.sphere[:, 1] > 0
    target = torch.where(up[:, None], 1.05, 0.95) * head.sphere
    assert nearest_shape(head, target, up.float()).item() == pytest.approx(0.5, abs=1e-3)


def test_head_of_the_model_is_found():
    """Six coefficients, one at its bound, far from the template: 99 % of the vertices within 0.5 mm."""
    head = AnnyHead.load()
    shape = head.shape_from(
        age=0.9, gender=1.0, weight=0.8, **{"nose-scale-depth": 0.9, "ear-scale": -0.6, "chin-width": 0.5}
    )
    target = head.canonical(shape[None])[0]
    found = nearest_shape(head, target, even(head))
    apart = (head.canonical(found[None])[0] - target).norm(dim=-1)
    assert 1000 * apart.mean() < 0.1 and 1000 * apart.quantile(0.99) < 0.5
    assert ((found >= head.shape_bounds[0]) & (found <= head.shape_bounds[1])).all()


def test_offsets_reach_what_they_can_interpolate():
    head = AnnyHead.load()
    coarse = 0.01 * torch.randn(len(head.offset_points()), 3, generator=torch.Generator().manual_seed(0))
    wanted = head.interpolate_offsets(coarse[None])[0]
    apart = nearest_offsets(head, wanted, limit=0.06) - wanted
    assert 1000 * apart.norm(dim=-1).mean() < 0.2


def test_offsets_stop_at_their_limit(head):
    wanted = torch.full_like(head.sphere, 0.08)
    assert nearest_offsets(head, wanted, limit=0.06).max().item() == pytest.approx(0.06)
    assert RADIUS > 0.06
