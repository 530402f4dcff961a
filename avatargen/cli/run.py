"""``avatargen run``: the workflow, from any directory; Snakemake is the engine."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avatargen.config.command_line import stated_fields
from avatargen.config.places import DEFAULT_EXPERIMENT, shipped
from avatargen.runtime.launch import COMMAND, command_line, runs_here, study_of

EXAMPLES = """examples:
  avatargen run                                            the default experiment, on all cores
  avatargen run embedded --limit 2 --methods full,oracle   two prompts, two methods
  avatargen run study -n                                   what would be done
  avatargen run paper --cores 8 --config backend=serial    other options go to Snakemake

Results go to results/EXPERIMENT of the current directory. Experiments, methods and prompt lists of your own lie in
workflow/config/ and prompts/ of that directory. An interrupted run resumes with the same command."""
FIELDS = ("limit", "methods", "lists", "seeds", "name")
"""Fields of the experiment that have an option of their own; `--config` changes the others."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add ``avatargen run``."""
    parser = subparsers.add_parser(
        "run",
        allow_abbrev=False,
        help="the benchmark: avatars, renders, scores, tables, plots, report",
        description="Run an experiment: avatars, renders, scores, tables, plots and a report.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_fields(parser)
    parser.add_argument("--cores", default="all", help="of this machine (default: all)")
    parser.set_defaults(run=run, passes_on=True)


def add_fields(parser: argparse.ArgumentParser) -> None:
    """Add what names an experiment and changes its fields."""
    parser.add_argument("experiment", nargs="?", default=DEFAULT_EXPERIMENT, help=f"default: {DEFAULT_EXPERIMENT}")
    parser.add_argument("--limit", metavar="N", help="only the first N prompts of each list")
    parser.add_argument("--methods", metavar="A,B", help="instead of the experiment's")
    parser.add_argument("--lists", metavar="A,B", help="prompt lists, instead of the experiment's")
    parser.add_argument("--seeds", metavar="0,1", help="instead of the experiment's; 0-3 is 0, 1, 2, 3")
    parser.add_argument("--name", help="of the folder in results/, so that another report stays")
    parser.add_argument(
        "--config", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="any field of the experiment"
    )


def fields_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields that the options state.

    Raises:
        InputError: a ``--config`` that is no KEY=VALUE, or a field that is stated twice.
    """
    return stated_fields(_texts(options), once=True)


def run(options: argparse.Namespace) -> int:
    """Validate, then become Snakemake; so this does not return.

    Raises:
        InputError: the run could not start; all problems.
    """
    study_of(fields_of(options), check_disk=False, here=runs_here(options.rest))
    sys.stdout.flush()
    sys.stderr.flush()
    arguments = command(options)
    os.environ[COMMAND] = command_line("avatargen")
    os.environ.update(writable_cache(os.environ, Path.cwd()))
    os.execv(arguments[0], arguments)


def writable_cache(environment: Mapping[str, str], here: Path) -> dict[str, str]:
    """Return what to change in the environment where the user's cache cannot be written; Snakemake needs one.

    Args:
        environment: of the process.
        here: directory of the run, in which the cache then lies.

    Returns:
        Empty where it can be written. Models of a hub stay where they are.
    """
    cache = Path(environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "/")) / ".cache")
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return {}
    own = here / ".snakemake/cache"
    defaults = {"HF_HOME": str(cache / "huggingface"), "MPLCONFIGDIR": str(own / "matplotlib")}
    kept = {name: environment.get(name) or default for name, default in defaults.items()}
    return {"XDG_CACHE_HOME": str(own), **kept}


def command(options: argparse.Namespace) -> list[str]:
    """Return the command line of Snakemake.

    Args:
        options: as `add_parser` has them; what it does not know is in ``options.rest``.
    """
    return [
        *(sys.executable, "-m", "snakemake"),
        *("--snakefile", str(shipped("Snakefile")), "--workflow-profile", str(shipped("profiles/default"))),
        *("--config", *_texts(options), "--cores", options.cores),
        *options.rest,
    ]


def _texts(options: argparse.Namespace) -> list[str]:
    """Return the fields that the options state, KEY=VALUE each."""
    stated = {name: getattr(options, name) for name in FIELDS if getattr(options, name) is not None}
    return [f"experiment={options.experiment}", *(f"{key}={value}" for key, value in stated.items()), *options.config]
