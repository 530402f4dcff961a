"""How near the head model comes to one feature, at strengths that the published table has."""

import pandas as pd
import pytest

from avatargen.config.places import ROOT
from avatargen.config.plugins import HEADS, load_class
from eval.feature_sweep import sweep

TABLE = ROOT / "results/reference/questions/expressiveness/answer_features_by_strength.csv"


def test_offsets_take_over_where_the_span_ends():
    """A nose is a matter of coefficients until they are at their bounds; the table says where."""
    published = pd.read_csv(TABLE).set_index(["feature", "strength"]).loc["long nose"]
    found = sweep(load_class("head", "anny", HEADS).load(), 0.06, ("long nose",), (0.25, 2.0))
    for reached in found:
        expected = published.loc[reached.strength]
        assert reached.feature_mm == pytest.approx(expected["feature_mm"], rel=1e-3)
        assert reached.without_offsets_mm == pytest.approx(expected["without_offsets_mm"], rel=0.1, abs=1e-3)
        assert reached.with_offsets_mm == pytest.approx(expected["with_offsets_mm"], abs=1e-3)
    assert found[0].without_offsets_mm < 0.05 * found[0].feature_mm < found[1].without_offsets_mm
