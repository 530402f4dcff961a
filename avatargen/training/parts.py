"""Train the parts of the embedded stack from their seeds: data sets, the prior, the judges."""

# diffusers loads its names lazily, and its types of `.to`, configurations and outputs are too narrow.
# pyright: reportPrivateImportUsage=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny

from avatargen.heads.anny.head import AnnyHead
from avatargen.render.warp import WarpRenderer
from avatargen.training.artifact_cache import cached_artifact, weights_hash
from avatargen.training.dataset import Renders, facts_of, generate, joined, read_renders, write_renders
from avatargen.training.prior_batches import Samples
from avatargen.training.prior_parts import build_scheduler
from avatargen.training.recipe import Recipe
from avatargen.training.tokens import write_tokenizer
from avatargen.training.train_judge import train_judge
from avatargen.training.train_prior import loss_weights, relatives, train_prior
from avatargen.training.train_reader import answers_of, train_reader
from avatargen.training.train_vae import cached_latents, train_vae

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
"""Copies of each render that the prior sees: over two backgrounds, one of them mirrored."""


def data(name: str, work: Path) -> Renders:
    """Return one of SETS; render it at the first call, in as many processes as torch has threads.

    Args:
        name: of the data set.
        work: where its file goes.
    """
    recipe = SETS[name]
    return cached_artifact(work / f"{name}.npz", facts_of(recipe), lambda: _render(recipe), read_renders, write_renders)


def _render(recipe: Recipe) -> Renders:
    count = torch.get_num_threads()
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        return joined(list(pool.map(_render_part, [recipe] * count, range(count), [count] * count)))


def _render_part(recipe: Recipe, part: int, parts: int) -> Renders:
    torch.set_num_threads(1)
    return generate(*head_and_renderer(), recipe, part, parts)


def head_and_renderer() -> tuple[AnnyHead, WarpRenderer]:
    """Return the closed world's head model and a renderer of its topology."""
    head = AnnyHead.load()
    return head, WarpRenderer(head.topology, head.canonical(head.shape_template[None])[0])


def train_the_prior(work: Path, output: Path) -> None:
    """Train autoencoder, reader, text encoder and UNet, in this order; save the pipeline in half precision.

    Args:
        work: where data, checkpoints and curves go.
        output: the pipeline's folder.

    Raises:
        InputError: a checkpoint is of another training.
    """
    renders = data("prior", work)
    flips = [bool(seed % 2) for seed in range(VARIANTS)]
    images = np.concatenate([renders.over_backgrounds(seed, flip) for seed, flip in enumerate(flips)])
    made_from = {**facts_of(SETS["prior"]), "variants": VARIANTS}
    vae = train_vae(images, made_from, work)
    made_from["vae"] = weights_hash(vae)
    latents = cached_latents(vae, images, made_from, work / "latents.npy")
    prompts = [prompt for seed, flip in enumerate(flips) for prompt in renders.prompts(seed, flip)]
    write_tokenizer(work / "tokenizer")
    size = latents.shape[-1]
    weights = torch.cat([loss_weights(renders.coverage(flip), size, renders.points(flip)) for flip in flips])
    samples = Samples(latents, weights, relatives(renders.families, VARIANTS), prompts)
    answers = answers_of(renders, flips)
    reader = train_reader(latents, samples.relatives, answers, build_scheduler().alphas_cumprod, made_from, work)
    made_from["reader"] = weights_hash(reader)
    pipeline = train_prior(samples, made_from, vae, work / "tokenizer", work, reader, answers.labels)
    pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(output, safe_serialization=True)


def train_a_judge(name: str, work: Path, prior: Path, output: Path) -> None:
    """Train a mini CLIP on other renders than the prior's, some of them through the prior's autoencoder.

    Args:
        name: one of `JUDGES`.
        work: where data, checkpoints and curves go.
        prior: the prior's folder.
        output: the judge's folder.

    Raises:
        InputError: a checkpoint is of another training.
    """
    vae = AutoencoderTiny.from_pretrained(prior, subfolder="vae", dtype=torch.float32).eval()
    made_from = {**facts_of(SETS["judge"]), "vae": weights_hash(vae)}
    train_judge(name, data("judge", work), vae.to(memory_format=torch.channels_last), made_from, output, work)
