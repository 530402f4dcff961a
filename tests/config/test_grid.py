"""Grids of an experiment: the methods that they make, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from avatargen.config.errors import InputError
from avatargen.config.experiment import Experiment
from avatargen.config.grid import with_grid
from avatargen.config.loading import load_library, resolve

LIBRARY = load_library()


def experiment(grid: Any, **fields: Any) -> Experiment:
    facts = {"experiment": "x", "lists": ["embedded"], "methods": ["full"], "grid": grid, **fields}
    return Experiment.model_validate(facts)


def expanded(vary: dict[str, list], **fields: Any) -> tuple[str, ...]:
    return with_grid(experiment({"vary": vary}, **fields), LIBRARY)[0].methods


def settings(name: str, vary: dict[str, list], **fields: Any) -> Any:
    return resolve(*_named(experiment({"vary": vary}, **fields), name))


def _named(asked: Experiment, name: str) -> tuple:
    found, library = with_grid(asked, LIBRARY)
    return found, name, library


def test_every_combination_is_a_method():
    names = expanded({"steps": [90, 180], "prior.guidance": [6, 25]})
    assert names == (
        "full",
        *("full-steps_90-guidance_6", "full-steps_90-guidance_25"),
        *("full-steps_180-guidance_6", "full-steps_180-guidance_25"),
    )


def test_steps_keep_the_share_of_phase_1():
    """`full` has 140 and 220 steps."""
    method = settings("full-steps_180", {"steps": [180]}).method
    assert (method.phase1_steps, method.phase2_steps) == (70, 110)


def test_a_share_keeps_the_steps():
    method = settings("full-phase1_share_0.25", {"phase1_share": [0.25]}).method
    assert (method.phase1_steps, method.phase2_steps) == (90, 270)


def test_scaled_rates_keep_the_way_of_the_geometry():
    method = settings("full-steps_180-scale_rates_true", {"steps": [180], "scale_rates": [True]}).method
    assert method.lr_shape * method.phase2_steps == pytest.approx(0.008 * 220)
    assert method.lr_offsets == pytest.approx(0.012)


def test_settings_of_the_experiment_are_varied():
    """Half of 1000 steps in the proportions of 400 and 600."""
    found = settings("full-steps_500", {"steps": [500]}, overrides={"phase1_steps": 400, "phase2_steps": 600})
    assert (found.method.phase1_steps, found.method.phase2_steps) == (200, 300)


def test_a_combination_that_is_a_method_is_not_made_again():
    assert expanded({"mask_period": [20, 40]}) == ("full", "full-mask_period_20")
    assert expanded({"prior.guidance": [12, 25]}) == ("full", "full-guidance_25")
    assert expanded({"mask_period": [20, 40]}, methods=["oracle"]) == ("oracle", "full-mask_period_20", "full")


def test_grids_that_overlap_share_methods():
    several = [{"vary": {"steps": [180], "mask_period": [20, 40]}}, {"vary": {"steps": [180]}}]
    found, _ = with_grid(experiment(several), LIBRARY)
    assert found.methods == ("full", "full-steps_180-mask_period_20", "full-steps_180-mask_period_40")


def test_a_prior_of_several_tells_combinations_apart():
    """Guidance 12 is that of `mini`, not of `sd15`."""
    names = expanded({"prior.guidance": [12]}, priors=["mini", "sd15"])
    assert names == ("full", "full-guidance_12")


def test_several_methods_are_varied():
    asked = experiment({"of": ["full", "no_offsets"], "vary": {"prior.guidance": [25]}})
    found, library = with_grid(asked, LIBRARY)
    assert found.methods == ("full", "full-guidance_25", "no_offsets-guidance_25")
    assert library.methods["no_offsets-guidance_25"].overrides == {"offsets": False}
    assert library.methods["no_offsets-guidance_25"].reason == "no_offsets with guidance 25"


def test_methods_of_the_command_line_are_kept():
    found, library = with_grid(experiment({"vary": {"steps": [90]}}), LIBRARY, append=False)
    assert found.methods == ("full",)
    assert "full-steps_90" in library.methods


def test_all_problems_are_reported_at_once():
    wrong = [
        {"of": "ful", "vary": {"steps": [90]}},
        {"vary": {"mask_perod": [40]}},
        {"vary": {"prior.guidanc": [40]}},
    ]
    with pytest.raises(InputError) as error:
        with_grid(experiment(wrong), LIBRARY)
    assert error.value.problems == (
        "x: grid: of: unknown method 'ful'; did you mean 'full'?",
        "x: grid: vary: unknown setting 'mask_perod'; did you mean 'mask_period'?",
        "x: grid: vary: unknown setting 'prior.guidanc'; did you mean 'prior.guidance'?",
    )


@pytest.mark.parametrize(
    ("vary", "told"),
    [
        ({"mask_period": [0]}, "x: grid: full-mask_period_0: mask_period: Input should be greater"),
        ({"phase1_share": [1.5]}, "x: grid: full-phase1_share_1.5: phase1_share: Input should be less"),
        ({"prior.guidance": [-1]}, "x: grid: full-guidance_-1: guidance: Input should be greater"),
    ],
)
def test_values_out_of_bounds_are_named(vary, told):
    with pytest.raises(InputError, match=told):
        expanded(vary)


def test_a_name_of_the_table_is_not_taken():
    taken = LIBRARY.methods | {"full-steps_90": LIBRARY.methods["no_offsets"]}
    with pytest.raises(InputError, match="rename that one"):
        with_grid(experiment({"vary": {"steps": [90]}}), type(LIBRARY)(taken, LIBRARY.priors, LIBRARY.judges))


def test_a_grid_without_values_is_refused():
    with pytest.raises(ValueError, match="no values of steps"):
        experiment({"vary": {"steps": []}})
