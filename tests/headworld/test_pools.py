"""Pools of the closed world: what the rivals of a prompt share with it, checked by parsing the captions."""

from dataclasses import replace

import numpy as np
import pytest

from avatargen.config.errors import InputError
from avatargen.config.places import ROOT
from avatargen.config.pools import TRACKS
from avatargen.config.prompts import read_list
from avatargen.headworld.attributes import SHAPE, VALUES, Attributes, sample
from avatargen.headworld.phrases import caption, geometry_caption, parse
from avatargen.headworld.pools import HARD, RIVALS, SWAPPED, read_rivals_of, rivals, write_pools

LISTS = ("embedded", "embedded-study", "extreme", "study", "gate")
COLOURS = ("skin", "material", "hair_colour", "beard_colour", "eyes", "paint")


def differences(a, b):
    """Return the names of the visible attributes in which two heads differ."""
    return {name for name in VALUES if getattr(a.plain(), name) != getattr(b.plain(), name)}


@pytest.fixture(params=LISTS)
def pools(request):
    """The pools of a shipped list: (own head, track, rivals as heads, rivals as captions, own caption)."""
    file = ROOT / "prompts" / f"{request.param}.tsv"
    stated = read_rivals_of(file)
    found = []
    for item in read_list(file):
        for track in TRACKS:
            own = geometry_caption(item.prompt, item.tags, item.geometry) if track == "geometry" else item.prompt
            captions = stated[item.item, track]
            found.append((parse(own), track, [parse(text) for text in captions], captions, own))
    return found


def test_each_pool_has_24_distinct_captions(pools):
    for own, _, heads, captions, text in pools:
        assert None not in heads
        assert len({text, *captions}) == RIVALS + 1 == 24
        assert len({replace(head.plain(), eyes="brown") for head in [own, *heads]}) == 24, "eyes alone differ"


def test_texture_rivals_share_the_shape(pools):
    for own, track, heads, _, text in pools:
        if track == "texture":
            assert all(differences(own, head) and not differences(own, head) & {*SHAPE} for head in heads), text


def test_shape_rivals_show_the_same_colours(pools):
    for own, track, heads, _, text in pools:
        if track != "shape_in_colour":
            continue
        for head in heads:
            assert differences(own, head) and differences(own, head) <= {*SHAPE}, text
            if own.material == "none":
                assert (own.hair == "bald", own.beard == "none") == (head.hair == "bald", head.beard == "none"), text
                assert own.eyes == "brown" or head.expression != "sleeping", text


def test_geometry_rivals_differ_in_shape_and_name_no_colour(pools):
    for own, track, heads, captions, _ in pools:
        if track == "geometry":
            assert all(differences(own, head) <= {*SHAPE} for head in heads)
            assert all(caption(head, colours=False) == text for head, text in zip(heads, captions, strict=True))


def test_hard_negatives_swap_one_attribute_and_never_the_eyes(pools):
    for own, track, heads, _, text in pools:
        swapped = [differences(own, head) for head in heads[:HARD]]
        if track == "texture" and own.material != "none":
            assert swapped[:3] == [{"material"}] * 3, text  # a statue has no other colour
            continue
        assert all(len(names) == 1 and names <= {*SWAPPED} for names in swapped), text
        kinds = {name for names in swapped for name in names}
        possible = 5 if track != "texture" else 2 + (own.hair != "bald") + (own.beard != "none")
        assert len(kinds) >= possible, f"{text}: only {kinds}"


def test_no_child_or_woman_has_a_beard(pools):
    for _, _, heads, _, text in pools:
        assert all(h.beard == "none" or (h.sex == "man" and h.age in ("adult", "old")) for h in heads), text


def test_heads_of_the_list_come_before_random_ones(pools):
    """In geometry every other head of the list fits."""
    shapes = {own for own, track, *_ in pools if track == "geometry"}
    for own, track, heads, _, _ in pools:
        if track == "geometry":
            listed = [head in shapes for head in heads[HARD:]]
            assert listed == sorted(listed, reverse=True)
            left = len(shapes - {own} - {*heads[:HARD]})
            assert sum(listed) == min(left, RIVALS - HARD)


def test_random_heads_have_whole_pools():
    """Also where few others fit: bald men with beards, statues, named eyes."""
    rng = np.random.default_rng(3)
    heads = [sample(rng) for _ in range(12)]
    heads += [Attributes(hair="bald", beard="long", eyes="red"), Attributes(material="gold"), Attributes()]
    for head in heads:
        for track in TRACKS:
            found = rivals(head, track, [], np.random.default_rng(0))
            assert len(set(found)) == RIVALS and head not in found


def test_colours_that_a_head_does_not_show_are_drawn():
    """The other heads are bald and beardless; their template's brown is no colour of theirs."""
    bald = [Attributes(hair="bald", skin=skin) for skin in VALUES["skin"][1:]]
    own = Attributes(hair="bun", hair_colour="pink", beard="full", beard_colour="pink")
    found = rivals(own, "texture", bald, np.random.default_rng(0))[HARD : HARD + len(bald)]
    assert {head.skin for head in found} == {head.skin for head in bald}
    assert len({head.hair_colour for head in found}) > 2 and len({head.beard_colour for head in found}) > 2


def test_pools_do_not_depend_on_the_order_of_the_list(tmp_path):
    prompts = ["a man with green skin", "a smiling old woman with a pink bun", "a stone statue of a boy with horns"]
    written = []
    for order in (prompts, prompts[::-1]):
        path = tmp_path / "few.tsv"
        path.write_text("id\tprompt\n" + "".join(f"{text[2:7].replace(' ', '')}\t{text}\n" for text in order))
        write_pools(path)
        written.append(read_rivals_of(path))
    assert written[0] == written[1]


def test_strange_prompts_have_no_pools(tmp_path):
    (tmp_path / "few.txt").write_text("a man\na purple monkey\na robot\n")
    with pytest.raises(InputError) as caught:
        write_pools(tmp_path / "few.txt")
    assert len(caught.value.problems) == 2 and "'a robot'" in caught.value.problems[1]
