"""Adam with one second moment for each row, against values worked out by hand."""

import torch

from avatargen.method.row_adam import RowAdam


def test_first_step_has_unit_size_along_the_gradient():
    value = torch.zeros(2, 4, requires_grad=True)
    gradient = torch.tensor([[3.0, 0.0, 0.0, 4.0], [300.0, 0.0, 0.0, 400.0]])
    value.grad = gradient.clone()
    RowAdam([value], lr=0.1).step()
    expected = -0.1 * gradient[0] / 2.5  # 2.5: root mean square of (3, 0, 0, 4)
    assert torch.allclose(value.detach(), expected.expand(2, 4), atol=1e-6)


def test_equals_adam_for_rows_of_one_element():
    rows = [torch.randn(5, 1, generator=torch.Generator().manual_seed(k)) for k in range(6)]
    ours, theirs = (torch.zeros(5, 1, requires_grad=True) for _ in range(2))
    mine, adam = RowAdam([ours], lr=0.01), torch.optim.Adam([theirs], lr=0.01, betas=(0.9, 0.99))
    for row in rows:
        ours.grad, theirs.grad = row.clone(), row.clone()
        mine.step()
        adam.step()
    assert torch.allclose(ours, theirs, atol=1e-7)


def test_rows_are_independent():
    def run(count):
        value = torch.zeros(count, 3, requires_grad=True)
        optimiser = RowAdam([value], lr=0.1)
        for k in range(4):
            value.grad = torch.stack(
                [torch.randn(3, generator=torch.Generator().manual_seed(10 * k + b)) * 9**b for b in range(count)]
            )
            optimiser.step()
        return value.detach()

    assert torch.equal(run(1)[0], run(3)[0])


def test_parameter_without_gradient_does_not_move():
    value = torch.ones(1, 2, requires_grad=True)
    RowAdam([value]).step()
    assert value.tolist() == [[1.0, 1.0]]
