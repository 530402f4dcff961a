"""Pools and manifests."""

import json

import pytest

from avatargen.config.errors import InputError
from avatargen.io.manifest import read_manifests
from eval.pools import build_pools, geometry_caption


def test_captions_are_unique_and_negatives_join_the_texture_pool(make_row):
    rows = [make_row("a"), make_row("b"), make_row("a", method="template"), make_row("c", prompt="head b")]
    pools = build_pools(rows, negatives=["head a", "head z"])
    assert pools["texture"].captions == ("head a", "head b", "head z")
    assert pools["texture"].own[("tiny", "b", 0)] == pools["texture"].own[("tiny", "c", 0)] == 1
    assert pools["texture"].chance == pytest.approx(1 / 3)
    assert pools["geometry"].captions == ("head a", "head b")


def test_geometry_captions_are_shared_by_what_looks_alike(make_row):
    rows = [
        make_row("a", geometry="a bald man"),
        make_row("b", tags=("skin=green", "geometry=a bald man")),
        make_row("c"),
    ]
    pool = build_pools(rows, geometry_captions=["a baby"], geometry_list="shapes")["geometry"]
    assert pool.captions == ("a bald man", "head c", "a baby")
    assert pool.own == {("tiny", "a", 0): 0, ("tiny", "b", 0): 0, ("tiny", "c", 0): 1}
    assert pool.name == "tiny+shapes"


def test_colours_are_no_part_of_a_geometry_caption_where_the_world_knows_the_words(make_row):
    green = "a smiling old man with green skin and a pink mohawk"
    assert geometry_caption(make_row(prompt=green)) == "a smiling old man with a mohawk"
    assert geometry_caption(make_row(prompt=green, geometry="an old man")) == "an old man"
    assert geometry_caption(make_row(prompt=green, tags=("truth=none",))) == green
    assert geometry_caption(make_row(prompt="a green Viking")) == "a green Viking"


def test_manifests_report_all_problems(tmp_path, make_row):
    good = make_row().model_dump_json()
    path = tmp_path / "0.jsonl"
    path.write_text("\n".join([good, good, "{", json.dumps({"id": "x"})]), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_manifests([path, tmp_path / "1.jsonl"])
    assert len(caught.value.problems) == 4
    path.write_text(good + "\n\n", encoding="utf-8")
    assert read_manifests([path]) == [make_row()]
