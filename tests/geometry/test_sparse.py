"""Sparse products against dense ones."""

import torch

from avatargen.geometry.sparse import SparseMap

ROWS, COLUMNS = torch.tensor([3, 0, 0, 3, 2]), torch.tensor([1, 2, 0, 0, 1])
VALUES = torch.tensor([0.5, -2.0, 1.0, 3.0, 4.0])
DENSE = torch.zeros(4, 3).index_put((ROWS, COLUMNS), VALUES)  # row 1 is empty


def test_product_and_gradient_equal_the_dense_ones():
    matrix = SparseMap.of(ROWS, COLUMNS, VALUES, (4, 3))
    found = []
    for product in (lambda table: matrix @ table, lambda table: DENSE @ table):
        table = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
        made = product(table)
        made.square().sum().backward()
        found.append((made.detach(), table.grad))
    for ours, dense in zip(*found, strict=True):
        torch.testing.assert_close(ours, dense)


def test_chosen_rows_come_in_the_given_order():
    order = torch.tensor([3, 1, 0])
    chosen = SparseMap.of(ROWS, COLUMNS, VALUES, (4, 3)).chosen(order)
    assert torch.equal(chosen @ torch.eye(3), DENSE[order])
