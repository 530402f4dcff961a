"""Methods stand beside each other on the same prompts and seeds only."""

import pandas as pd

from eval.subsets import Subsets, each_subset, widest


def rows(make_row, asked):
    return [make_row(item, method, seed=seed) for method, units in asked.items() for item, seed in units]


def product(items, seeds):
    return [(item, seed) for item in items for seed in seeds]


def test_methods_with_the_same_units_have_one_subset(make_row):
    found = Subsets.of(rows(make_row, {"full": product("ab", [0]), "bare": product("ba", [0])}))
    assert list(found.units) == ["all"]
    assert found.covered == {"full": ("all",), "bare": ("all",)}


def test_a_method_stands_in_each_subset_that_it_covers(make_row):
    asked = {"full": product("abcd", [0, 1]), "bare": product("ab", [0]), "oracle": product("bc", [0, 1])}
    found = Subsets.of(rows(make_row, asked))
    assert {name: len(units) for name, units in found.units.items()} == {"all": 8, "2x2": 4, "2x1": 2}
    assert found.covered == {"full": ("all", "2x2", "2x1"), "bare": ("2x1",), "oracle": ("2x2",)}
    assert found.names(make_row("b", "full", seed=0)) == ["all", "2x2", "2x1"]
    assert found.names(make_row("b", "oracle", seed=0)) == ["2x2"]  # it lacks a, so no row of 2x1 is its
    assert found.names(make_row("d", "full", seed=0)) == ["all"]


def test_subsets_of_one_shape_have_different_names(make_row):
    asked = {"one": product("ab", [0]), "two": product("bc", [0]), "three": product("ac", [0])}
    assert list(Subsets.of(rows(make_row, asked)).units) == ["2x1", "2x1-2", "2x1-3"]  # nothing covers all


def test_subsets_do_not_depend_on_the_order_of_rows(make_row):
    asked = {"full": product("abc", [0]), "bare": product("ab", [0])}
    made = rows(make_row, asked)
    assert Subsets.of(made).units == Subsets.of(reversed(made)).units


def test_lines_are_split_by_subset_with_their_hashes():
    table = pd.DataFrame({"item": ["a", "b"], "subset": ["all 1x1", "all"], "protocol": ["p q", "p"]})
    assert each_subset(table).values.tolist() == [["a", "all", "p"], ["a", "1x1", "q"], ["b", "all", "p"]]
    assert list(each_subset(table[:0]).columns) == list(table.columns)


def test_the_widest_subset_has_the_most_methods():
    methods = {"all": ["full"], "2x1": ["full", "bare"], "1x1": ["full", "bare"]}
    table = pd.DataFrame([{"subset": name, "method": method} for name, names in methods.items() for method in names])
    assert set(widest(table)["subset"]) == {"2x1"}
    assert widest(table[:0]).empty and len(widest(pd.DataFrame({"method": ["a", "b"]}))) == 2
