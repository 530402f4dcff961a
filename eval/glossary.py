"""Define the columns and findings of the report; each definition stands where its term is used first."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from avatargen.headworld.attributes import VALUES
from eval.findings import FINDINGS
from eval.tables import heading

TERMS = {
    "method": "how the avatars were made; the first one of the experiment is the baseline",
    "baseline": "the method that others are compared to",
    "prior": "diffusion model whose score distillation makes the avatars",
    "prompt": "text that the avatar was made from",
    "seed": "of the random numbers of noise and cameras",
    "status": "ok, or the kind of failure",
    "message": "what went wrong",
    "folder": "of the avatar's files",
    "list": "prompt list",
    "item": "id of the prompt in its list",
    "judge": "CLIP model that compares images of an avatar with captions",
    "other": "the judge that the first one is compared to",
    "track": "texture: colour renders among captions that differ in colour or material. shape in colour: the same "
    "renders among captions that differ in shape. geometry: grey renders among captions that differ in shape",
    "subset": "part of the prompts that the row is about",
    "n": "number of avatars; in tests, number of prompts, whose seeds are averaged",
    "n_failed": "avatars that were asked for and could not be made; they count as not retrieved",
    "n_differ": "prompts whose difference is not 0; only these decide a test",
    "n_methods": "number of methods that the row is over",
    "methods": "the methods that are ranked: all of them, or without the controls",
    "pool": "captions that an avatar's own caption is ranked among, itself included",
    "pool_name": "name of the set of captions",
    "chance": "R@1 of guessing: 1 / number of captions",
    "protocol": "hash of all that decides what a score means; scores compare only if it is equal",
    "r_at_1": "R-precision: fraction of avatars whose own caption ranks first in its pool",
    "r_at_1_noise": "lowest and highest R@1 of images with noise of −1, 0 or +1 of 255 in every pixel",
    "r_at_5": "fraction of avatars whose own caption is among the first five",
    "r_at_1_views": "R@1 with each view as a query of its own, instead of the mean over views",
    "r_at_1_baked": "R@1 of the exported RGB texture instead of the decoded latent texture",
    "r_at_1_gap": "R@1 of the decoded latent texture less that of the exported texture",
    "margin": "cosine with the own caption less that with the best other one; negative for a miss",
    "mrr": "mean reciprocal rank of the own caption; 1 is the best",
    "mean_rank": "mean rank of the own caption; 1 is the best",
    "rank": "rank of the own caption in its pool; 1 is the best",
    "taken_for": "caption that ranks first instead of the avatar's own",
    "clip_score": "mean cosine similarity with the own caption, whatever the other captions reach",
    "clip_score_baked": "CLIP score of the exported RGB texture",
    "clip_score_gap": "CLIP score of the decoded latent texture less that of the exported texture",
    "interval": "95 % interval: Wilson's for rates, bootstrap over prompts for means",
    "low": "lower end of the 95 % interval",
    "high": "upper end of the 95 % interval",
    "sd": "standard deviation over prompts",
    "claim": "what the paper states, tested on these prompts",
    "metric": "what is compared",
    "difference": "mean over prompts of the method less the baseline; in claims, longer distances are worse",
    "p": "two-sided permutation test over prompts",
    "q": "p corrected for the number of tests in the family",
    "least_p": "least p that any outcome could give with the prompts that differ",
    "least_q": "least q that the row could reach if every test of the family had its least p",
    "family": "tests that q is corrected over",
    "verdict": "holds or refuted: q < 0.05; untestable: no outcome could be; not shown: neither",
    "least_prompts": "smallest mean difference that this many prompts find at p < 0.05 with a probability of 80 %",
    "statement": "what the answer rests on",
    "figure": "the numbers behind the statement",
    "geometry_mm": "distance of neutral surfaces after rigid alignment, mean over area and both directions, of skin "
    "and scalp, mm",
    "geometry_mm_p95": "95th percentile of the distance of surfaces, mm",
    "geometry_mm_vertices": "the distance as a mean over vertices, which are finest in the ears, mm",
    "mm_region": "distance of surfaces in this region of the head, mm",
    "expression_error": "mean difference of the displacements by the avatar's expression and by the true one, mm",
    "colour_error": "mean absolute RGB difference of the exported texture and the true one, 0 to 1",
    "missed": "fraction of avatars whose own caption does not rank first",
    "attribute": "fraction of avatars that were taken for a head with another value of this attribute",
    "kendall_tau": "agreement of two judges' rankings of the methods; 1 is the same ranking, 0 no relation",
    "seconds": "share of the batch's optimisation and baking, over all attempts, without loading models, s",
    "n_taken_over": "avatars that another experiment made; their seconds are of that run's load",
    "seconds_mean": "mean time of an avatar, s",
    "seconds_median": "median time of an avatar, s",
    "seconds_total": "time of all avatars of the method, s",
    "peak_memory_mb": "largest memory while its batch ran, of the GPU or else of the process, MB",
    "with_findings": "fraction of avatars with any finding",
    "misaligned": "what the prior adds to or removes from the outline, as a fraction of the head's area: texture and "
    "geometry disagree",
    "saturated": "fraction of the head's pixels with a channel that is black or full",
    "masks": "change of the segmentation masks between refreshes, as a fraction of the head's area",
    "at_bounds": "fraction of the shape coefficients that lie at a bound",
    "at_limit": "fraction of the vertices whose offset is at its limit",
    "flicker": "RGB change of decoded renders between frames of a turntable, beyond that of the exported texture",
    "cut": "fraction of the judged views in which the head touches the border of the image",
    "janus": "fraction of the rear views that the prior takes for a front",
    "shows": "which part of the ground-truth head judges are shown",
    "agreement": "cosine of a prompt's avatars by two priors, less that of two prompts' avatars; 0 is chance",
    "style_share": "how much of what priors change in an avatar they change alike in every other prompt's; 1 is all",
    "condition": "under which the measure was taken",
    "measure": "what a diagnostic found",
    "value": "mean over prompts",
}
"""The terms; columns of the same meaning share one, see `term_of`."""
LIKE = (
    (re.compile(r"r_at_1_noise_(low|high)"), "r_at_1_noise"),
    (re.compile(r"(.+_)?low"), "low"),
    (re.compile(r"(.+_)?high"), "high"),
    (re.compile(r"mm_\w+"), "mm_region"),
    (re.compile(r"least_\d+"), "least_prompts"),
    (re.compile(r"geometry_mm_mean"), "geometry_mm"),
    (re.compile(r"peak_memory_mb(_max)?"), "peak_memory_mb"),
    (re.compile("|".join(VALUES)), "attribute"),
)
HEADINGS = {
    "r_at_1_noise": "noise",
    "mm_region": "lips, nose, …",
    "least_prompts": "12 prompts, …",
    "attribute": "age, hair, …",
    "geometry_mm": "geometry, mm",
    "interval": "95 % interval",
}


class Term(NamedTuple):
    """A term with its heading, its definition and the name of its place in the page."""

    heading: str
    text: str
    place: str


class Glossary:
    """Gives the definitions of terms once, where they are used first."""

    def __init__(self) -> None:
        self._shown: set[str] = set()

    def first(self, columns: Iterable[str]) -> list[Term]:
        """Return the terms of columns that no earlier call has returned.

        Example:
            >>> glossary = Glossary()
            >>> [term.heading for term in glossary.first(["r_at_1", "margin_low", "low"])]
            ['R@1', '95 % low']
            >>> glossary.first(["r_at_1"])
            []
        """
        found = []
        for name in columns:
            term = term_of(name)
            if term and term not in self._shown:
                self._shown.add(term)
                found.append(Term(HEADINGS.get(term, heading(term)), _text(term), f"term-{term}"))
        return found

    def place(self, column: str) -> str:
        """Return the name of the place of a column's definition; empty for one without a definition."""
        term = term_of(column)
        return f"term-{term}" if term in self._shown else ""


def term_of(column: str) -> str | None:
    """Return the term that a column stands for; None for one that has no definition.

    Example:
        >>> term_of("mm_nose"), term_of("margin_high"), term_of("hair"), term_of("spam")
        ('mm_region', 'high', 'attribute', None)
    """
    if column in TERMS:
        return column
    return next((term for pattern, term in LIKE if pattern.fullmatch(column)), None)


def _text(term: str) -> str:
    """Return a definition, for a finding with the value that it begins at."""
    return f"{TERMS[term]}. A finding from {FINDINGS[term]:g}" if term in FINDINGS else TERMS[term]
