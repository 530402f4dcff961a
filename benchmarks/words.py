"""Words that a prior understands, by attribute: in the text encoder's states, and in the UNet's predictions.

    python benchmarks/words.py [--prior FOLDER] [--attribute skin ...] [--timestep 100 300 500 700]

For each attribute of the closed world it prints:

- text: accuracy of a linear classifier of the attribute, on new captions, from the text features that reach all of the
  UNet (its time embedding's share of the prompt; if there is none, the end token's state); and the share of the most
  frequent value. A word that is missing from these features cannot be painted.
- UNet: accuracy of the UNet as a classifier (arXiv 2303.16203) of captions that differ in this attribute alone, from
  renders of held-out heads at each timestep; and the chance level. No judge takes part. A prior that is trained to turn
  relatives into what captions say (`PriorLoss`) may be below chance: it expects images that differ from their captions,
  so its errors are not likelihoods.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatargen.config.prompts import read_list  # noqa: E402
from avatargen.config.settings import PriorSettings  # noqa: E402
from avatargen.heads.anny.head import AnnyHead  # noqa: E402
from avatargen.headworld.attributes import VALUES, Attributes  # noqa: E402
from avatargen.headworld.phrases import caption  # noqa: E402
from avatargen.headworld.pools import known  # noqa: E402
from avatargen.priors.base import Prior, load_prior  # noqa: E402
from avatargen.render.warp import WarpRenderer  # noqa: E402
from avatargen.training.pictures import Pictures, render_heads  # noqa: E402
from avatargen.training.train_text import TARGETS, corpus  # noqa: E402

LIST = ROOT / "prompts" / "embedded-study.tsv"
CAPTIONS = 3000, 1000
"""Captions to fit the linear classifiers, and to measure their accuracy."""


def main() -> None:
    """Print a Markdown table with one row for each attribute."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", default=str(ROOT / "avatargen" / "weights" / "prior"), help="folder of the pipeline")
    parser.add_argument("--timestep", type=int, nargs="+", default=[100, 300, 500, 700])
    parser.add_argument("--renders", type=int, default=4, help="renders of each head")
    parser.add_argument("--stride", type=int, default=1, help="use every STRIDE-th prompt of the study's list")
    parser.add_argument("--attribute", nargs="+", choices=list(VALUES), default=list(VALUES))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    prior = load_prior(PriorSettings(path=options.prior))
    named = named_by_text(
        StableDiffusionPipeline.from_pretrained(options.prior, safety_checker=None, dtype=torch.float32)
    )
    heads = [known(item.prompt) for item in read_list(LIST)][:: options.stride]
    head = AnnyHead.load()
    renderer = WarpRenderer(head.topology, head.canonical(head.shape_template[None])[0])
    pictures = render_heads(head, renderer, heads, options.renders, clay=False, front=True, seed=45)
    told = Told(prior, heads, pictures, options.timestep)
    print("| attribute | text | most frequent | UNet: chance |", " | ".join(f"t {t}" for t in options.timestep), "|")
    print("|" + "---|" * (4 + len(options.timestep)))
    for name in options.attribute:
        right, chance = told(name)
        cells = [name, *(f"{value:.2f}" for value in (*named[name], chance, *right.tolist()))]
        print(f"| {' | '.join(cells)} |", flush=True)


@torch.no_grad()
def named_by_text(pipeline: StableDiffusionPipeline) -> dict[str, tuple[float, float]]:
    """Return each attribute's accuracy by least squares on `heard`, and the share of its most frequent value."""
    fit, count = CAPTIONS
    lines, labels = corpus(fit + count, seed=77)
    states = torch.cat([heard(pipeline, lines[k : k + 250]) for k in range(0, len(lines), 250)])
    states = F.pad(states, (0, 1), value=1.0)
    found = {}
    for k, name in enumerate(TARGETS):
        answers = F.one_hot(labels[:, k], len(TARGETS[name])).float()
        weights = torch.linalg.lstsq(states[:fit], answers[:fit]).solution
        right = (states[fit:] @ weights).argmax(1) == labels[fit:, k]
        found[name] = float(right.float().mean()), float(answers[fit:].mean(0).max())
    return found


def heard(pipeline: StableDiffusionPipeline, lines: list[str]) -> Tensor:
    """Return the part of prompts that a UNet adds to its time embedding, (N, D), or the end tokens' states."""
    tokens = pipeline.tokenizer(lines, padding="max_length", truncation=True, return_tensors="pt").input_ids
    text = pipeline.text_encoder(tokens)
    heard_by = getattr(pipeline.unet, "add_embedding", None)
    return text.pooler_output if heard_by is None else heard_by(text[0])


class Told:
    """Accuracy of a UNet as a classifier; each render has one draw of noise, the same for all captions."""

    def __init__(self, prior: Prior, heads: list[Attributes], pictures: Pictures, timesteps: list[int]):
        self.prior, self.heads, self.own, self.timesteps = prior, heads, pictures.own, timesteps
        pixels = torch.from_numpy(pictures.images).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            self.latents = torch.cat([prior.encode(part.to(prior.device)) for part in pixels.split(24)])
        self.noise = torch.randn(self.latents.shape, generator=torch.Generator().manual_seed(0)).to(prior.device)

    @torch.no_grad()
    def __call__(self, name: str) -> tuple[np.ndarray, float]:
        """Return the accuracy for an attribute at each timestep, and the chance level."""
        hits, chance, count = np.zeros(len(self.timesteps)), 0.0, 0
        for k, head in enumerate(self.heads):
            pool = list(dict.fromkeys(caption(replace(head, **{name: value})) for value in VALUES[name]))
            if len(pool) == 1:
                continue
            rows, right = np.flatnonzero(self.own == k), pool.index(caption(head))
            text = self.prior.embed(pool)
            hits += [float((self._errors(rows, t, text).argmin(1) == right).sum()) for t in self.timesteps]
            chance, count = chance + len(rows) / len(pool), count + len(rows)
        return hits / max(1, count), chance / max(1, count)

    def _errors(self, rows: np.ndarray, t: int, text: Tensor) -> Tensor:
        """Return mean squared errors of the predicted velocity, (rows, captions)."""
        a = self.prior.alphas_cumprod[t]
        x, noise = self.latents[rows], self.noise[rows]
        noisy, velocity = a.sqrt() * x + (1 - a).sqrt() * noise, a.sqrt() * noise - (1 - a).sqrt() * x
        times = torch.full((len(rows) * len(text),), t, device=x.device)
        repeated = noisy.repeat_interleave(len(text), 0), text.repeat(len(rows), 1, 1)
        made = self.prior.predict(repeated[0], times, repeated[1]).float()
        return (made - velocity.repeat_interleave(len(text), 0)).square().mean((1, 2, 3)).view(len(rows), -1)


if __name__ == "__main__":
    main()
