"""``python -m avatargen.headworld``: train the embedded stack's prior and judge from their seeds (``make train``).

Data, checkpoints and curves lie in ``build/headworld``; an interrupted training resumes. New weights lie there too
until all that was asked for has been trained (and measured, where that is everything), and replace the shipped ones
then.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny

from avatargen.config.errors import InputError
from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.lists import write_lists
from avatargen.headworld.pools import write_pools
from avatargen.render.warp import WarpRenderer
from avatargen.training.artifact_cache import Facts, kept, weights
from avatargen.training.dataset import Recipe, Renders, cached, facts_of, generate, joined
from avatargen.training.prior_loss import Samples
from avatargen.training.prior_parts import build_scheduler
from avatargen.training.report import write_report
from avatargen.training.tokens import write_tokenizer
from avatargen.training.train_judge import JUDGES, train_judge
from avatargen.training.train_prior import loss_weights, relatives, train_prior
from avatargen.training.train_reader import answers_of, train_reader
from avatargen.training.train_vae import encode, train_vae

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "avatargen" / "weights"
SETS = {
    "prior": Recipe(
        heads=4_400,
        views=1,
        relatives=6,
        seed=12,
        two_coloured=0.12,
        front=0.65,
        fov=(15.5, 16.5),
        close=0.35,
        close_fov=(10.0, 12.0),
        elevation=(-10.0, 25.0),
        ambient=(0.6, 0.9),
    ),
    "judge": Recipe(heads=16_000, seed=23, clay=0.4, two_coloured=0.12, fov=(13.0, 18.0)),
}
"""The recipe of each data set."""
VARIANTS = 2
"""Copies of each render that the prior sees: two backgrounds, one of them mirrored."""


def data(name: str, work: Path) -> Renders:
    """One of SETS, rendered at the first call, by as many processes as torch has threads here."""
    return cached(work / f"{name}.npz", SETS[name], _render)


def _render(recipe: Recipe) -> Renders:
    count = torch.get_num_threads()
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        return joined(list(pool.map(_render_part, [recipe] * count, range(count), [count] * count)))


def _render_part(recipe: Recipe, part: int, parts: int) -> Renders:
    torch.set_num_threads(1)
    return generate(*_head_and_renderer(), recipe, part, parts)


def _head_and_renderer() -> tuple[AnnyHead, WarpRenderer]:
    head = AnnyHead.load()
    return head, WarpRenderer(head.topology, head.canonical(head.shape_template[None])[0])


def train_the_prior(work: Path, output: Path) -> None:
    """VAE, a reader of its latents, then text encoder and UNet on them; saves the pipeline in half precision."""
    renders = data("prior", work)
    flips = [bool(seed % 2) for seed in range(VARIANTS)]
    copies = [renders.over_backgrounds(seed, flip) for seed, flip in enumerate(flips)]
    images = np.concatenate(copies)
    made_from = {**facts_of(SETS["prior"]), "variants": VARIANTS}
    vae = train_vae(images, made_from, work)
    made_from["vae"] = weights(vae)
    latents = _latents(vae, images, made_from, work / "latents.npy")
    prompts = [prompt for seed, flip in enumerate(flips) for prompt in renders.prompts(seed, flip)]
    write_tokenizer(work / "tokenizer")
    size = latents.shape[-1]
    weighed = [loss_weights(renders.coverage(flip), size, renders.points(flip)) for flip in flips]
    samples = Samples(latents, torch.cat(weighed), relatives(renders.families, VARIANTS), prompts)
    answers = answers_of(renders, flips)
    reader = train_reader(latents, samples.relatives, answers, build_scheduler().alphas_cumprod, made_from, work)
    made_from["reader"] = weights(reader)
    pipeline = train_prior(samples, made_from, vae, work / "tokenizer", work, reader, answers.labels)
    pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(output, safe_serialization=True)


def _latents(vae: AutoencoderTiny, images: np.ndarray, made_from: Facts, path: Path) -> torch.Tensor:
    """Scaled latents of all images, kept beside the checkpoints so that resuming is quick."""

    def make() -> np.ndarray:
        return (encode(vae, images) * vae.config.scaling_factor).half().numpy()

    def write(target: Path, latents: np.ndarray) -> None:
        with target.open("wb") as file:
            np.save(file, latents)

    return torch.from_numpy(kept(path, made_from, make, np.load, write))


def train_a_judge(name: str, work: Path, prior: Path, output: Path) -> None:
    """A mini CLIP, on other renders than the prior's, some of them through its autoencoder."""
    vae = AutoencoderTiny.from_pretrained(prior, subfolder="vae", dtype=torch.float32).eval()
    made_from = {**facts_of(SETS["judge"]), "vae": weights(vae)}
    train_judge(name, data("judge", work), vae.to(memory_format=torch.channels_last), made_from, output, work)


def train(part: str, work: Path, output: Path) -> None:
    """Train the models of a part, or all and their report, below `work`; put them in place once all are there.

    Raises:
        InputError: a judge is to be trained where there is no prior.
    """
    made = work / f"trained-{part}"
    prior = (made if part == "all" else output) / "prior"
    if part in JUDGES and not prior.is_dir():
        raise InputError(
            [f"{part}: sees images through the prior's autoencoder; expected a prior at {prior}, got none"]
        )
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    if part in ("all", "prior"):
        train_the_prior(work, made / "prior")
    for name in JUDGES:
        if part in ("all", name):
            train_a_judge(name, work, prior, made / name)
    if part == "all":
        report(made, work)
    put_in_place(made, output)
    shutil.rmtree(made)


def put_in_place(made: Path, output: Path) -> None:
    """Replace files and folders of `output` by those of the same name in `made`; what else is there stays.

    They are copied beside their places first and renamed then, so that no place ever holds half of one.
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


def report(assets: Path, work: Path) -> None:
    """Measure the models in a folder, write the report there, and print it."""
    print(write_report(*_head_and_renderer(), assets, work, guidance=4.0, judges=tuple(JUDGES)))


def run(part: str, lists: list[Path], work: Path, output: Path) -> None:
    """Do what the command line asks for.

    Raises:
        InputError: lists that are not right, or a checkpoint of another training.
    """
    if lists and part not in ("pools", "lists"):
        raise InputError([f"{part}: takes no lists, got {', '.join(map(str, lists))}"])
    if part == "pools":
        if not lists:
            raise InputError(["pools: expected prompt lists, got none"])
        for path in lists:
            write_pools(path)
    elif part == "lists":
        if len(lists) != 1 or not lists[0].is_dir():
            raise InputError([f"lists: expected one existing folder, got {', '.join(map(str, lists)) or 'none'}"])
        write_lists(lists[0])
    elif part == "report":
        report(output, work)
    else:
        train(part, work, output)


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments and do as they say. Returns the exit status: 0, or 2 (wrong input)."""
    parser = argparse.ArgumentParser(prog="python -m avatargen.headworld", description=__doc__)
    parser.add_argument("part", nargs="?", choices=("all", "prior", *JUDGES, "report", "pools", "lists"), default="all")
    parser.add_argument("lists", nargs="*", type=Path, help="prompt lists, for `pools`; a folder, for `lists`")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "headworld", help="data and checkpoints")
    parser.add_argument("--output", type=Path, default=ASSETS, help="where the weights go")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        run(options.part, options.lists, options.work, options.output)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
