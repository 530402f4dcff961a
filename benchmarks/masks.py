"""Quality of the segmentation masks: how close they come from the template's silhouette to the true one.

    python benchmarks/masks.py [--timestep 0.6 0.9] [--prompts 12]

It makes the textures of some study prompts (phase 1 only), estimates masks of the template with these textures at each
timestep, and prints: the squared error of the masks as a share of the template's own error; and cosine and slope of
the change that the masks make to the silhouette, against the true change.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatargen.config.loading import load_experiment, load_library, resolve  # noqa: E402
from avatargen.config.prompts import PromptItem, read_list  # noqa: E402
from avatargen.config.settings import MethodSettings  # noqa: E402
from avatargen.geometry.cameras import keyed_noise  # noqa: E402
from avatargen.headworld.truth import true_head  # noqa: E402
from avatargen.method.context import Batch, embed_prompts  # noqa: E402
from avatargen.method.generator import Generator  # noqa: E402
from avatargen.method.optimise import take_step  # noqa: E402
from avatargen.method.segmentation import estimate_masks  # noqa: E402
from avatargen.method.state import initial_state  # noqa: E402
from avatargen.priors.foreground import Denoising  # noqa: E402

STRIDE = 3
"""Use every STRIDE-th prompt of the study's list."""


def main() -> None:
    """Print a Markdown table with one row for each timestep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timestep", type=float, nargs="+", default=[0.5, 0.6, 0.7, 0.8, 0.9])
    parser.add_argument("--steps", type=int, help="denoising steps (default: the prior's)")
    parser.add_argument("--guidance", type=float, help="guidance scale of the estimates (default: the prior's)")
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    run = resolve(load_experiment("embedded"), "full", load_library())
    generator = Generator.load(run.head, run.renderer, run.prior, options.threads)
    items = read_list(ROOT / "prompts" / "embedded-study.tsv")[::STRIDE][: options.prompts]
    with torch.no_grad():
        measure = Measurement(generator, run.method, items)
    steps, guidance = options.steps or run.prior.mask_steps, options.guidance or run.prior.mask_guidance
    print("| noised to | steps | guidance | relative error | cosine | slope | seconds |\n|---|---|---|---|---|---|---|")
    for timestep in options.timestep:
        began = time.perf_counter()
        left, cosine, slope = measure(Denoising(timestep, steps, guidance))
        cells = f"{left:.2f} | {cosine:.2f} | {slope:.2f} | {time.perf_counter() - began:.1f}"
        print(f"| {timestep} | {steps} | {guidance:g} | {cells} |", flush=True)


class Measurement:
    """Templates with the textures that phase 1 makes of some prompts, and their true silhouettes."""

    def __init__(self, generator: Generator, method: MethodSettings, items: list[PromptItem]):
        context, head, self.generator = generator.context, generator.head, generator
        device = head.shape_template.device
        self.keys = torch.tensor([item.key for item in items])
        texts, words = [item.prompt for item in items], generator.settings.view_words
        prompts = embed_prompts(generator.prior, texts, method.view_prompts, words)
        size = 2 * generator.settings.latent_size
        state = initial_state(head, method, generator.settings, context.start, self.keys.tolist(), size)
        self.batch = batch = Batch(context, method, prompts, self.keys)
        with torch.enable_grad():
            while state.step < method.phase1_steps:
                take_step(batch, state)
        truths = [true_head(item.prompt, item.tags, head) for item in items]
        on_cpu = head.to("cpu")  # ground-truth heads are on the CPU
        true = torch.cat([on_cpu.vertices(truth.parameters) for truth in truths if truth]).to(device)
        template = head.vertices(head.template(len(items)))
        self.seen = generator.renderer.render(
            template,
            batch.mask_cameras,
            generator.settings.latent_size,
            texture=state.texture,
            samples=generator.settings.samples,
            normals=False,
        )
        self.own, self.wanted = (generator.renderer.silhouette(v, batch.mask_cameras, size) for v in (template, true))

    @torch.no_grad()
    def __call__(self, denoising: Denoising) -> tuple[float, float, float]:
        """Return relative error, cosine and slope of the masks."""
        context, (views, shape) = self.generator.context, (self.own.shape[1], tuple(self.seen.features.shape[2:]))
        count = len(context.mask_latents)
        noise = keyed_noise(self.keys, 0, views * count, shape, self.batch.device).unflatten(1, (views, count))
        texts, empty = self.batch.mask_prompts, self.batch.prompts.empty
        masks = estimate_masks(context.prior, self.seen, self.own, context.mask_latents, noise, texts, empty, denoising)
        made, wanted = masks.foreground - self.own, self.wanted - self.own
        return _ratios(made, wanted)


def _ratios(made: Tensor, wanted: Tensor) -> tuple[float, float, float]:
    """Return the squared error of `made` relative to that of no change, and its cosine and slope against `wanted`."""
    left, along = (made - wanted).square().sum(), (made * wanted).sum()
    scale = wanted.square().sum()
    return float(left / scale), float(along / (made.norm() * wanted.norm())), float(along / scale)


if __name__ == "__main__":
    main()
