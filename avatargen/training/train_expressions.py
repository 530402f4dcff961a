"""Train the reader of expressions on faces of the closed world: a few minutes on two cores.

The faces are renders of random heads that training may see, with other seeds than those of the prior and of the judges;
their expressions are known. The reader has to read what the prior makes, so a third of the images are faces that the
prior has noised and denoised under their own captions. Prior and judges stay as they are, and no judge is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from avatargen.config.loading import load_priors
from avatargen.geometry.cameras import FACE
from avatargen.geometry.types import Cameras
from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.appearance import EXPRESSION, make_appearance
from avatargen.headworld.attributes import VALUES, Attributes, may_be_seen, sample
from avatargen.headworld.phrases import worded
from avatargen.io.content_hash import weights_id
from avatargen.priors.base import Prior, load_prior
from avatargen.priors.expression_reader import ReaderNetwork, save_reader
from avatargen.priors.foreground import Denoising, denoise
from avatargen.priors.gradient_histograms import gradient_histograms, mirrored
from avatargen.priors.parts import DECODED, in_parts
from avatargen.priors.view_prompts import VIEW_WORDS, named_views, with_view
from avatargen.render.base import Renderer
from avatargen.render.warp import WarpRenderer
from avatargen.training.artifact_cache import Facts, cached_artifact, code
from avatargen.training.rendering import SIZE, random_lights, render_lit, stack
from avatargen.training.trainer import Budget, Trainer

ACTIONS = tuple(sorted({name for actions in EXPRESSION.values() for name in actions}))
"""What the reader reads: the actions of the closed world's expressions."""
TABLE = torch.tensor([[actions.get(name, 0.0) for name in ACTIONS] for actions in EXPRESSION.values()])
"""Strength of each action in each expression."""
HEADS, SEED = 1400, 41001
"""Heads of the data, each seen by VIEWS cameras; seed of everything random."""
BATCH, VIEWS = 8, 2
RANGES = {"azimuth": (-30, 30), "elevation": (-8, 20), "distance": (1.15, 1.25), "fov": (10, 12)}
"""Of the cameras, degrees and metres."""
NOISED, GUIDED, STEPS = (0.3, 0.75), (2.0, 5.0), 2
"""How far faces are noised, as a fraction of the schedule, the guidance scale at which the prior denoises them, and in
how many steps."""
TOGETHER = 40
"""Faces that are denoised together, from one noise level at one guidance scale."""
BUDGET = Budget(steps=1000, batch=64, lr=2e-3, warmup=50, decay=0.99, cool=0.6)


@dataclass(frozen=True)
class Faces:
    """Images of faces with what they show.

    Attributes:
        images: uint8 (N, SIZE, SIZE, 4), colour multiplied by coverage, and coverage.
        expressions: index of each one's expression, (N,).
        prompts: captions, each with its view.
    """

    images: np.ndarray
    expressions: np.ndarray
    prompts: list[str]


def draw_face(rng: np.random.Generator) -> Attributes:
    """Return a random head that training may see; all expressions are equally frequent.

    Example:
        >>> may_be_seen(draw_face(np.random.default_rng(0)))
        True
    """
    while True:
        head, names = sample(rng), VALUES["expression"]
        head = replace(head, expression=names[rng.integers(len(names))]).plain()
        if may_be_seen(head):
            return head


