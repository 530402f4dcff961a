"""Claims are compared with paired differences."""

import pandas as pd
import pytest

from avatargen.config.loading import load_methods
from eval.claims import CLAIMS, check_claims, verdict


@pytest.mark.parametrize(
    ("metric", "difference", "p", "expected"),
    [
        ("mean_rank", 3.0, 0.01, "holds"),  # a higher rank is worse
        ("mean_rank", -3.0, 0.01, "contrary"),
        ("geometry_mm", 0.4, 0.049, "holds"),
        ("r_at_1", -0.2, 0.01, "holds"),
        ("r_at_1", 0.2, 0.01, "contrary"),
        ("mean_rank", 3.0, 0.05, "not shown"),
        ("mean_rank", 0.0, float("nan"), "not shown"),
    ],
)
def test_verdicts(metric, difference, p, expected):
    assert verdict(metric, difference, p) == expected


def test_a_claim_has_a_row_for_each_metric_and_judge():
    base = {"method": "no_segmentation", "baseline": "full", "n": 12, "p": 0.001, "difference": 2.0}
    found = [("one", "geometry", "mean_rank"), ("truth", "geometry", "geometry_mm"), ("one", "texture", "mean_rank")]
    paired = pd.DataFrame([{**base, "judge": j, "track": t, "metric": m} for j, t, m in found])
    paired.loc[1, "difference"] = -1.0
    table = check_claims(paired)
    expected = [["one", "mean_rank", "holds"], ["truth", "geometry_mm", "contrary"]]
    assert table[["judge", "metric", "verdict"]].values.tolist() == expected
    assert check_claims(paired[:0]).empty


def test_claims_are_about_known_methods():
    assert {claim.method for claim in CLAIMS} <= set(load_methods())
