"""Pools of captions."""

import pytest

from avatargen.config.errors import InputError
from avatargen.config.pools import TRACKS
from eval.pools import build_pools, own_caption, read_pools

A, B, C = (("tiny", item, 0) for item in "abc")


def texts(pool, unit):
    """Return the own caption of an avatar, and its rivals."""
    return pool.captions[pool.own[unit]], [pool.captions[index] for index in pool.rivals[unit]]


def test_classical_pools_are_unique_and_negatives_join_texture(make_row):
    rows = [make_row("a"), make_row("b"), make_row("a", method="template"), make_row("c", prompt="head b")]
    pools = build_pools(rows, negatives=["head a", "head z"])
    assert tuple(pools) == ("texture", "geometry")
    assert pools["texture"].captions == ("head a", "head b", "head z")
    assert texts(pools["texture"], A) == ("head a", ["head b", "head z"])
    assert texts(pools["texture"], B) == texts(pools["texture"], C) == ("head b", ["head a", "head z"])
    assert pools["texture"].size(A) == 3 and pools["texture"].chance(A) == pytest.approx(1 / 3)
    assert pools["geometry"].captions == ("head a", "head b") and pools["geometry"].name == "tiny"
    assert pools["texture"].name == "tiny+negatives" and dict(pools["texture"].rivals) == {
        A: (1, 2),
        B: (0, 2),
        C: (0, 2),
    }


def test_avatars_share_geometry_captions(make_row):
    rows = [
        make_row("a", geometry="a bald man"),
        make_row("b", tags=("skin=green", "geometry=a bald man")),
        make_row("c"),
    ]
    pool = build_pools(rows)["geometry"]
    assert pool.captions == ("a bald man", "head c")
    assert pool.own == {A: 0, B: 0, C: 1}
    assert texts(pool, A) == ("a bald man", ["head c"])


def test_geometry_captions_of_the_closed_world_lose_colours(make_row):
    green = "a smiling old man with green skin and a pink mohawk"
    assert own_caption(make_row(prompt=green), "geometry") == "a smiling old man with a mohawk"
    assert own_caption(make_row(prompt=green), "shape_in_colour") == green
    assert own_caption(make_row(prompt=green, geometry="an old man"), "geometry") == "an old man"
    assert own_caption(make_row(prompt=green, tags=("truth=none",)), "geometry") == green
    assert own_caption(make_row(prompt="a green Viking"), "geometry") == "a green Viking"


def stated(*items):
    return {(item, track): (f"{track} of {item}", "shared") for item in items for track in TRACKS}


def test_stated_pools_are_the_own_caption_and_exactly_the_rows(make_row):
    rows = [make_row("a"), make_row("a", seed=1), make_row("b")]
    pools = build_pools(rows, rivals={"tiny": stated("a", "b", "z")})
    assert tuple(pools) == TRACKS
    for track, pool in pools.items():
        assert texts(pool, A) == texts(pool, ("tiny", "a", 1)) == ("head a", [f"{track} of a", "shared"])
        assert texts(pool, B) == ("head b", [f"{track} of b", "shared"]) and pool.chance(B) == pytest.approx(1 / 3)
        assert pool.captions == ("head a", "head b", f"{track} of a", "shared", f"{track} of b")
        assert pool.name == "tiny.pools"


def test_lists_without_a_file_compete_among_themselves(make_row):
    """And `shape_in_colour` is left out: not every avatar has captions for it."""
    other = make_row("d").model_copy(update={"list": "mine"})
    pools = build_pools([make_row("a"), other], ["z"], {"tiny": stated("a")})
    assert tuple(pools) == ("texture", "geometry")
    assert texts(pools["texture"], A) == ("head a", ["texture of a", "shared"])
    assert texts(pools["texture"], ("mine", "d", 0)) == ("head d", ["z"])
    assert pools["geometry"].size(("mine", "d", 0)) == 1
    assert pools["texture"].name == "mine+tiny.pools+negatives"


def test_prompts_that_a_pools_file_lacks_are_reported(make_row):
    with pytest.raises(InputError, match=r"tiny: got no captions of 'b' in track 'texture'; .*tiny\.pools\.tsv"):
        build_pools([make_row("a"), make_row("b")], rivals={"tiny": stated("a")})


def test_pools_are_read_from_beside_the_lists(make_row, tmp_path):
    few, mine = tmp_path / "few.tsv", tmp_path / "mine.txt"
    few.write_text("id\tprompt\na\ta man with green skin\nb\ta girl\n")
    rows = "".join(f"{item}\t{track}\ta rival of {item}\n" for item in "ab" for track in TRACKS)
    (tmp_path / "few.pools.tsv").write_text("id\ttrack\tcaption\n" + rows)
    mine.write_text("head c\n")
    (tmp_path / "mine.negatives.txt").write_text("head y\n")
    row = make_row("a", prompt="a man with green skin").model_copy(update={"list": "few"})
    assert [pool.captions for pool in read_pools([row], {"few": few}).values()] == [
        ("a man with green skin", "a rival of a"),
        ("a man with green skin", "a rival of a"),
        ("a man", "a rival of a"),
    ]
    both = read_pools([row, make_row("c").model_copy(update={"list": "mine"})], {"few": few, "mine": mine})
    assert texts(both["texture"], ("mine", "c", 0)) == ("head c", ["head y"])
    (tmp_path / "few.pools.tsv").write_text("id\ttrack\tcaption\n" + rows + "a\tgeometry\ta man\n")
    (tmp_path / "mine.negatives.txt").write_bytes(b"\xe9")
    with pytest.raises(InputError) as caught:
        read_pools([row], {"few": few, "mine": mine})
    assert "the own caption of 'a' in geometry" in caught.value.problems[0] and "UTF-8" in caught.value.problems[1]
