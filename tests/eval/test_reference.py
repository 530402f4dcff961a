"""The reference page marks what falls under correction."""

import re

import pandas as pd
import pytest

from avatargen.config.places import ROOT
from eval.families import LEVEL, is_control, q_values

ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| `(\w+)` \| `(\w+)` \| ([\d.]+) \| ([\d.]+) \|$", re.MULTILINE)
KEY = ["method", "track", "metric", "judge"]


def test_the_page_lists_every_difference_that_falls():
    table = pd.read_csv(ROOT / "results/reference/paired.csv")
    table = table[~table["method"].map(is_control)].assign(family="methods")
    table["q"] = q_values(table)
    fallen = table[(table["p"] < LEVEL) & (table["q"] >= LEVEL)].set_index(KEY)
    page = (ROOT / "results/reference/README.md").read_text(encoding="utf-8")
    listed = {tuple(row[:4]): tuple(map(float, row[4:])) for row in ROW.findall(page)}
    assert listed.keys() == {*fallen.index}
    for key, values in listed.items():
        assert values == pytest.approx(tuple(fallen.loc[key, ["p", "q"]]), abs=5.1e-4)
    counts = (len(table), int((table["p"] < LEVEL).sum()), int((table["q"] < LEVEL).sum()))
    assert counts == tuple(
        int(number) for number in re.findall(r"Of its (\d+) .* (\d+) have p.*?(\d+)\nkeep", page, re.S)[0]
    )
