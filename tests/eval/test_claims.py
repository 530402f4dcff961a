"""Claims are compared with paired differences."""

import pandas as pd
import pytest

from avatargen.config.loading import load_methods
from eval.claims import CLAIMS, HIGHER_IS_BETTER, check_claims, verdict
from eval.paired import METRICS, TRUTH_TRACKS


@pytest.mark.parametrize(
    ("metric", "difference", "q", "least_q", "expected"),
    [
        ("geometry_mm", 0.4, 0.049, 0.0005, "holds"),  # a longer distance is worse
        ("geometry_mm", -0.4, 0.049, 0.0005, "refuted"),
        ("margin", -0.2, 0.01, 0.0005, "holds"),
        ("margin", 0.2, 0.01, 0.0005, "refuted"),
        ("clip_score", -0.2, 0.05, 0.0005, "not shown"),
        ("clip_score", -0.2, 0.031, 0.03125, "holds"),  # 6 prompts differ
        ("clip_score", -0.2, 0.0625, 0.0625, "untestable"),  # 5 prompts differ
        ("margin", 0.0, 1.0, 1.0, "untestable"),
    ],
)
def test_verdicts(metric, difference, q, least_q, expected):
    assert verdict(metric, difference, q, least_q) == expected


def paired_rows(*lines):
    base = {"method": "no_segmentation", "baseline": "full", "n": 12, "n_differ": 12, "least_p": 2 / 2**12}
    names = ("judge", "track", "metric", "difference", "p")
    return pd.DataFrame([{**base, "p_at_floor": False, **dict(zip(names, line, strict=True))} for line in lines])


def test_many_claims_on_few_prompts_are_untestable():
    """Eight prompts that all differ give p = 2 / 2^8 at least; Holm's correction of ten such claims gives 0.078."""
    methods = ("no_shading_cue", "no_segmentation", "joint_from_start", "geometry_only", "texture_only", "clip_guided")
    rows = [
        paired_rows(("one", track, "margin", -0.2, 2 / 2**8)).assign(method=method, least_p=2 / 2**8)
        for method in methods
        for track in ("texture", "geometry")
    ]
    table = check_claims(pd.concat(rows, ignore_index=True))
    assert len(table) > 7 and (table["least_q"] == len(table) * 2 / 2**8).all()
    assert set(table["verdict"]) == {"untestable"}
    assert set(check_claims(rows[1])["verdict"]) == {"holds"}


def test_a_claim_has_a_row_for_each_metric_and_judge():
    table = check_claims(
        paired_rows(
            ("one", "geometry", "margin", -0.2, 0.001),
            ("two", "geometry", "margin", -0.1, 0.03),
            ("truth", "geometry", "geometry_mm", -1.0, 0.001),
            ("one", "texture", "margin", -0.2, 0.001),
        )
    )
    expected = [["one", "margin", "holds"], ["two", "margin", "holds"], ["truth", "geometry_mm", "refuted"]]
    assert table[["judge", "metric", "verdict"]].values.tolist() == expected
    assert check_claims(paired_rows(("one", "texture", "margin", 1.0, 0.5))).empty


def test_verdicts_are_corrected_within_their_family():
    """Margins by the first judge are the headline (Holm); all other rows the claims (Benjamini-Hochberg)."""
    lines = [("one", "geometry", "margin", -0.2, 0.03), ("two", "geometry", "margin", -0.2, 0.03)]
    rows = paired_rows(*lines, ("truth", "geometry", "geometry_mm", 1.0, 0.04))
    more = rows[:1].assign(method="texture_only")
    table = check_claims(pd.concat([rows, more], ignore_index=True))
    assert table["family"].tolist() == ["headline", "claims", "claims", "headline"]
    assert table["q"].tolist() == pytest.approx([0.06, 0.04, 0.04, 0.06])
    assert table["verdict"].tolist() == ["not shown", "holds", "holds", "not shown"]


def test_the_texture_and_the_outline_have_claims_of_their_own():
    tracks = {claim.text: claim.track for claim in CLAIMS if claim.method == "texture_only"}
    assert tracks["moving geometry helps the texture"] == "texture"
    assert tracks["moving geometry shows in colour renders"] == "shape_in_colour"


def test_claims_are_about_known_methods_and_metrics():
    assert {claim.method for claim in CLAIMS} <= set(load_methods())
    metrics = {metric for claim in CLAIMS for metric in claim.metrics}
    assert metrics <= {*METRICS, *TRUTH_TRACKS} and metrics <= HIGHER_IS_BETTER.keys()
