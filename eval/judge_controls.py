"""Measure what judges follow where colour and shape disagree.

A mixed head has the ground-truth geometry and expression of one prompt and the ground-truth texture of another. It is
shown like the avatars of the texture track. A judge follows colour if it finds the head closer to the prompt of its
texture than to the prompt of its geometry; a judge to whom both matter alike would do so for half of the heads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from avatargen.config.experiment import EvaluationSettings
from avatargen.config.prompts import PromptItem
from avatargen.headworld.attributes import SHAPE, Attributes
from avatargen.headworld.phrases import described
from avatargen.headworld.truth import true_head
from avatargen.io.avatar_file import Avatar, as_stored
from eval.embed import Judge
from eval.images import Images
from eval.statistics import wilson
from eval.views import RenderTools, decode_views, neural_colour, protocol_cameras

MOST = 24
"""Number of mixed heads; each costs about a second."""


class MixedHead(NamedTuple):
    """The prompts that a mixed head has its geometry and its texture from."""

    shape: PromptItem
    colour: PromptItem


class FollowedColour(NamedTuple):
    """A row of ``judge_controls.csv``: how often a judge follows colour, with a 95 % Wilson interval over heads.

    `n` is the number of mixed heads; `followed_colour_views` counts each view by itself.
    """

    judge: str
    n: int
    followed_colour: float
    followed_colour_low: float
    followed_colour_high: float
    followed_colour_views: float


def mixed_heads(items: Iterable[PromptItem]) -> list[MixedHead]:
    """Pair each prompt with the next one whose head differs from its own in both shape and colour.

    Args:
        items: of all lists; each prompt counts once. Those without a ground-truth head are left out.

    Returns:
        At most `MOST` pairs: none with fewer than two prompts that differ in both.

    Example:
        >>> items = [PromptItem("few", "", text) for text in ("a man", "a girl", "a girl with green skin")]
        >>> [(pair.shape.prompt, pair.colour.prompt) for pair in mixed_heads(items)]
        [('a man', 'a girl with green skin'), ('a girl with green skin', 'a man')]
    """
    known = {item.prompt: (item, head) for item in items if (head := described(item.prompt, item.tags))}
    heads, pairs = list(known.values()), []
    for place, (item, head) in enumerate(heads[:MOST]):
        others = heads[place + 1 :] + heads[:place]
        other = next((each for each, its in others if _differ_in_both(head, its)), None)
        if other:
            pairs.append(MixedHead(item, other))
    return pairs


def render_mixed(pairs: Sequence[MixedHead], tools: RenderTools, settings: EvaluationSettings) -> Iterator[Images]:
    """Render the views of mixed heads in the texture track: encoded and decoded, as of the method `oracle`.

    Args:
        pairs: of prompts that have ground-truth heads.
        tools: to render with; their head model is the closed world's.
        settings: of the protocol.
    """
    truth = cache(lambda item: true_head(item.prompt, item.tags, tools.head))
    for pair in pairs:
        shape, colour = truth(pair.shape), truth(pair.colour)
        assert shape is not None and colour is not None  # `mixed_heads` leaves out prompts without
        geometry: dict[str, Any] = shape.parameters.first()
        avatar = Avatar(
            id=f"{pair.shape.id}-{pair.colour.id}",
            prompt=pair.shape.prompt,
            seed=0,
            method="mixed",
            head_id=tools.head.id,
            prior_id=tools.prior.id,
            latent_texture=None,
            baked_texture=as_stored(colour.texture),
            **geometry,
        )
        shown = tools.fitting(avatar, settings.fit)
        cameras = protocol_cameras(avatar, shown, settings)
        yield neural_colour(decode_views(avatar, shown, cameras, settings.background), settings.size)


def followed_colour(judge: Judge, pairs: Sequence[MixedHead], views: Sequence[Images]) -> FollowedColour:
    """Return how often a judge finds mixed heads closer to the prompt of their texture than to that of their geometry.

    Args:
        judge: the model.
        pairs: at least one.
        views: of each pair's head, see :func:`render_mixed`.
    """
    texts = list(dict.fromkeys(item.prompt for pair in pairs for item in pair))
    captions = dict(zip(texts, judge.embed_texts(texts), strict=True))
    leads = []
    for pair, images in zip(pairs, views, strict=True):
        direction = captions[pair.colour.prompt] - captions[pair.shape.prompt]
        leads.append(judge.embed_images(images) @ direction)
    heads = [float(lead.mean() > 0) for lead in leads]
    rate = wilson(sum(heads), len(heads))
    by_view = float((np.concatenate(leads) > 0).mean())
    return FollowedColour(judge.name, len(heads), rate.value, rate.low, rate.high, by_view)


def to_frame(rows: Iterable[FollowedColour]) -> pd.DataFrame:
    """Return the table, with its columns even where there are no rows."""
    return pd.DataFrame(list(rows), columns=list(FollowedColour._fields))


def _differ_in_both(first: Attributes, second: Attributes) -> bool:
    """Return whether two heads differ both in what a textureless render shows and in what it does not."""
    differing = {name for name, value in asdict(first.plain()).items() if value != getattr(second.plain(), name)}
    return bool(differing & {*SHAPE}) and bool(differing - {*SHAPE})
