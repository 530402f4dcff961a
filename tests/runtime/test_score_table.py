"""The table of scores that a run prints at its end."""

import pandas as pd
import pytest

from avatargen.runtime.score_table import HEADLINE, WIDTH, score_table
from eval import summaries

TRACKS = ("texture", "shape_in_colour", "geometry")


@pytest.fixture
def write(tmp_path):
    """A function that writes the tables; `methods` gives (margin, R@1, low, high) by subset and method."""

    def run(methods, tracks=TRACKS, failed=0):
        rows = [
            {"method": method, "judge": judge, "track": track, "subset": subset, "n": 12, "n_failed": failed}
            | {"pool": "24", "margin": margin, "r_at_1": rate, "r_at_1_noise_low": low, "r_at_1_noise_high": high}
            for judge in ("mini", "other")
            for track in tracks
            for (subset, method), (margin, rate, low, high) in methods.items()
        ]
        pd.DataFrame(rows).to_csv(tmp_path / "clip_r.csv", index=False)
        distances = [{"method": "full", "subset": "all", "geometry_mm_mean": 4.75}]
        pd.DataFrame(distances).to_csv(tmp_path / "truth.csv", index=False)
        return score_table(tmp_path, "mini")

    return run


def test_the_headline_is_that_of_the_tables():
    assert HEADLINE == summaries.HEADLINE


def test_a_line_has_margins_rates_and_the_distance(write):
    text = write({("all", "full"): (0.0123, 0.5, 0.5, 0.5), ("all", "template"): (-0.25, 0.25, 0.25, 0.42)})
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["judge", "'mini',", "pools", "of", "24"]
    assert lines[-2] == ["full", *["0.012", "0.50"] * 3, "4.8"]
    assert lines[-1] == ["template", *["-0.250", "0.25", "(0.25–0.42)"] * 3, "–"]
    assert "shape in colour" in text and "failed" not in text


def test_failures_are_counted_where_there_are_any(write):
    text = write({("all", "full"): (0.0123, 0.5, 0.5, 0.5)}, failed=2)
    assert text.splitlines()[2].split()[-1] == "failed" and text.splitlines()[3].split()[-1] == "2/12"


def test_each_subset_has_a_table(write):
    text = write({("all", "full"): (0.1, 0.5, 0.5, 0.5), ("12x1", "full"): (0.2, 0.6, 0.6, 0.6)})
    assert [line for line in text.splitlines() if "subset" in line] == [
        "judge 'mini', pools of 24, subset 'all'",
        "judge 'mini', pools of 24, subset '12x1'",
    ]
    assert text.count("full") == 2 and "0.200" in text


def test_three_tracks_fit_the_terminal(write):
    methods = {("all", name): (-0.123, 0.25, 0.25, 0.42) for name in ("full", "no_segmentation", "interior_gradient")}
    text = write(methods, failed=1)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert len(text.splitlines()) == 3 + len(methods)  # no cell is broken


def test_two_tracks_are_shown_where_there_is_no_third(write):
    assert "shape" not in write({("all", "full"): (0.1, 0.5, 0.5, 0.5)}, tracks=("texture", "geometry"))


def test_there_is_no_table_without_scores(write, tmp_path):
    write({("all", "full"): (0.1, 0.5, 0.5, 0.5)})
    assert score_table(tmp_path, "nobody") == score_table(tmp_path / "nowhere", "mini") == ""


@pytest.mark.parametrize(("pool", "told"), [("3", "pools of 3 (chance level 0.33)"), ("24", "pools of 24")])
def test_chance_level_of_small_pools_is_said(write, tmp_path, pool, told):
    write({("all", "full"): (0.0, 0.5, 0.5, 0.5)})
    table = pd.read_csv(tmp_path / "clip_r.csv", dtype=str).assign(pool=pool)
    table.to_csv(tmp_path / "clip_r.csv", index=False)
    assert score_table(tmp_path, "mini").splitlines()[0] == f"judge 'mini', {told}"
