"""The ``avatargen`` command: one subcommand per module of this folder.

A subcommand's module has ``add_parser(subparsers)``, which sets ``run``: a function of the parsed options that returns
the exit status. Modules import what is heavy only when they run, so that ``--help`` is quick.
"""

from __future__ import annotations

import argparse
import sys

from avatargen import __version__
from avatargen.cli import check, compare, export, listing, make, run, train
from avatargen.config.errors import InputError

EXAMPLES = """examples:
  avatargen make "a smiling old man with green skin"       one avatar: file, turntable, contact sheet, GLB
  avatargen run embedded --limit 2 --methods full,oracle   the benchmark, on two prompts
  avatargen compare results/a results/b                    what differs between two runs, with pictures
  avatargen list methods                                   what an experiment may name
  avatargen check paper                                    everything that is missing, and what a run costs
  avatargen export results/embedded/embedded/full/avatars/*

`avatargen COMMAND --help` has more. In a clone, `snakemake --cores all` runs the benchmark too."""


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand. Return the exit status: 0, 1 (it failed), 2 (wrong input) or 130 (interrupted)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = build_parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and not options.passes_on:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        return options.run(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.filename}: {error.strerror}" if error.filename else error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the same command resumes.", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = argparse.ArgumentParser(
        prog="avatargen",
        allow_abbrev=False,
        description="A batch benchmark for text-to-3D head avatars.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"avatargen {__version__}")
    parser.set_defaults(passes_on=False)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (make, run, compare, listing, check, export, train):
        module.add_parser(subparsers)
    return parser
