"""The reference page shows the numbers of the tables beside it."""

import re
from pathlib import Path

import pandas as pd
import pytest

from avatargen.config.places import ROOT
from eval.tables import MARK

REFERENCE = ROOT / "results/reference"
JUDGES = ("mini", "guide")
TRACKS = ("texture", "shape_in_colour", "geometry")
FRONT = [(track, name, digits) for track in ("texture", "geometry") for name, digits in (("margin", 3), ("r_at_1", 2))]
DECIMALS = {"margin": 4, "clip_score": 4, "colour_error": 4, "geometry_mm": 2}
MEASURES = {
    "margin": "margin",
    "clip_score": "CLIP score",
    "colour_error": "colour error",
    "geometry_mm": "geometry error, mm",
}


def rows_below(heading: str, page: Path = REFERENCE / "README.md") -> list[str]:
    """Return the rows of the first table below a heading of a page, without its head."""
    page = page.read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(heading)}.*?\n\|[-|]+\|\n(.*?)\n\n", page, re.MULTILINE | re.DOTALL)
    assert found, f"no table below {heading!r}"
    return found.group(1).split("\n")


def read(folder: str, name: str, subset: str = "") -> pd.DataFrame:
    table = pd.read_csv(REFERENCE / folder / f"{name}.csv")
    return table[table["subset"] == subset] if subset else table


def hits(scores: pd.DataFrame, method: str, track: str) -> str:
    """Return R@1 by each judge; a dash where a CLIP guided the method, a mark where a judge is no measure."""
    rows = scores[(scores["method"] == method) & (scores["track"] == track)].set_index("judge")
    shares = [f"{rows.loc[judge, 'r_at_1']:.2f}" if judge in rows.index else "–" for judge in JUDGES]
    return " / ".join(shares) + (MARK if rows["ceiling_inverted"].any() else "")


def signed(value: float, metric: str) -> str:
    return f"{value:+.{DECIMALS[metric]}f}".replace("-", "−")


def level(q: float) -> str:
    return "< 0.001" if q < 0.0005 else f"{q:.3f}" if q < 0.1 else f"{q:.2f}"


def amount(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}" if value > 1e-3 else "0"


@pytest.mark.parametrize(
    ("heading", "folder", "subset", "measures"),
    [
        ("R@1 among 24 captions", "embedded", "all", {"geometry_mm_mean": 1}),
        ("48 prompts, one seed", "study", "48x1", {"geometry_mm_mean": 1, "colour_error": 3}),
    ],
)
def test_scores_are_those_of_the_tables(heading, folder, subset, measures):
    scores, truth = read(folder, "clip_r", subset), read(folder, "truth", subset).set_index("method")
    rows = rows_below(heading)
    methods = [row.split("`")[1] for row in rows]
    expected = [
        [*(hits(scores, method, track) for track in TRACKS)]
        + [amount(truth.loc[method, name], decimals) for name, decimals in measures.items()]
        for method in methods
    ]
    assert rows == [f"| `{name}` | {' | '.join(cells)} |" for name, cells in zip(methods, expected, strict=True)]
    assert {*methods} >= {"full", "oracle", "template", "texture_only", "no_segmentation", "no_shading_cue"}


def test_the_front_page_shows_the_default_experiment():
    """By the first judge: margin and R@1 in colour and of the shape, distance, colour error."""
    scores, truth = read("embedded", "clip_r"), read("embedded", "truth").set_index("method")
    scores = scores[scores["judge"] == JUDGES[0]].set_index(["track", "method"])
    rows = rows_below("## Results", ROOT / "README.md")
    for row in rows:
        method, cells = row.split("`")[1], row.strip("| ").split(" | ")[1:]
        expected = [f"{scores.loc[(track, method), name]:.{digits}f}" for track, name, digits in FRONT]
        expected += [
            amount(truth.loc[method, name], digits) for name, digits in (("geometry_mm_mean", 1), ("colour_error", 3))
        ]
        assert [cell.replace("−", "-") for cell in cells] == expected, method
    assert [row.split("`")[1] for row in rows] == [
        "oracle",
        "true_texture",
        "true_shape",
        "full",
        "texture_only",
        "template",
    ]


def test_claims_are_those_of_the_table():
    """In one row for each: claim and method where they change, measure, difference, q, verdict."""
    expected, last = [], ("", "")
    for line in read("study", "claims").itertuples():
        first, last = (line.claim, line.method) != last, (line.claim, line.method)
        mark = MARK if line.ceiling_inverted else ""
        by = "" if line.judge == "truth" else f", {line.track.replace('_', ' ')}, `{line.judge}`{mark}"
        difference, q = signed(line.difference, line.metric), level(line.q)
        about = (line.claim, f"`{line.method}`") if first else ("…", "")
        expected.append("| " + " | ".join((*about, MEASURES[line.metric] + by, difference, q, line.verdict)) + " |")
    assert rows_below("### The paper's claims") == expected


def test_differences_of_parts_are_those_of_the_table():
    """Difference to the baseline, and q, of the measures that the head of the table names."""
    paired = read("study", "paired").set_index(["metric", "track", "judge", "method"])
    measures = [("geometry_mm", "geometry", "truth"), ("colour_error", "texture", "truth")]
    measures += [("margin", track, JUDGES[0]) for track in ("texture", "geometry")]
    rows = rows_below("### Parts of the method")
    methods = [row.split("`")[1] for row in rows]
    expected = [[paired.loc[(*measure, method)] for measure in measures] for method in methods]
    cells = [
        [
            f"{signed(cell['difference'], metric)} ({level(cell['q'])})"
            for cell, (metric, *_) in zip(line, measures, strict=True)
        ]
        for line in expected
    ]
    assert rows == [f"| `{name}` | {' | '.join(line)} |" for name, line in zip(methods, cells, strict=True)]
    assert all(cell["n"] == 24 for line in expected for cell in line) and len(rows) == 9
