"""``avatargen train``: train the closed world's prior and judges from their seeds, and measure them."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import torch

from avatargen.config.errors import InputError
from avatargen.config.places import ROOT
from avatargen.training.parts import head_and_renderer, train_a_judge, train_the_prior
from avatargen.training.report import write_report
from avatargen.training.train_expressions import train_expressions
from avatargen.training.train_judge import JUDGES

WEIGHTS = ROOT / "avatargen" / "weights"
WORK = Path("build/training")
EXPRESSIONS = "expressions"
DESCRIPTION = """\
Train the closed world's diffusion prior and judges from their seeds, on a GPU if there is one (hours on two cores).

The result is one run from nothing, not the shipped weights, which took many stages: see avatargen/weights/README.md.
Scores by other judges follow another protocol.

Data, checkpoints and curves go to WORK; an interrupted training resumes. New weights replace those in OUTPUT once
every part that was asked for has been trained (and measured, for `all`)."""
EXAMPLES = """\
parts:
  all          prior, judge, guide, expressions and report
  prior        autoencoder, reader, text encoder and UNet
  judge        the CLIP that judges; needs a prior in OUTPUT
  guide        the CLIP that guides clip_guided; needs a prior in OUTPUT
  expressions  the reader of expressions in the prior's images (minutes); needs a prior in OUTPUT
  report       measure the weights in OUTPUT, write REPORT.md and its pictures there

examples:
  avatargen train                          everything, into avatargen/weights
  avatargen train --output build/weights   everything, beside the shipped weights
  avatargen train judge --threads 8        one judge, with the prior that is there
  avatargen train report                   REPORT.md and its pictures anew"""


def train(part: str, work: Path, output: Path) -> None:
    """Train a part, or all and their report, below `work`; put the models in place once all of them exist.

    Args:
        part: ``all``, ``prior``, ``expressions`` or one of `JUDGES`.
        work: where data, checkpoints and curves go.
        output: the folder of all models.

    Raises:
        InputError: a part that needs a prior is to be trained and there is none, or a checkpoint is of
            another training.
    """
    made = work / f"trained-{part}"
    prior = (made if part == "all" else output) / "prior"
    if part in (*JUDGES, EXPRESSIONS) and not prior.is_dir():
        raise InputError(
            [
                f"{part}: got no prior at {prior}; expected one, since images go through its autoencoder; "
                f"run `avatargen train prior --output {output}` first"
            ]
        )
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    if part in ("all", "prior"):
        train_the_prior(work, made / "prior")
    for name in JUDGES:
        if part in ("all", name):
            train_a_judge(name, work, prior, made / name)
    if part in ("all", EXPRESSIONS):
        train_expressions(work, prior, made / "expressions.safetensors")
    if part == "all":
        report(made, work)
    put_in_place(made, output)
    shutil.rmtree(made)


def put_in_place(made: Path, output: Path) -> None:
    """Replace files and folders of `output` by those of the same name in `made`; leave what else is there.

    They are copied beside their places first and then renamed, so that no place ever holds half of one.
    """
    output.mkdir(parents=True, exist_ok=True)
    names = sorted(path.name for path in made.iterdir())
    for name in names:
        _remove(output / f".{name}.new")
        (shutil.copytree if (made / name).is_dir() else shutil.copy2)(made / name, output / f".{name}.new")
    for name in names:
        place, old = output / name, output / f".{name}.old"
        _remove(old)
        if place.exists():
            place.rename(old)
        (output / f".{name}.new").rename(place)
        _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def report(weights: Path, work: Path) -> None:
    """Measure the models in `weights`, write the report there, and print it.

    Raises:
        InputError: a model is missing.
    """
    missing = [name for name in ("prior", *JUDGES) if not (weights / name).is_dir()]
    if missing:
        raise InputError(f"report: got no {name} at {weights / name}; run `avatargen train` first" for name in missing)
    print(write_report(*head_and_renderer(), weights, work, tuple(JUDGES)))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: those after ``avatargen train``; of the process where None.

    Returns:
        Exit status: 0, or 2 for wrong input.
    """
    parser = argparse.ArgumentParser(
        prog="avatargen train",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = ("all", "prior", *JUDGES, EXPRESSIONS, "report")
    parser.add_argument("part", nargs="?", choices=parts, default="all", help="what to train (default: all)")
    parser.add_argument("--work", type=Path, default=WORK, help="data, checkpoints, curves (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="weights (default: avatargen/weights)")
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="CPU threads (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        if options.part == "report":
            report(options.output, options.work)
        else:
            train(options.part, options.work, options.output)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
