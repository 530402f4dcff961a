"""Agreement and style across priors: hand-computed cases, a naive reference, and chance levels."""

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

from eval.consistency import ALL, MEASURES, consistency, measure
from eval.score import AvatarScores, Score
from tests.eval.test_records import protocol, record

A, B, C = np.eye(3)


def values(vectors):
    """The four measures of all priors together."""
    return {name: part[0, 0] for name, part in measure(np.array(vectors)).items()}


def unit(generator, *shape):
    vectors = generator.normal(size=shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def naive(x):
    """All measures by loops over pairs, for all priors together."""
    priors, prompts = range(len(x)), range(len(x[0]))
    pairs = [(p, q) for p in priors for q in priors if p != q]
    different = [(i, j) for i in prompts for j in prompts if i != j]
    same = np.mean([x[p][i] @ x[q][i] for p, q in pairs for i in prompts])
    other = np.mean([x[p][i] @ x[q][j] for p, q in pairs for i, j in different])
    r = x - x.mean(0)
    shared = np.mean([r[p][i] @ r[p][j] for p in priors for i, j in different])
    spread = np.mean([r[p][i] @ r[p][i] for p in priors for i in prompts])
    return dict(zip(MEASURES, (same, other, same - other, shared / spread), strict=True))


def test_equal_avatars_agree_and_have_no_style():
    found = values([[A, B], [A, B]])
    assert (found["same_prompt"], found["other_prompts"], found["agreement"]) == (1, 0, 1)
    assert np.isnan(found["style_share"])  # nothing differs between the priors


def test_avatars_of_style_alone_do_not_agree():
    assert values([[A, A, A], [B, B, B]]) == {"same_prompt": 0, "other_prompts": 0, "agreement": 0, "style_share": 1}


def test_half_of_the_difference_is_style():
    """By hand: residuals of the first prior are ±(A - B) / 2 and (A - C) / 2, of squared length 1/2.

    The two prompts' residuals have the product 1/4, half of their squared length.
    """
    found = values([[A, A], [B, C]])
    assert (found["same_prompt"], found["other_prompts"]) == (0, 0)
    assert found["style_share"] == pytest.approx(0.5)


def test_agreement_by_hand():
    """Cosines of one prompt: 0.6 and 0.8; of two prompts: B · (0.6 A + 0.8 C) = 0 and A · (0.8 B + 0.6 C) = 0."""
    found = values([[A, B], [0.6 * A + 0.8 * C, 0.8 * B + 0.6 * C]])
    assert found["agreement"] == pytest.approx(0.7) and found["other_prompts"] == pytest.approx(0)


def test_measures_equal_loops_over_pairs():
    x = unit(np.random.default_rng(0), 4, 6, 5)
    assert values(x) == pytest.approx(naive(x))
    each = measure(x)
    for prior in range(4):
        others = [q for q in range(4) if q != prior]
        same = np.mean([x[prior][i] @ x[q][i] for q in others for i in range(6)])
        assert each["same_prompt"][1 + prior, 0] == pytest.approx(same)
        r = (x - x.mean(0))[prior]
        shared = np.mean([r[i] @ r[j] for i in range(6) for j in range(6) if i != j])
        assert each["style_share"][1 + prior, 0] == pytest.approx(shared / (r**2).sum(-1).mean())


def test_chance_level_of_both_measures_is_zero():
    """Exactly, over all permutations of prompts under one prior, and of priors within each prompt."""
    x = unit(np.random.default_rng(1), 2, 4, 3)
    shuffled = [values([x[0], x[1][list(order)]])["agreement"] for order in permutations(range(4))]
    assert np.mean(shuffled) == pytest.approx(0, abs=1e-12)
    flipped = []
    for flips in product((0, 1), repeat=4):
        both = [[x[flip][i] for i, flip in enumerate(flips)], [x[1 - flip][i] for i, flip in enumerate(flips)]]
        flipped.append(values(both)["style_share"])
    assert np.mean(flipped) == pytest.approx(0, abs=1e-12)


def test_intervals_hold_the_value_repeat_and_narrow():
    generator = np.random.default_rng(2)
    content, style = unit(generator, 1, 60, 16), unit(generator, 3, 1, 16)
    x = content + 0.5 * style + 0.3 * unit(generator, 3, 60, 16)
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    many, few = measure(x), measure(x[:, :10])
    for name in ("agreement", "style_share"):
        value, low, high = many[name][0]
        assert 0 < low < value < high < 1
        assert high - low < few[name][0, 2] - few[name][0, 1]
        assert measure(x)[name].tolist() == many[name].tolist()


def test_bootstrap_equals_resampling_by_loops():
    """The interval of `other_prompts` leaves out pairs of a prompt with its own copy."""
    x = unit(np.random.default_rng(3), 2, 5, 4)
    generator, found = np.random.default_rng(4), []
    for _ in range(2000):
        drawn = generator.integers(0, 5, 5)
        pairs = [(i, j) for i in drawn for j in drawn if i != j]
        if pairs:
            found.append(np.mean([x[p][i] @ x[1 - p][j] for p in (0, 1) for i, j in pairs]))
    assert measure(x)["other_prompts"][0, 1:] == pytest.approx(np.percentile(found, (2.5, 97.5)), abs=0.03)


def test_two_prompts_have_values_without_intervals():
    found = measure(np.array([[A, B], [A, C]]))
    assert np.isfinite(found["agreement"][:, 0]).all() and np.isnan(found["agreement"][:, 1:]).all()
    assert np.isnan(measure(np.array([[A], [B]]))["agreement"]).all()


def scored(make_row, outcomes):
    """Avatars whose mean embedding under one judge and track is given by (method, item); None for a failure."""
    avatars = []
    for (method, item, seed), vector in outcomes.items():
        row = make_row(item, method, seed=seed, status="error" if vector is None else "ok")
        score = Score({"all": protocol()}, record(row, None))
        means = {} if vector is None else {("clip", "texture"): vector}
        avatars.append(AvatarScores(row, Path(row.folder), [score], [], None, {}, "all", means))
    return avatars


def test_only_prompts_with_every_prior_count(make_row):
    outcomes = {("full@one", item, 0): vector for item, vector in zip("abc", (A, B, C), strict=True)}
    outcomes |= {("full@two", item, 0): vector for item, vector in zip("abc", (2 * A, B, None), strict=True)}
    outcomes |= {("template", item, 0): A for item in "abc"}
    table = consistency(scored(make_row, outcomes), ["one", "two"])
    assert table["prior"].tolist() == [ALL, "one", "two"] and set(table["method"]) == {"full"}
    assert (table["n"] == 2).all() and (table["prompts"] == 3).all() and (table["agreement"] == 1).all()


def test_a_prior_that_fails_everywhere_leaves_no_number(make_row):
    outcomes = {("full@one", "a", 0): A, ("full@two", "a", 0): None}
    table = consistency(scored(make_row, outcomes), ["one", "two"])
    assert table[["n", "prompts"]].values.tolist() == [[0, 1]] * 3 and table["agreement"].isna().all()
    assert consistency(scored(make_row, {("full@one", "a", 0): A}), ["one"]).empty


def test_seeds_of_a_prompt_are_one_vector(make_row):
    """Their mean, which has unit norm again: two seeds at A and B stand at 45 degrees to both."""
    outcomes = {("full@one", "a", 0): A, ("full@one", "a", 1): B, ("full@two", "a", 0): A}
    outcomes |= {("full@one", "b", 0): C, ("full@two", "b", 0): C}
    table = consistency(scored(make_row, outcomes), ["one", "two"])
    assert table["same_prompt"][0] == pytest.approx((1 + np.sqrt(0.5)) / 2)
