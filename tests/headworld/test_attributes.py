"""Captions, parsing, held-out combinations, prompt lists and pools."""

import numpy as np
import pytest

from avatargen.config.places import ROOT
from avatargen.config.prompts import read_list
from avatargen.headworld import lists
from avatargen.headworld.attributes import VALUES, Attributes, held_out, sample, sample_test, sample_training
from avatargen.headworld.lists import is_extreme, is_short, named, write_list
from avatargen.headworld.phrases import caption, parse
from avatargen.headworld.pools import negatives, shape_captions


def test_every_wording_of_a_caption_is_parsed_back():
    rng, wordings = np.random.default_rng(5), set()
    for _ in range(500):
        head = sample(rng)
        assert parse(caption(head)) == head
        worded = caption(head, rng=rng)
        assert parse(worded) == head
        wordings.add(worded != caption(head))
        assert parse(caption(head, colours=False, rng=rng)).shape_only() == head.shape_only()
    assert wordings == {True, False}


def test_unnamed_attributes_have_template_values():
    assert parse("a man") == Attributes()
    assert parse("an elderly lady with pink hair") == Attributes(age="old", sex="woman", hair_colour="pink")
    assert parse("A stone bust of a furious guy") == Attributes(material="stone", expression="angry")


def test_a_beard_without_a_colour_takes_the_hairs_colour():
    assert parse("a man with ginger hair and a beard").beard_colour == "ginger"
    assert parse("a man with ginger hair and a white beard").beard_colour == "white"


@pytest.mark.parametrize(
    "text",
    [
        "a purple monkey",
        "a man with plaid skin",
        "green",
        "",
        "a smiling angry man",
        "an old man 戴着眼镜",
        "an old man, 3",
    ],
)
def test_unknown_or_contradictory_prompts_are_refused(text):
    assert parse(text) is None


def test_captions_of_shape_name_no_colour():
    rng = np.random.default_rng(6)
    colours = ("green", "blue", "pink", "white", "black", "skin", "golden", "dark", "pale")
    for _ in range(100):
        text = caption(sample(rng), colours=False)
        assert not any(word in text.split() for word in colours)


def test_negatives_differ_in_one_attribute():
    head = Attributes(age="old", skin="green", beard="full", beard_colour="white")
    for text in negatives(head, np.random.default_rng(0), 6):
        other = parse(text)
        assert other is not None
        assert sum(getattr(head, name) != getattr(other, name) for name in vars(head)) == 1


def test_shape_captions_are_distinct_and_start_with_the_prompts():
    texts = shape_captions(["a man", "a man", "a girl"], np.random.default_rng(0), 12)
    assert texts[:2] == ["a man", "a girl"]
    assert len(set(texts)) == len(texts) == 12


def test_training_and_test_share_no_combination():
    rng = np.random.default_rng(0)
    assert not any(any(held_out(sample_training(rng))) for _ in range(100))
    assert all(all(held_out(sample_test(rng))) for _ in range(20))


def known(name):
    """Return the heads of a committed list."""
    return [parse(item.prompt) for item in read_list(ROOT / "prompts" / f"{name}.tsv")]


@pytest.mark.parametrize("name", ["embedded", "embedded-study", "extreme"])
def test_committed_lists_and_pools_are_reproduced(name, tmp_path):
    write_list(tmp_path / f"{name}.tsv", known(name))
    assert len(list(tmp_path.iterdir())) == 3
    for path in tmp_path.iterdir():
        assert path.read_text() == (ROOT / "prompts" / path.name).read_text(), path.name
    shapes = (tmp_path / f"{name}-geometry.txt").read_text().splitlines()[1:]
    assert len({parse(text) for text in shapes}) == len(shapes) == 64


def test_lists_are_held_out_and_show_every_value():
    study = known("embedded-study")
    assert (len(study), known("embedded")) == (36, study[:12])
    assert all(all(held_out(head)) for head in [*study, *known("extreme")])
    assert all(is_short(head) for head in study) and all(is_extreme(head) for head in known("extreme"))
    shown = {item for head in study for item in named(head).items()}
    template = vars(Attributes())
    assert all((k, value) in shown for k, values in VALUES.items() for value in values if value != template[k])


def test_chosen_heads_name_different_attributes(monkeypatch):
    monkeypatch.setattr(lists, "CANDIDATES", 40)
    chosen = lists.choose(6, is_short, seed=1)
    assert chosen == lists.choose(6, is_short, seed=1) and len(set(chosen)) == 6
    assert len({(head.age, head.sex) for head in chosen}) >= 4
