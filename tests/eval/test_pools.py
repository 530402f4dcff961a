"""Pools of captions."""

import pytest

from avatargen.config.experiment import Experiment
from eval.pools import build_pools, geometry_caption, read_pools


def test_pools_are_unique_and_negatives_join_the_texture_pool(make_row):
    rows = [make_row("a"), make_row("b"), make_row("a", method="template"), make_row("c", prompt="head b")]
    pools = build_pools(rows, negatives=["head a", "head z"])
    assert pools["texture"].captions == ("head a", "head b", "head z")
    assert pools["texture"].own[("tiny", "b", 0)] == pools["texture"].own[("tiny", "c", 0)] == 1
    assert pools["texture"].chance == pytest.approx(1 / 3)
    assert pools["geometry"].captions == ("head a", "head b")


def test_avatars_share_geometry_captions(make_row):
    rows = [
        make_row("a", geometry="a bald man"),
        make_row("b", tags=("skin=green", "geometry=a bald man")),
        make_row("c"),
    ]
    pool = build_pools(rows, geometry_captions=["a baby"], geometry_list="shapes")["geometry"]
    assert pool.captions == ("a bald man", "head c", "a baby")
    assert pool.own == {("tiny", "a", 0): 0, ("tiny", "b", 0): 0, ("tiny", "c", 0): 1}
    assert pool.name == "tiny+shapes"


def test_geometry_captions_of_the_head_world_lose_colours(make_row):
    green = "a smiling old man with green skin and a pink mohawk"
    assert geometry_caption(make_row(prompt=green)) == "a smiling old man with a mohawk"
    assert geometry_caption(make_row(prompt=green, geometry="an old man")) == "an old man"
    assert geometry_caption(make_row(prompt=green, tags=("truth=none",))) == green
    assert geometry_caption(make_row(prompt="a green Viking")) == "a green Viking"


def test_pools_are_read_from_files(make_row, tmp_path):
    (tmp_path / "tiny.negatives.txt").write_text("head y\n")
    (tmp_path / "shapes.tsv").write_text("id\tprompt\ttags\tgeometry\none\ta man with green skin\t\ta man\n")
    experiment = Experiment(experiment="x", lists=("tiny",), methods=("full",), geometry_pool="shapes")
    files = ([tmp_path / "tiny.negatives.txt"], [tmp_path / "shapes.tsv"])
    pools = read_pools(experiment, [make_row("a")], *files)
    assert pools["texture"].captions == ("head a", "head y") and pools["texture"].name == "tiny+negatives"
    assert pools["geometry"].captions == ("head a", "a man") and pools["geometry"].name == "tiny+shapes"
