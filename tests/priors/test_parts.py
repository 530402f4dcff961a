"""Networks run on long batches in parts."""

import torch

from avatargen.priors.parts import in_parts


def test_no_part_is_larger_than_the_limit():
    sizes = []

    def network(first, second):
        sizes.append(len(first))
        return first - second

    made = in_parts(network, 2, torch.arange(5) * 10, torch.arange(5))
    assert made.tolist() == [0, 9, 18, 27, 36]
    assert max(sizes) <= 2
