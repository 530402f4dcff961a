"""Make the methods of an experiment's grids: a named method with some settings varied, in every combination.

::

    grid:
      of: full
      vary: {steps: [180, 360], phase1_share: [0.2, 0.4], prior.guidance: [6, 12]}

A method is named for its values, ``full-steps_180-phase1_share_0.2-guidance_6``. What may vary is any setting of a
method, any setting of its prior (``prior.guidance``), and how the steps are spent:

steps         steps of phases 1 and 2 together
phase1_share  fraction of them that is phase 1's; by default the varied method's
scale_rates   true: multiply the rates of the geometry by what its phase loses in steps. Rates are r.m.s. steps that
              decay over phase 2, so the geometry of a run of half the steps can travel half as far without.

A combination with the settings of a method that the experiment has is that method, and is not made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import product
from typing import Any

from pydantic import Field

from avatargen.config.errors import InputError, Problems, unknown
from avatargen.config.experiment import Experiment, Grid, Library, NamedMethod
from avatargen.config.frozen import Frozen
from avatargen.config.loading import merged, parse, resolve
from avatargen.config.settings import MethodSettings, PriorSettings

PRIOR = "prior."
RATES = ("lr_shape", "lr_expression", "lr_offsets")
"""Rates of the geometry."""


class Spent(Frozen):
    """How a method of a grid spends its steps; see the module."""

    steps: int | None = Field(None, ge=1, le=20000)
    phase1_share: float | None = Field(None, ge=0, le=1)
    scale_rates: bool = False


def with_grid(experiment: Experiment, library: Library, append: bool = True) -> tuple[Experiment, Library]:
    """Return an experiment with the methods of its grids, and a library that holds them.

    Args:
        experiment: as the user wrote it.
        library: what it may name.
        append: run all methods of the grids; otherwise only those that the experiment's `methods` name.

    Raises:
        InputError: unknown methods or settings, values out of bounds, names that are taken; all problems.
    """
    if not experiment.grid:
        return experiment, library
    problems, names = Problems(), list(experiment.methods)
    methods = dict(library.methods)
    found: dict[str, str] = {}

    def known(name: str) -> str:
        """Return the first method with the settings of this one."""
        return found.setdefault(_identity(experiment, name, Library(methods, library.priors, library.judges)), name)

    for grid in experiment.grid:
        problems.add(_faults(experiment, grid, library))
    problems.check()
    for name in [*experiment.methods, *(name for grid in experiment.grid for name in grid.of)]:
        if name in library.methods:
            with suppress(InputError):  # which is reported when the method itself is resolved
                known(name)
    for name, of, values in (cell for grid in experiment.grid for cell in _cells(grid)):
        if name in library.methods:
            problems.add([f"{experiment.experiment}: grid: '{name}' is a method of methods.yaml; rename that one"])
            continue
        made = problems.of(lambda name=name, of=of, values=values: _varied(experiment, library, name, of, values))
        if made:
            methods[name] = made
            names.append(problems.of(lambda name=name: known(name)) or name)
    problems.check()
    ran = tuple(dict.fromkeys(names)) if append else experiment.methods
    return experiment.model_copy(update={"methods": ran}), Library(methods, library.priors, library.judges)


def cell_name(of: str, values: Mapping[str, Any]) -> str:
    """Return the name of a method of a grid.

    Example:
        >>> cell_name("full", {"steps": 180, "prior.guidance": 7.5, "scale_rates": True})
        'full-steps_180-guidance_7.5-scale_rates_true'
    """
    return "-".join([of, *(f"{key.removeprefix(PRIOR)}_{_word(value)}" for key, value in values.items())])


def _word(value: Any) -> str:
    """Return a value as part of a name: letters, digits, ``_``, ``-`` and ``.`` alone."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in text)


def _cells(grid: Grid) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each combination: its name, the method that it varies, and its values."""
    for of in grid.of:
        for combination in product(*grid.vary.values()):
            values = dict(zip(grid.vary, combination, strict=True))
            yield cell_name(of, values), of, values


def _varied(experiment: Experiment, library: Library, name: str, of: str, values: dict[str, Any]) -> NamedMethod:
    """Return the stanza of a combination.

    Raises:
        InputError: values are out of bounds.
    """
    where, base = f"{experiment.experiment}: grid: {name}", library.methods[of]
    spent = {key: values[key] for key in Spent.model_fields if key in values}
    prior = {key.removeprefix(PRIOR): value for key, value in values.items() if key.startswith(PRIOR)}
    own = {key: value for key, value in values.items() if key not in spent and not key.startswith(PRIOR)}
    stated = merged(experiment.overrides, base.overrides)
    settings = parse(MethodSettings, merged(stated, own), where)
    spending = _spending(settings, parse(Spent, spent, where)) if spent else {}
    parse(MethodSettings, merged(stated, {**own, **spending}), where)
    parse(PriorSettings, merged(library.priors[experiment.prior_names[0]].model_dump(), prior), where)
    told = ", ".join(f"{key.removeprefix(PRIOR).replace('_', ' ')} {_word(value)}" for key, value in values.items())
    changes = {"overrides": merged(base.overrides, {**own, **spending}), "prior": merged(base.prior, prior)}
    return parse(NamedMethod, {**base.model_dump(), "reason": f"{of} with {told}", **changes}, where)


def _spending(settings: MethodSettings, spent: Spent) -> dict[str, Any]:
    """Return the settings that spend steps in another way."""
    before = settings.phase1_steps + settings.phase2_steps
    total = before if spent.steps is None else spent.steps
    share = settings.phase1_steps / max(before, 1) if spent.phase1_share is None else spent.phase1_share
    phase1 = round(share * total)
    phase2 = total - phase1
    factor = settings.phase2_steps / phase2 if spent.scale_rates and phase2 else 1.0
    rates = {name: getattr(settings, name) * factor for name in RATES} if factor != 1 else {}
    return {"phase1_steps": phase1, "phase2_steps": phase2, **rates}


def _faults(experiment: Experiment, grid: Grid, library: Library) -> list[str]:
    """Return one line for each method, setting and prior of a grid that is not known."""
    where = f"{experiment.experiment}: grid"
    methods, of_prior = library.methods, [f"{PRIOR}{key}" for key in PriorSettings.model_fields]
    lines = [unknown("method", name, methods, f"{where}: of") for name in grid.of if name not in methods]
    settings = [*Spent.model_fields, *MethodSettings.model_fields, *of_prior]
    lines += [unknown("setting", key, settings, f"{where}: vary") for key in grid.vary if key not in settings]
    if experiment.prior_names[0] not in library.priors:
        field = "prior" if experiment.priors is None else "priors"
        lines.append(unknown("prior", experiment.prior_names[0], library.priors, f"{experiment.experiment}: {field}"))
    return lines


def _identity(experiment: Experiment, name: str, library: Library) -> str:
    """Return what decides a method's avatars under each prior, as text.

    Raises:
        InputError: the settings are invalid.
    """
    priors = [prior for prior in experiment.prior_names if prior in library.priors]
    try:
        runs = [resolve(experiment, name, library, prior) for prior in priors]
    except InputError as error:
        stanza, cell = f"methods.yaml: {name}", f"{experiment.experiment}: grid: {name}"
        raise InputError([line.replace(stanza, cell) for line in error.problems]) from error
    return repr([run.model_dump(exclude={"method_name"}) for run in runs])
