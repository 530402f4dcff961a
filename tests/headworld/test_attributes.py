"""Captions, parsing, held-out combinations and prompt lists."""

import subprocess
import sys
from shutil import copy

import numpy as np
import pytest

from avatargen.config.places import ROOT
from avatargen.config.prompts import read_list
from avatargen.headworld import lists
from avatargen.headworld.attributes import VALUES, Attributes, held_out, sample, sample_test, sample_training
from avatargen.headworld.lists import is_extreme, is_short, named, write_list
from avatargen.headworld.phrases import caption, parse

CLOSED = ("embedded", "embedded-study", "extreme", "study", "gate")


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


def test_training_and_test_share_no_combination():
    rng = np.random.default_rng(0)
    assert not any(any(held_out(sample_training(rng))) for _ in range(100))
    assert all(all(held_out(sample_test(rng))) for _ in range(20))


def known(name):
    """Return the heads of a committed list."""
    return [parse(item.prompt) for item in read_list(ROOT / "prompts" / f"{name}.tsv")]


@pytest.mark.slow
def test_committed_lists_and_pools_are_reproduced(tmp_path):
    """In a process of its own: checks of types would make the draws ten times slower."""
    copy(ROOT / "prompts" / "gate.tsv", tmp_path)
    command = [sys.executable, "-m", "avatargen.headworld", "lists", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True)
    names = {
        f"{name}{end}" for name in (*CLOSED, "embedded-paraphrases", "out_of_domain") for end in (".tsv", ".pools.tsv")
    }
    assert {path.name for path in tmp_path.iterdir()} == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (ROOT / "prompts" / name).read_bytes(), name


@pytest.mark.parametrize("name", ["embedded", "embedded-study", "extreme", "study"])
def test_committed_lists_are_worded_by_their_heads(name, tmp_path, monkeypatch):
    monkeypatch.setattr(lists, "write_pools", lambda path: None)
    write_list(tmp_path / f"{name}.tsv", known(name))
    assert (tmp_path / f"{name}.tsv").read_bytes() == (ROOT / "prompts" / f"{name}.tsv").read_bytes()


def test_lists_are_held_out_and_show_every_value():
    earlier, study = known("embedded-study"), known("study")
    assert (len(earlier), known("embedded"), len(study)) == (36, earlier[:12], 48)
    assert all(all(held_out(head)) for head in [*earlier, *study, *known("extreme")])
    assert all(is_short(head) for head in [*earlier, *study]) and all(is_extreme(head) for head in known("extreme"))
    template = vars(Attributes())
    for heads in (earlier, study):
        shown = {item for head in heads for item in named(head).items()}
        assert all((k, value) in shown for k, values in VALUES.items() for value in values if value != template[k])


def test_study_shares_no_head_with_an_earlier_list():
    earlier = {head for name in CLOSED if name != "study" for head in known(name)}
    assert len(set(known("study"))) == 48 and not earlier & {*known("study")}


def test_chosen_heads_name_different_attributes(monkeypatch):
    monkeypatch.setattr(lists, "CANDIDATES", 40)
    chosen = lists.choose(6, is_short, seed=1)
    assert chosen == lists.choose(6, is_short, seed=1) and len(set(chosen)) == 6
    assert len({(head.age, head.sex) for head in chosen}) >= 4