def render_faces(head: AnnyHead, renderer: Renderer, heads: int, seed: int) -> Faces:
    """Render random individuals from the front, BATCH at a time.

    Args:
        head: the head model.
        renderer: of its topology.
        heads: their number.
        seed: of everything random.
    """
    rng, parts = np.random.default_rng(seed), []
    for _ in track(range(0, heads, BATCH), description=f"rendering {heads} faces"):
        drawn = [draw_face(rng) for _ in range(BATCH)]
        made = [make_appearance(head, each, np.random.default_rng(int(rng.integers(2**32)))) for each in drawn]
        parameters, colours = stack(made)
        cameras = _cameras(rng)
        light = random_lights(cameras, rng)
        with torch.no_grad():
            vertices = head.vertices(parameters)
        ambient = rng.uniform(0.5, 1, (BATCH, VIEWS))
        images = render_lit(renderer, vertices, colours, cameras, light, np.zeros(BATCH, bool), ambient)
        shown = np.array([list(EXPRESSION).index(each.expression) for each in drawn for _ in range(VIEWS)])
        texts = [worded(each, rng, True) for each in drawn for _ in range(VIEWS)]
        views = [name for row in named_views(cameras, VIEW_WORDS["sectors"]) for name in row]
        prompts = [with_view(text, view) for text, view in zip(texts, views, strict=True)]
        parts.append(Faces(images.reshape(-1, SIZE, SIZE, 4), shown, prompts))
    return Faces(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.expressions for part in parts]),
        [prompt for part in parts for prompt in part.prompts],
    )


def _cameras(rng: np.random.Generator) -> Cameras:
    """Return (BATCH, VIEWS) cameras in front of the face."""
    shape = (BATCH, VIEWS)
    target = torch.from_numpy(np.asarray(FACE) + rng.uniform(-0.01, 0.01, (*shape, 3))).float()
    drawn = {name: torch.from_numpy(rng.uniform(low, high, shape)).float() for name, (low, high) in RANGES.items()}
    return Cameras(**drawn, target=target)


def over_backgrounds(faces: Faces, rng: np.random.Generator) -> UInt8[Tensor, "N 3 H W"]:
    """Return the faces over plain random backgrounds."""
    colours = rng.uniform(0, 1, (len(faces.images), 1, 1, 3))
    made = faces.images[..., :3] + (255.0 - faces.images[..., 3:]) * colours
    return torch.from_numpy(made.clip(0, 255).astype(np.uint8)).permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def denoised(
    prior: Prior, images: UInt8[Tensor, "N 3 H W"], prompts: list[str], start: int
) -> Float[Tensor, "N 3 H W"]:
    """Return what the prior makes of noised faces under their own captions, RGB in [0, 1].

    Args:
        prior: the shipped one.
        images: at most TOGETHER faces over plain backgrounds.
        prompts: their captions with views.
        start: index of the first face; with SEED it decides noise, noise level and guidance scale.
    """
    rng, generator = np.random.default_rng((SEED, 2, start)), torch.Generator().manual_seed(SEED + start)
    latents = prior.encode(images.float() / 255)
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    how = Denoising(float(rng.uniform(*NOISED)), STEPS, float(rng.uniform(*GUIDED)))
    made = denoise(prior, latents, noise, prior.embed(prompts), prior.embed([""]), how)
    return in_parts(prior.decode, DECODED, made)


