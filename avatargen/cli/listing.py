"""``avatargen list``: names that an experiment may use, with one line each."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial

from rich.console import Console
from rich.table import Table

from avatargen.config.directions import isolated
from avatargen.config.loading import experiment_names, load_experiment, load_judges, load_methods, load_priors
from avatargen.config.places import list_folders
from avatargen.config.plugins import DIAGNOSTICS, HEADS, QUESTIONS, RENDERERS, summary
from avatargen.config.prompts import find_list, list_names, read_list

WIDE = 500
"""Columns where the output is no terminal, so that each name has one line."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add ``avatargen list``."""
    parser = subparsers.add_parser(
        "list",
        allow_abbrev=False,
        help=f"names with their one-line reasons: {', '.join(KINDS)}",
        description="List the names that an experiment may use, shipped ones and your own.",
    )
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the names of a kind. Return the exit status.

    Raises:
        InputError: a file of that kind is wrong.
    """
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, line in KINDS[options.kind]().items():
        table.add_row(name, line)
    console = Console(highlight=False, markup=False)
    console.width = console.width if console.is_terminal else WIDE
    with console.capture() as captured:
        console.print(table)
    print(*(line.rstrip() for line in captured.get().splitlines()), sep="\n")
    return 0


def _methods() -> dict[str, str]:
    return {name: method.reason for name, method in load_methods().items()}


def _experiments() -> dict[str, str]:
    return {name: load_experiment(name).reason for name in experiment_names()}


def _priors() -> dict[str, str]:
    return {name: prior.reason for name, prior in load_priors().items()}


def _judges() -> dict[str, str]:
    return {name: judge.reason for name, judge in load_judges().items()}


def _summaries(specs: Mapping[str, str]) -> dict[str, str]:
    return {name: summary(spec) for name, spec in specs.items()}


def _lists() -> dict[str, str]:
    found = {}
    for name in list_names(list_folders()):
        items = read_list(find_list(name, list_folders()))
        found[name] = f"{len(items)} prompts, such as '{isolated(items[0].prompt)}'"
    return found


KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "methods": _methods,
    "experiments": _experiments,
    "priors": _priors,
    "judges": _judges,
    "heads": partial(_summaries, HEADS),
    "renderers": partial(_summaries, RENDERERS),
    "diagnostics": partial(_summaries, DIAGNOSTICS),
    "questions": partial(_summaries, QUESTIONS),
    "lists": _lists,
}
