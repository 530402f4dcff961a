"""Training sets: which heads they hold, how parts make the whole, and what prompts say."""

from collections import Counter

import numpy as np
import pytest

from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.attributes import VALUES, held_out, may_be_seen, sample_training
from avatargen.headworld.phrases import caption
from avatargen.render.warp import WarpRenderer
from avatargen.training.dataset import Renders, generate, joined
from avatargen.training.recipe import MISTAKEN, Recipe, draw, plain_shape, relatives_of


def test_relatives_may_be_seen_in_training_and_differ():
    rng, changed = np.random.default_rng(0), Counter()
    for _ in range(20):
        head = sample_training(rng)
        made = relatives_of(head, 6, rng)
        face, feature, mistaken, plain, again, other = made
        assert not any(any(held_out(one)) for one in made)
        assert caption(plain, colours=False) == "a man" or any(held_out(plain_shape(head)))
        assert other != head
        for one in (face, feature, again, mistaken):
            (name,) = {key for key in VALUES if getattr(one.plain(), key) != getattr(head.plain(), key)} - {"eyes"}
            changed[name] += 1  # seldom another attribute of shape: all others would be held out
    assert changed["expression"] >= 35 and changed["feature"] >= 17 and sum(changed[name] for name in MISTAKEN) >= 17


@pytest.mark.parametrize(("asked", "low", "high"), [(0.0, 0.0, 0.1), (0.5, 0.35, 0.75), (1.0, 1.0, 1.0)])
def test_a_recipe_sets_the_share_of_two_coloured_heads(asked, low, high):
    rng = np.random.default_rng(0)
    heads = [draw(Recipe(heads=0, seed=0, two_coloured=asked), rng) for _ in range(24)]
    assert all(map(may_be_seen, heads))
    share = np.mean([head.beard != "none" and head.beard_colour != head.hair_colour for head in heads])
    assert low <= share <= high


def test_parts_of_a_set_make_the_whole():
    """And families share camera, light and background."""
    head = AnnyHead.load()
    renderer = WarpRenderer(head.topology, head.canonical(head.shape_template[None])[0])
    recipe = Recipe(heads=16, seed=3, views=1, relatives=1)
    whole = generate(head, renderer, recipe)
    parts = joined([generate(head, renderer, recipe, part, 2) for part in (1, 0)])
    for name in vars(whole):
        assert np.array_equal(getattr(whole, name), getattr(parts, name)), name
    assert whole.images.shape == (32, 128, 128, 4) and whole.families.tolist() == sorted([*range(16)] * 2)
    over = whole.over_backgrounds(0)
    clear = (whole.images[0::2, ..., 3] == 0) & (whole.images[1::2, ..., 3] == 0)
    assert clear.any((1, 2)).all() and (over[0::2][clear] == over[1::2][clear]).all()
    assert whole.views[0::2] == whole.views[1::2] and (whole.azimuths[0::2] == whole.azimuths[1::2]).all()


def test_a_mirrored_prompt_names_the_mirrored_view():
    points = np.zeros((2, 1, 2))
    shapes = np.zeros((2, 2, 2, 4), np.uint8), ["a man"] * 2, ["close 45 left view", "back view"], np.zeros(2)
    renders = Renders(*shapes, np.arange(2), points, points)
    ends = [
        {text.removeprefix("a man") for seed in range(30) for text in renders.prompts(seed, f)} for f in (False, True)
    ]
    assert ends == [{"", ", close 45 left view", ", back view"}, {"", ", close 45 right view", ", back view"}]
