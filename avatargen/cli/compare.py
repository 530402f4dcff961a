"""``avatargen compare``: two runs, or two methods, on the same prompts and seeds.

``workflow/scripts/compare_runs.py`` does the work in a process of its own, since `avatargen` does not import `eval`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from avatargen.config.places import shipped

SCRIPT = shipped("workflow/scripts/compare_runs.py")
EXAMPLES = """examples:
  avatargen compare results/before results/after                  every method that both runs have
  avatargen compare results/a:full results/b:guidance_25          a method of each run
  avatargen compare results/a:full results/a:guidance_25          two methods of one run
  avatargen compare results/few results/many --common             on the prompts and seeds that both have

Differences are B − A, paired by prompt and seed, with 95% intervals, p- and q-values. Scores of different
protocols (camera, judge, pool of captions, …) are not compared; the error says what differs."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add ``avatargen compare``."""
    parser = subparsers.add_parser(
        "compare",
        allow_abbrev=False,
        help="two runs or two methods: differences with intervals, and a page of pictures side by side",
        description="Compare two runs, or two methods, on the same prompts and seeds.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", metavar="RUN_A", help="folder results/EXPERIMENT, or FOLDER:METHOD")
    parser.add_argument("b", metavar="RUN_B", help="likewise; differences are B − A")
    parser.add_argument("--common", action="store_true", help="compare on the prompts and seeds that both runs have")
    parser.add_argument("--tracks", metavar="A,B", help="only these tracks, such as geometry")
    parser.add_argument(
        "--page", type=Path, default=Path("compare.html"), metavar="FILE", help="page to write (default: compare.html)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare. Return the exit status: 0, 1 (a file cannot be written) or 2 (they do not compare)."""
    arguments = [options.a, options.b, "--page", str(options.page)]
    arguments += ["--common"] if options.common else []
    arguments += ["--tracks", options.tracks] if options.tracks else []
    sys.stdout.flush()
    return subprocess.run([sys.executable, str(SCRIPT), *arguments]).returncode
