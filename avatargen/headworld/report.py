"""How good the embedded models are, on renders that neither was trained on: ``avatargen/assets/REPORT.md``."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from avatargen.distill import guide, to_epsilon
from avatargen.headworld.dataset import Renders
from avatargen.headworld.train_vae import psnr
from avatargen.priors.base import Prior, load_prior
from avatargen.settings import PriorSettings

matplotlib.use("Agg")
SAMPLES = 24


def write_report(test: Renders, assets: Path, work: Path) -> dict[str, float]:
    """Measure the VAE, the judge and the prior's samples; write a table and two pictures beside the weights."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(assets / "prior", torch_dtype=torch.float32)
    images = test.over_backgrounds(7)
    figures = {"vae_psnr_db": psnr(pipeline.vae, images[:256])}
    prior = load_prior(PriorSettings(path=str(assets / "prior")))
    prompts = list(dict.fromkeys(test.prompts(5)))[:SAMPLES]
    samples = ddim(prior, prompts, guidance=4.0)
    sheet(samples, work / "samples.png")
    figures |= judge_figures(assets / "judge", images, test, samples, prompts)
    lines = [
        "| figure | value |",
        "|---|---|",
        *(f"| {name} | {value:.3f} |" for name, value in figures.items()),
    ]
    text = "# The embedded models, on held-out renders\n\n`python -m avatargen.headworld report` writes this.\n\n"
    (assets / "REPORT.md").write_text(text + "\n".join(lines) + "\n")
    return figures


@torch.no_grad()
def ddim(prior: Prior, prompts: list[str], guidance: float, steps: int = 30, seed: int = 0) -> np.ndarray:
    """Plain samples of a prior, uint8 (N, H, W, 3), by DDIM (arXiv 2010.02502, eq. 12 with sigma = 0)."""
    x = torch.randn(len(prompts), prior.latent_channels, 32, 32, generator=torch.Generator().manual_seed(seed))
    condition, empty = prior.embed(prompts), prior.embed([""]).expand(len(prompts), -1, -1)
    times = torch.linspace(len(prior.alphas_cumprod) - 1, 0, steps + 1).long()
    for now, then in pairwise(times):
        a, b = prior.alphas_cumprod[now], prior.alphas_cumprod[then]
        t = now.repeat(2 * len(x))
        outputs = prior.predict(torch.cat([x, x]), t, torch.cat([empty, condition]))
        epsilon = guide(*outputs.chunk(2), guidance)
        epsilon = to_epsilon(epsilon, x, a.expand(len(x)), prior.prediction)
        clean = (x - (1 - a).sqrt() * epsilon) / a.sqrt()
        x = b.sqrt() * clean + (1 - b).sqrt() * epsilon
    return (prior.decode(clean) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def sheet(images: np.ndarray, path: Path, columns: int = 8) -> None:
    """Images side by side in one PNG."""
    rows = [
        np.concatenate(list(images[k : k + columns]), 1) for k in range(0, len(images) // columns * columns, columns)
    ]
    Image.fromarray(np.concatenate(rows)).save(path)


@torch.no_grad()
def judge_figures(
    folder: Path, images: np.ndarray, test: Renders, samples: np.ndarray, prompts: list[str]
) -> dict[str, float]:
    """R@1 of true renders, colour and textureless, and of the prior's samples, each among the captions of its kind."""
    import open_clip

    name = f"local-dir:{folder}"
    model = open_clip.create_model(name).eval()
    tokenizer = open_clip.get_tokenizer(name)

    def recall(pictures: np.ndarray, captions: list[str]) -> float:
        pool = list(dict.fromkeys(captions))
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        left = torch.cat([model.encode_image((part - 0.5) / 0.25, normalize=True) for part in pixels.split(64)])
        right: Tensor = model.encode_text(tokenizer(pool), normalize=True)
        own = torch.tensor([pool.index(caption) for caption in captions])
        return float(((left @ right.T).argmax(1) == own).float().mean())

    grey = (test.images[..., :3].max(-1) - test.images[..., :3].min(-1)).reshape(len(images), -1).max(1) < 3
    front = np.abs(test.azimuths) < 60
    figures = {}
    for kind, mask in (("clay", grey), ("colour", ~grey)):
        for view, seen in (("front", front), ("back_and_side", ~front)):
            rows = np.flatnonzero(mask & seen)
            figures[f"judge_r1_{kind}_{view}"] = recall(images[rows], [test.captions[k] for k in rows])
        figures[f"pool_{kind}"] = float(len({test.captions[k] for k in np.flatnonzero(mask)}))
    figures["judge_r1_samples"] = recall(
        samples, [p.split(", front view")[0].split(", side")[0].split(", back")[0] for p in prompts]
    )
    return figures
