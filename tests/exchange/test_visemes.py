"""Visemes are sums of ARKit's shapes."""

import pytest
import torch

from avatargen.exchange.visemes import EXTRAS, VISEMES, mix_of, viseme_targets
from avatargen.heads.flame.arkit import NAMES

OCULUS = ("sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "I", "O", "U")


def test_names_are_those_of_oculus_in_their_order():
    assert tuple(VISEMES) == tuple(f"viseme_{name}" for name in OCULUS)


@pytest.mark.parametrize("shape", [*VISEMES, *EXTRAS])
def test_parts_are_shapes_of_arkit(shape):
    assert set(mix_of(shape)) <= set(NAMES) and all(0 < value <= 1 for value in mix_of(shape).values())


def test_displacements_are_the_weighted_sums():
    draw = torch.Generator().manual_seed(0)
    moves = {name: torch.randn(5, 3, generator=draw) for name in NAMES}
    made = viseme_targets(moves)
    assert set(made) == {*VISEMES, *EXTRAS} and not made["viseme_sil"].any()
    assert torch.allclose(
        made["viseme_TH"], 0.6 * moves["mouthRollUpper"] + 0.2 * moves["jawOpen"] + 0.4 * moves["tongueOut"]
    )
    sided = moves["mouthPressLeft"] + moves["mouthPressRight"]
    low = moves["mouthLowerDownLeft"] + moves["mouthLowerDownRight"]
    assert torch.allclose(made["viseme_SS"], 0.8 * sided + 0.5 * low + 0.1 * moves["jawOpen"], atol=1e-6)


def test_a_viseme_that_lacks_a_part_is_left_out():
    """Half a viseme would look like another one."""
    made = viseme_targets({"jawOpen": torch.ones(2, 3), "mouthFunnel": torch.ones(2, 3)})
    assert set(made) == {"viseme_sil", "viseme_aa", "viseme_U", "mouthOpen"}
