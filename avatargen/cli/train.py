"""``avatargen train``: the prior and the judges of the closed world, from nothing."""

from __future__ import annotations

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add ``avatargen train``; its own parser is that of `avatargen.training`, which imports torch."""
    parser = subparsers.add_parser(
        "train",
        allow_abbrev=False,
        help="the prior and the judges of the closed world, from nothing (hours)",
        description="Train the prior and the judges of the closed world.",
        add_help=False,
    )
    parser.set_defaults(run=run, passes_on=True)


def run(options: argparse.Namespace) -> int:
    """Pass the arguments on. Return the exit status."""
    from avatargen.training.command import main

    return main(options.rest)
