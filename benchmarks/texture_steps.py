"""How Adam's eps and the size of the texture decide the noise that score distillation leaves in a latent texture.

    python benchmarks/texture_steps.py [--size 128 256 512] [--eps 1e-15 1e-8 1e-3 1e-2] [--steps 1000]

No diffusion model is involved: the gradient of the latents is (z - z*) + noise, where z* is the render of a smooth
target texture from the same random camera, which is what score distillation amounts to for a prior that knows the head.
The template head is rendered at 64 x 64 with 2 x 2 samples, two views a step, as for Stable Diffusion. Printed are, in
units of the target's standard deviation: the error of renders from unseen cameras, at the size of training and at four
times that size (which shows streaks that a small render averages away); the error of the texels that a tenth of the
steps or fewer reach, and of the others; and the share of gradients that are smaller than eps, zeros aside.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatargen.config.settings import CameraSettings  # noqa: E402
from avatargen.geometry.cameras import evaluation_cameras, training_cameras  # noqa: E402
from avatargen.heads.anny.head import AnnyHead  # noqa: E402
from avatargen.render.warp import WarpRenderer  # noqa: E402

SIZE, SAMPLES, VIEWS, CHANNELS = 64, 2, 2, 4
RARE = 0.1
"""Share of the steps that reach a texel, below which it is rare."""


def main() -> None:
    """Print a Markdown table with one row for each texture size and eps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--eps", type=float, nargs="+", default=[1e-15, 1e-8, 1e-3, 1e-2])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--noise", type=float, default=1.0, help="standard deviation of the gradient's noise")
    options = parser.parse_args()
    torch.manual_seed(0)
    print("| texture | eps | render 64² | render 256² | rare texels | other texels | gradients < eps |")
    print("|---|---|---|---|---|---|---|")
    scene = Scene()
    for size in options.size:
        for eps in options.eps:
            figures = scene.optimise(size, eps, options.steps, options.rate, options.noise)
            cells = " | ".join(f"{figure:.3f}" for figure in figures[:-1])
            print(f"| {size}² | {eps:g} | {cells} | {figures[-1]:.0%} |", flush=True)


class Scene:
    """The template head with a smooth target texture of standard deviation 1."""

    def __init__(self) -> None:
        head = AnnyHead.load().proxy()
        self.vertices = head.canonical(head.shape_template[None])
        self.renderer = WarpRenderer(head.topology, self.vertices[0])
        small = torch.randn(1, CHANNELS, 12, 12, generator=torch.Generator().manual_seed(1))
        target = torch.nn.functional.interpolate(small, (1024, 1024), mode="bicubic", align_corners=False)
        self.target = target / target.std()

    def render(self, texture: Tensor, cameras: object, size: int, gradients: bool) -> tuple[Tensor, Tensor]:
        """Return features and coverage of all views."""
        seen = self.renderer.render(
            self.vertices, cameras, size, texture=texture, samples=SAMPLES, normals=False, gradients=gradients
        )
        return seen.features, seen.coverage.detach()

    def optimise(self, size: int, eps: float, steps: int, rate: float, noise: float) -> list[float]:
        """Return the figures of one row."""
        texture = torch.zeros(1, CHANNELS, size, size, requires_grad=True)
        adam = torch.optim.Adam([texture], lr=rate, betas=(0.9, 0.99), eps=eps)
        seen, small, all_seen = torch.zeros(size, size), 0, 0
        generator, seeds, ranges = torch.Generator().manual_seed(2), torch.zeros(1, dtype=torch.long), CameraSettings()
        for step in range(steps):
            cameras = training_cameras(seeds, step, VIEWS, ranges)
            features, coverage = self.render(texture, cameras, SIZE, gradients=True)
            with torch.no_grad():
                wanted, _ = self.render(self.target, cameras, SIZE, gradients=False)
                drawn = torch.randn(features.shape, generator=generator)
                gradient = coverage * ((features - wanted) + noise * drawn)
            adam.zero_grad()
            features.backward(gradient)
            touched = texture.grad.abs().amax(dim=(0, 1))
            seen += touched > 0
            all_seen += int((touched > 0).sum())
            small += int(((touched > 0) & (touched < eps)).sum())
            adam.step()
        return [*self._errors(texture.detach(), seen / steps), small / max(all_seen, 1)]

    @torch.no_grad()
    def _errors(self, texture: Tensor, seen: Tensor) -> list[float]:
        """Return the errors of renders at two sizes, of rare texels and of the others."""
        cameras = evaluation_cameras(1, 8)
        errors = []
        for size in (SIZE, 4 * SIZE):
            got, coverage = self.render(texture, cameras, size, gradients=False)
            wanted, _ = self.render(self.target, cameras, size, gradients=False)
            whole = (coverage > 0.99).float()
            errors.append(float((whole * (got - wanted)).square().sum() / whole.sum() / CHANNELS) ** 0.5)
        wanted = torch.nn.functional.interpolate(self.target, texture.shape[-2:], mode="area")
        error = (texture - wanted).square().mean(dim=(0, 1)).sqrt()
        rare, often = (seen > 0) & (seen <= RARE), seen > RARE
        return [*errors, float(error[rare].square().mean().sqrt()), float(error[often].square().mean().sqrt())]


if __name__ == "__main__":
    main()
