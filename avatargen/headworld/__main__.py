"""``python -m avatargen.headworld``: train the embedded stack's prior and judge from their seeds (``make train``).

Data, checkpoints and curves lie in ``build/headworld``; an interrupted training resumes. The shipped weights are
replaced only when everything has been trained.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny

from avatargen.heads.anny import AnnyHead
from avatargen.headworld.dataset import Recipe, Renders, cached, facts_of, generate
from avatargen.headworld.kept import Facts, kept, weights
from avatargen.headworld.lists import write_lists
from avatargen.headworld.pools import write_pools
from avatargen.headworld.report import write_report
from avatargen.headworld.tokens import write_tokenizer
from avatargen.headworld.train_judge import JUDGES, train_judge
from avatargen.headworld.train_prior import loss_weights, train_prior
from avatargen.headworld.train_vae import encode, train_vae
from avatargen.render.warp import WarpRenderer

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "avatargen" / "assets"
SETS = {
    "prior": Recipe(heads=10_000, seed=11, close=0.3, ambient=(0.6, 0.9)),
    "judge": Recipe(heads=16_000, seed=22, clay=0.4, fov=(13.0, 18.0)),
}
"""The recipe of each data set."""
VARIANTS = 2
"""Copies of each render that the prior sees: two backgrounds, one of them mirrored."""


def data(name: str, work: Path) -> Renders:
    """One of SETS, rendered at the first call."""
    return cached(work / f"{name}.npz", SETS[name], lambda recipe: generate(*_studio(), recipe))


def _studio() -> tuple[AnnyHead, WarpRenderer]:
    head = AnnyHead.load()
    return head, WarpRenderer(head.topology, head.canonical(head.shape_template[None])[0])


def train_the_prior(work: Path, output: Path) -> None:
    """VAE, then text encoder and UNet on its latents; saves the pipeline in half precision."""
    renders = data("prior", work)
    flips = [bool(seed % 2) for seed in range(VARIANTS)]
    copies = [renders.over_backgrounds(seed, flip) for seed, flip in enumerate(flips)]
    images = np.concatenate(copies)
    made_from = {**facts_of(SETS["prior"]), "variants": VARIANTS}
    vae = train_vae(images, made_from, work)
    made_from["vae"] = weights(vae)
    latents = _latents(vae, images, made_from, work / "latents.npy")
    prompts = [prompt for seed in range(VARIANTS) for prompt in renders.prompts(seed)]
    write_tokenizer(work / "tokenizer")
    size = latents.shape[-1]
    weighed = [loss_weights(renders.coverage(flip), size, renders.points(flip)) for flip in flips]
    pipeline = train_prior(latents, torch.cat(weighed), prompts, made_from, vae, work / "tokenizer", work)
    pipeline.to(dtype=torch.float16)
    shutil.rmtree(output, ignore_errors=True)
    pipeline.save_pretrained(output, safe_serialization=True)


def _latents(vae: AutoencoderTiny, images: np.ndarray, made_from: Facts, path: Path) -> torch.Tensor:
    """Scaled latents of all images, kept beside the checkpoints so that resuming is quick."""

    def make() -> np.ndarray:
        return (encode(vae, images) * vae.config.scaling_factor).half().numpy()

    def write(target: Path, latents: np.ndarray) -> None:
        with target.open("wb") as file:
            np.save(file, latents)

    return torch.from_numpy(kept(path, made_from, make, np.load, write))


def train_a_judge(name: str, work: Path, output: Path) -> None:
    """A mini CLIP, on other renders than the prior's."""
    train_judge(name, data("judge", work), facts_of(SETS["judge"]), output, work)


def main() -> None:
    """Parse the arguments and train."""
    parser = argparse.ArgumentParser(prog="python -m avatargen.headworld", description=__doc__)
    parser.add_argument("part", nargs="?", choices=("all", "prior", *JUDGES, "report", "pools", "lists"), default="all")
    parser.add_argument("lists", nargs="*", type=Path, help="prompt lists, for `pools`; a folder, for `lists`")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "headworld", help="data and checkpoints")
    parser.add_argument("--output", type=Path, default=ASSETS, help="where the weights go")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.part == "pools":
        for path in arguments.lists:
            write_pools(path)
        return
    if arguments.part == "lists":
        write_lists(*arguments.lists)
        return
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.part in ("all", "prior"):
        train_the_prior(arguments.work, arguments.output / "prior")
    for name in JUDGES:
        if arguments.part in ("all", name):
            train_a_judge(name, arguments.work, arguments.output / name)
    if arguments.part in ("all", "report"):
        print(write_report(*_studio(), arguments.output, arguments.work, guidance=4.0, judges=tuple(JUDGES)))


if __name__ == "__main__":
    main()