class ExpressionLoss:
    """Compute a reader's loss on faces, mirrored and noisy at random, keyed by (seed, step).

    Args:
        histograms: gradient histograms of faces.
        shown: index of the expression of each.
        seed: of everything random.
        batch: faces per step.
    """

    def __init__(self, histograms: Float[Tensor, "N 9 h w"], shown: Int[Tensor, " N"], seed: int, batch: int):
        self.histograms, self.shown, self.seed, self.batch = histograms, shown, seed, batch

    def __call__(self, network: ReaderNetwork, step: int) -> Float[Tensor, ""]:
        """Return the cross-entropy of a step."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        rows = torch.randint(len(self.histograms), (self.batch,), generator=generator)
        seen, shown = self.histograms[rows].float(), self.shown[rows]
        flips, scale = torch.rand(2, self.batch, 1, 1, 1, generator=generator)
        seen = torch.where(flips < 0.5, mirrored(seen), seen) * (0.8 + 0.4 * scale)
        seen = seen + 0.05 * torch.randn(seen.shape, generator=generator)
        device = network.expressions.device
        return F.cross_entropy(network(seen.to(device)), shown.to(device), label_smoothing=0.05)


def varied(images: Float[Tensor, "N 3 H W"], generator: torch.Generator) -> Float[Tensor, "N 3 H W"]:
    """Return images softened, in other contrast and colour, and blotched: as a prior's images may be.

    Args:
        images: RGB in [0, 1].
        generator: of what is random.
    """
    soften, contrast, tint, blotch = torch.rand(4, len(images), 3, 1, 1, generator=generator)
    half, quarter = (_softened(images, factor) for factor in (2, 4))
    soften = soften[:, :1]
    mild, strong = torch.lerp(images, half, 2 * soften), torch.lerp(half, quarter, 0.8 * (2 * soften - 1))
    images = torch.where(soften < 0.5, mild, strong)
    coarse = torch.randn(len(images), 3, 24, 24, generator=generator)
    blotches = F.interpolate(coarse, size=images.shape[-2:], mode="bilinear")
    images = (images - 0.5) * (0.7 + 0.6 * contrast[:, :1]) + 0.5 + 0.25 * (tint - 0.5)
    return (images + 0.06 * blotch[:, :1] * blotches).clamp(0, 1)


def _softened(images: Tensor, factor: int) -> Tensor:
    return F.interpolate(F.avg_pool2d(images, factor), scale_factor=factor, mode="bilinear")


def data(faces: Faces, prior: Prior) -> Float[Tensor, "N 9 h w"]:
    """Return gradient histograms of faces, of varied faces, and of what the prior makes of faces, one after the other.

    Args:
        faces: the renders.
        prior: the shipped one.
    """
    images, generator = over_backgrounds(faces, np.random.default_rng((SEED, 1))), torch.Generator().manual_seed(SEED)
    plain, changed, made = [], [], []
    for start in track(range(0, len(images), TOGETHER), description="denoising faces"):
        rows = slice(start, start + TOGETHER)
        seen = images[rows].float() / 255
        plain.append(gradient_histograms(seen))
        changed.append(gradient_histograms(varied(seen, generator)))
        made.append(gradient_histograms(denoised(prior, images[rows], faces.prompts[rows], start).cpu()))
    return torch.cat([*plain, *changed, *made]).half()


def train_expressions(work: Path, prior: Path, output: Path) -> None:
    """Train the reader and save it in half precision.

    Args:
        work: where renders, checkpoint and curve go.
        prior: the prior's folder.
        output: the reader's file.

    Raises:
        InputError: the checkpoint is of another training.
    """
    facts: Facts = {"heads": HEADS, "seed": SEED, "code": code("training.train_expressions")}
    faces = cached_artifact(work / "faces.npz", facts, _faces, read_faces, write_faces)
    settings = load_priors()["mini"].model_copy(update={"path": str(prior.absolute()), "reader": None})
    histograms = data(faces, load_prior(settings))
    shown = torch.from_numpy(faces.expressions).repeat(len(histograms) // len(faces.expressions))
    loss = ExpressionLoss(histograms, shown, 0, BUDGET.batch)
    torch.manual_seed(0)
    network = ReaderNetwork(TABLE)
    facts["prior"] = weights_id(str(prior.absolute()))[:12]
    Trainer("expressions", work, {"network": network}, BUDGET, facts).run(lambda step: loss(network, step))
    save_reader(network, ACTIONS, output)


def _faces() -> Faces:
    head = AnnyHead.load()
    return render_faces(head, WarpRenderer(head.topology, head.canonical(head.shape_template[None])[0]), HEADS, SEED)


def read_faces(path: Path) -> Faces:
    """Return the faces of a file that `write_faces` wrote."""
    stored = np.load(path, allow_pickle=False)
    return Faces(stored["images"], stored["expressions"], list(map(str, stored["prompts"])))


def write_faces(path: Path, faces: Faces) -> None:
    """Write faces as NumPy's ``.npz``.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("wb") as file:
        np.savez(file, **vars(faces))
