"""Confusions by attribute, computed by hand."""

import numpy as np
import pandas as pd

from avatargen.headworld.attributes import VALUES
from eval.confusions import CONFUSIONS, confusions, differing
from eval.plots import plot_confusions

BOY = "a smiling boy with a bun"


def records(*lines) -> pd.DataFrame:
    columns = ("method", "judge", "track", "rank", "caption", "taken_for")
    return pd.DataFrame([("full", "clip", "texture", *line) for line in lines], columns=columns)


def test_heads_differ_in_visible_attributes():
    assert differing(BOY, "an angry girl with a bun") == ("sex", "expression")
    assert differing("a sleeping man with blue eyes", "a sleeping man") == ()  # closed
    assert differing("a man with green skin", "a stone statue of a man") == ("skin", "material")
    assert differing(BOY, "a teapot") == differing("a teapot", BOY) == differing(BOY, "") == ()


def test_fractions_are_of_known_captions():
    table = confusions(
        records(
            (1, BOY, ""),
            (2, BOY, "an angry girl with a bun"),
            (5, "an old man", "a smiling old man"),
            (9, "a man", ""),  # failed
            (4, "a teapot", "a kettle"),
        )
    )
    row = table.set_index("method").loc["full"]
    assert (row["n"], row["missed"], row["expression"], row["sex"]) == (4, 0.75, 0.5, 0.25)
    assert np.all([row[name] == 0 for name in VALUES if name not in ("expression", "sex")])


def test_captions_of_other_worlds_give_an_empty_table():
    table = confusions(records((2, "a teapot", "a kettle")))
    assert table.empty and tuple(table.columns) == CONFUSIONS


def test_the_plot_shows_confused_attributes_of_each_track():
    texture = confusions(records((1, BOY, ""), (2, BOY, "a smiling girl with a bun")))
    figure = plot_confusions(pd.concat([texture, texture.assign(track="geometry", sex=0.0, hair=0.25)]), ["full"])
    columns = [[label.get_text() for label in axis.get_xticklabels()] for axis in figure.axes]
    cells = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert columns == [["not first", "sex"], ["not first", "hair"]] and cells == [["50", "50"], ["50", "25"]]


def test_the_plot_leaves_out_tracks_without_known_captions():
    figure = plot_confusions(confusions(records((2, BOY, "a smiling girl with a bun"))), ["full"])
    assert [len(axis.texts) for axis in figure.axes] == [2]


def test_methods_are_confused_on_the_same_prompts():
    lines = records((2, BOY, "a smiling girl with a bun"), (1, BOY, ""), (1, BOY, ""))
    lines["method"], lines["subset"] = ["full", "full", "bare"], ["all", "all few", "few"]
    table = confusions(lines)
    assert table[["subset", "method", "missed"]].values.tolist() == [
        ["all", "full", 0.5],
        ["few", "full", 0.0],
        ["few", "bare", 0.0],
    ]
    labels = [label.get_text() for label in plot_confusions(table, ["bare", "full"]).axes[0].get_yticklabels()]
    assert labels == ["full · all", "bare · few", "full · few"]
