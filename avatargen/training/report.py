"""Measure the embedded models and write ``avatargen/weights/REPORT.md`` with its pictures.

Everything is measured on the prompts of ``embedded-study``, whose combinations of attributes no training image shows.
"""

# diffusers loads its names lazily, and its types of `.to`, configurations and outputs are too narrow.
# pyright: reportPrivateImportUsage=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderTiny

from avatargen.config.prompts import read_list
from avatargen.config.settings import PriorSettings
from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.attributes import Attributes
from avatargen.headworld.phrases import caption
from avatargen.headworld.pools import known
from avatargen.priors.base import Prior, load_prior
from avatargen.render.base import Renderer
from avatargen.training.measures import Judge
from avatargen.training.pictures import (
    AGAIN,
    BETWEEN,
    GUIDED_FROM,
    Pictures,
    decoded,
    render_heads,
    sample_heads,
)
from avatargen.training.report_figures import contact_sheet, curves, reconstruction_strip
from avatargen.training.report_tables import (
    LIST,
    Shown,
    attribute_rows,
    judge_rows,
    prior_rows,
    table,
    weights_rows,
)
from avatargen.training.train_vae import psnr, reconstruct

RENDERS = 32
"""Renders, and samples, of each of the 36 prompts: 1,152, so that a rate is known to within 0.01 or so."""
NOISE = 0.2
"""Standard deviation of the noise in latents that judges have to see past."""
GUIDANCE = 4.0
"""Scale of classifier-free guidance of samples."""
INTRODUCTION = (
    "`avatargen train report` writes this page. The heads are those of `prompts/embedded-study.tsv`, "
    f"{RENDERS} renders or samples of each; no training image shows their combinations of attributes. "
    "The pools hold the captions of all heads, and further ones: of colour, four with one attribute swapped for each "
    "head; of clay, random shapes."
)
JUDGED = (
    "R@1 is the share of pictures whose own caption the judge ranks first in the pool. "
    "A ground-truth head has the template's value where its prompt says nothing; avatars are compared with it. "
    "The other heads are other individuals with the same captions. Cameras, light and backgrounds are random. "
    f"Samples name each of 16 directions in turn, are guided with scale {GUIDANCE:g} above {GUIDED_FROM:g} of the "
    f"schedule, and are restarted {AGAIN} times, from {BETWEEN[0]:g} of it to {BETWEEN[1]:g} (arXiv 2306.14878)."
)
ATTRIBUTES = (
    "How often the judge picks the right one of captions that differ in this attribute alone; azimuth up to 60°."
)
JUDGES_HEADER = ("judge", "pictures", "pool", "within 60°", "side and back")
ATTRIBUTES_HEADER = ("chance", "colour renders", "clay renders", "samples")


@dataclass(frozen=True)
class Gallery:
    """All pictures of the report.

    Attributes:
        others: renders of other individuals, by (clay, front).
        truths: renders of the ground-truth heads, by (clay, front).
        samples: of the prior, by front.
    """

    others: dict[tuple[bool, bool], Pictures]
    truths: dict[tuple[bool, bool], Pictures]
    samples: dict[bool, Pictures]


def write_report(head: AnnyHead, renderer: Renderer, weights: Path, work: Path, judges: tuple[str, ...]) -> str:
    """Measure the autoencoder, the judges and the prior's samples; write the report beside the weights.

    Args:
        head: the head model.
        renderer: of its topology.
        weights: folder of the models ``prior`` and `judges`.
        work: where the trainings left their curves.
        judges: names of the judges.

    Returns:
        The report's text.
    """
    heads = [known(item.prompt) for item in read_list(LIST)]
    prior = load_prior(PriorSettings(path=str(weights / "prior")))
    gallery = _gallery(head, renderer, prior, heads)
    loaded = {name: Judge(weights / name) for name in judges}
    vae = AutoencoderTiny.from_pretrained(weights / "prior", subfolder="vae", dtype=torch.float32)
    front, clay, samples = gallery.others[False, True], gallery.others[True, True], gallery.samples[True]
    text = _page(
        table(("folder", "hash", "MB"), weights_rows(weights, ("prior", *judges))),
        table(("figure", "value"), prior_rows(prior, psnr(vae, front.images))),
        table(JUDGES_HEADER, judge_rows(loaded, heads, _shown(prior, gallery))),
        [
            table((name, *ATTRIBUTES_HEADER), attribute_rows(judge, heads, front, clay, samples))
            for name, judge in loaded.items()
        ],
    )
    captions = [caption(one) for one in heads]
    contact_sheet(front, captions, weights / "heads.jpg")
    contact_sheet(samples, captions, weights / "samples.jpg")
    some = front.images[:: RENDERS * 3][:12]
    reconstruction_strip(some, reconstruct(vae, some), weights / "reconstructions.png")
    curves(work, weights / "curves.png")
    (weights / "REPORT.md").write_text(text, encoding="utf-8")
    return text


def _gallery(head: AnnyHead, renderer: Renderer, prior: Prior, heads: list[Attributes]) -> Gallery:
    """Render the heads and sample the prior."""
    others, truths = (
        {
            (clay, front): render_heads(head, renderer, heads, RENDERS, clay, front, 44 + 2 * clay + front, true)
            for clay in (False, True)
            for front in (True, False)
        }
        for true in (False, True)
    )
    prompts = [caption(one) for one in heads]
    samples = {front: sample_heads(prior, prompts, RENDERS, GUIDANCE, front) for front in (True, False)}
    return Gallery(others, truths, samples)


def _shown(prior: Prior, gallery: Gallery) -> list[Shown]:
    """Return the rows of the judges' table."""
    others, truths, samples = gallery.others, gallery.truths, gallery.samples
    front = others[False, True]
    return [
        Shown("ground-truth heads, colour", False, truths[False, True], truths[False, False]),
        Shown("ground-truth heads, clay", True, truths[True, True], truths[True, False]),
        Shown("other heads, colour", False, front, others[False, False]),
        Shown("the same, encoded and decoded", False, decoded(prior, front, 0.0)),
        Shown(f"the same, noise of {NOISE} in latents", False, decoded(prior, front, NOISE)),
        Shown("other heads, clay", True, others[True, True], others[True, False]),
        Shown("samples of the prior", False, samples[True], samples[False]),
    ]


def _page(weights: str, prior: str, judges: str, attributes: list[str]) -> str:
    """Return the report around its tables."""
    parts = [
        "# The embedded models on held-out combinations of attributes",
        INTRODUCTION,
        "## Weights",
        "Frozen: scores by other weights follow another protocol.",
        weights,
        "## Prior",
        prior,
        "![renders above, their reconstructions below](reconstructions.png)",
        "## Judges: R@1",
        JUDGED,
        judges,
        "## Attribute by attribute",
        ATTRIBUTES,
        *attributes,
        "## Pictures",
        "Renders and samples; azimuth up to 60°.",
        "![renders](heads.jpg)\n![samples](samples.jpg)\n![curves](curves.png)",
    ]
    return "\n\n".join(parts) + "\n"
