"""``python -m avatargen.training.siblings``: take earlier stages of the shipped prior out of this repository's history.

They share its autoencoder, tokenizer, sizes and names of views, and differ in the training of UNet and text encoder
(avatargen/weights/README.md). The experiment ``cross_prior_embedded`` runs the method with them. Stages before the
third do not know the names of the 16 views.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from avatargen.config.errors import InputError, Problems
from avatargen.config.places import ROOT
from avatargen.io.atomic import replacing

SIBLINGS = {"stage_3": "e65a09f", "stage_4": "4d01062", "stage_8": "4f9d904"}
"""Commit of each stage, as in the table of avatargen/weights/README.md."""
SOURCE = "avatargen/assets/prior"
"""Where the prior lay at these commits."""
OUTPUT = ROOT / "build" / "siblings"
"""Where the stanzas of priors.yaml look for them."""


def extract(output: Path = OUTPUT, repository: Path = ROOT) -> list[Path]:
    """Write the siblings' folders, and return them.

    Args:
        output: folder that holds them.
        repository: a clone with its history.

    Raises:
        InputError: the history is not there, such as in a shallow clone or outside of one; all problems.
    """
    problems = Problems()
    listed = {name: problems.of(lambda commit=commit: _files(repository, commit)) for name, commit in SIBLINGS.items()}
    problems.check()
    for name, commit in SIBLINGS.items():
        for file in listed[name] or ():
            place = output / name / Path(file).relative_to(SOURCE)
            place.parent.mkdir(parents=True, exist_ok=True)
            with replacing(place) as partial:
                partial.write_bytes(_git(repository, "show", f"{commit}:{file}"))
    return [output / name for name in SIBLINGS]


def _files(repository: Path, commit: str) -> list[str]:
    """Return the files of the prior at a commit."""
    try:
        found = _git(repository, "ls-tree", "-r", "--name-only", commit, SOURCE).decode().split()
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(
            [f"{repository}: got no commit {commit}; expected a full clone: `git fetch --unshallow`"]
        ) from error
    if not found:
        raise InputError([f"{repository}: got no {SOURCE} at commit {commit}; expected this project's own history"])
    return found


def _git(repository: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(repository), *arguments], check=True, capture_output=True).stdout


def main() -> int:
    """Extract the siblings; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder (default: build/siblings)")
    try:
        for folder in extract(parser.parse_args().output):
            print(folder)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
