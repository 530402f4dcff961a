"""Provenance of hyper-parameters, and what differs between methods."""

from avatargen.config.loading import load_library
from avatargen.config.settings import MethodSettings, PriorSettings
from avatargen.io.code_hash import closure, steers
from eval.hyperparameters import compare_priors, compare_settings, provenance_table


def test_values_that_differ_from_the_default_are_ours():
    rows = {row.name: row.provenance for row in provenance_table(load_library().priors["mini"])}
    assert rows["t_range"] == "ours" and rows["guidance"] == "deviates"  # whose default is the paper's
    plain = {row.name: row.provenance for row in provenance_table(PriorSettings(path="x"))}
    assert plain["t_range"] == "borrowed" and plain["guidance"] == "paper" and plain["cameras.distance"] == "ours"


def test_full_method_says_where_it_deviates_from_the_paper():
    rows = {row.name for row in provenance_table(MethodSettings()) if row.provenance == "deviates"}
    assert rows == {"interior_gradient", "distil_silhouette", "refine"}


def test_values_that_differ_from_the_first_method_are_marked():
    rows = compare_settings({"full": MethodSettings(), "short": MethodSettings(phase1_steps=3)})
    differing = {row.name: row.values for row in rows if any(differs for _, differs in row.values)}
    assert differing == {"phase1_steps": [("140", False), ("3", True)]}


def test_priors_show_only_what_differs():
    priors = {"full": PriorSettings(path="x"), "weak": PriorSettings(path="x", guidance=7.5)}
    (row,) = compare_priors(priors, ["full", "weak"])
    assert (row.name, row.values) == ("prior.guidance", [("100.0", False), ("7.5", True)])


def test_each_crossed_prior_shows_what_methods_change():
    base = {"a": PriorSettings(path="x"), "b": PriorSettings(path="y", guidance=7.5)}
    runs = {f"full@{name}": prior for name, prior in base.items()} | {"template": base["a"]}
    runs |= {f"weak@{name}": prior.model_copy(update={"guidance": 3.0}) for name, prior in base.items()}
    rows = compare_priors(runs, ["full", "template", "weak"])
    assert {row.name: row.values for row in rows} == {
        "a.guidance": [("100.0", False), ("–", False), ("3.0", True)],
        "b.guidance": [("7.5", False), ("–", False), ("3.0", True)],
    }


def test_code_that_shapes_the_table_counts_in_the_report():
    shaping = "eval.hyperparameters"
    assert shaping in closure(("eval.report",)) and not steers(shaping)
