"""Geometry gate: test whether the full method ends closer to the ground-truth head than the template it starts from.

    python benchmarks/gate.py [--method full] [--threads 2] [--out FOLDER]

It makes the five avatars of ``prompts/gate.tsv``, whose shapes differ clearly from the template's, and prints the
distance of the neutral surface to the truth before and after, in mm. The gate passes with four avatars that are closer;
the exit status is 1 where it does not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = 4
"""Avatars that must be closer."""
sys.path.insert(0, str(ROOT))

from avatargen.config.loading import load_experiment, load_library, resolve  # noqa: E402
from avatargen.config.prompts import read_list  # noqa: E402
from avatargen.geometry.types import HeadParameters  # noqa: E402
from avatargen.headworld.truth import true_head  # noqa: E402
from avatargen.io.avatar_file import GREY  # noqa: E402
from avatargen.method.generator import Generator  # noqa: E402
from eval.truth import compare_heads  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Run the gate and print a Markdown table. Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="full")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="folder for checkpoints, so that a run can resume")
    options = parser.parse_args(arguments)
    run = resolve(load_experiment("embedded"), options.method, load_library())
    generator = Generator.load(run.head, run.renderer, run.prior, options.threads)
    items = read_list(ROOT / "prompts" / "gate.tsv")
    folder = options.out or Path(tempfile.mkdtemp(prefix="gate-"))
    folders = [folder / item.item for item in items]
    for path in folders:
        path.mkdir(parents=True, exist_ok=True)
    grey = torch.full((3, 64, 64), GREY)
    passed = 0
    print("| prompt | template mm | avatar mm | expression mm: template | avatar | seconds |\n" + "|---" * 6 + "|")
    head = generator.head.to("cpu")  # heads are compared on the CPU
    for avatar in generator.run(run, items, folders):
        truth = true_head(avatar.prompt, (), head)
        assert truth is not None
        floor = compare_heads(head.template(1), grey, truth, head)
        made = HeadParameters(**{name: value.cpu() for name, value in vars(avatar.parameters()).items()})
        score = compare_heads(made, avatar.baked_texture.cpu(), truth, head)
        passed += score.geometry_mm < floor.geometry_mm
        cells = (floor.geometry_mm, score.geometry_mm, floor.expression_error, score.expression_error)
        values = " | ".join(f"{value:.2f}" for value in (*cells, avatar.cost["seconds"]))
        print(f"| {avatar.prompt} | {values} |", flush=True)
    print(f"\ncloser than the template: {passed} of {len(items)}; the gate requires {REQUIRED}")
    return int(passed < REQUIRED)


if __name__ == "__main__":
    sys.exit(main())
