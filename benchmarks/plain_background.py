"""How much structure the denoising of a mask estimate puts onto a plain background, for a prior of image statistics.

    python benchmarks/plain_background.py

No weights are involved. The prior is the Gaussian field with the spectrum of natural images, power falling with the
square of frequency (Field, J. Opt. Soc. Am. A 4, 1987), and latents of variance 1; its best denoiser is known in closed
form. A plain image is noised and denoised by DDIM on Stable Diffusion's schedule, as for a mask. Printed are, in
latents: the standard deviation of what is left, the shift of the frame's median, and the frame's median distance from
it. A network that has seen plain backgrounds keeps them plainer than this prior, which knows none.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatargen.priors.diffusion import add_noise, to_sample  # noqa: E402
from avatargen.priors.foreground import FRAME  # noqa: E402
from avatargen.priors.schedule import schedule  # noqa: E402

DRAWS = 64
CASES = (
    (64, 0.6, 1),
    (64, 0.6, 4),
    (64, 0.3, 4),
    (64, 0.8, 4),
    (96, 0.6, 4),
    (96, 0.7, 4),
    (128, 0.6, 4),
    (128, 0.78, 4),
)
"""Size of the latents, timestep as a fraction, steps."""


def main() -> None:
    """Print a Markdown table."""
    print("| latents | from | steps | structure | median's shift | frame's unrest |\n|---|---|---|---|---|---|")
    for size, start, steps in CASES:
        figures = " | ".join(f"{figure:.2f}" for figure in left_over(size, start, steps))
        print(f"| {size}² | {start} | {steps} | {figures} |")


def left_over(size: int, start: float, steps: int) -> list[float]:
    """Return the three figures of a row, means over draws of the noise."""
    levels, power = schedule({}, None).alphas_cumprod, spectrum(size)
    times = torch.linspace(start, 0, steps + 1)[:-1].mul(len(levels)).long()
    noise = torch.randn(DRAWS, 1, size, size, generator=torch.Generator().manual_seed(0))
    clean = torch.zeros_like(noise)
    noisy = add_noise(clean, noise, levels[times[0]].expand(DRAWS))
    for k, time in enumerate(times):
        a = levels[time]
        wiener = a.sqrt() * power / (a * power + 1 - a)
        wanted = torch.fft.ifft2(torch.fft.fft2(noisy) * wiener).real
        epsilon = (noisy - a.sqrt() * wanted) / (1 - a).sqrt()
        clean = to_sample(epsilon, noisy, a.expand(DRAWS))
        noisy = add_noise(clean, epsilon, levels[times[min(k + 1, len(times) - 1)]].expand(DRAWS))
    edge = max(1, round(FRAME * size))
    frame = torch.cat([part.flatten(1) for part in (clean[..., :edge, :], clean[..., :edge], clean[..., -edge:])], 1)
    median = frame.median(1, keepdim=True).values
    unrest = (frame - median).abs().median(1).values
    return [float(each.mean()) for each in (clean.std(dim=(1, 2, 3)), median.abs(), unrest)]


def spectrum(size: int) -> Tensor:
    """Return the power of each frequency, with mean 1; the image's mean is free."""
    squared = torch.fft.fftfreq(size)[:, None] ** 2 + torch.fft.fftfreq(size)[None] ** 2
    power = torch.where(squared > 0, 1 / squared.clamp(min=1e-9), 0.0)
    power = power / power.mean()
    power[0, 0] = 4 * power.max()
    return power


if __name__ == "__main__":
    main()
