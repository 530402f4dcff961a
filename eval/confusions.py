"""Confusions by attribute: how the head of the caption that ranks first differs from that of the own caption.

Only captions of the closed world name known attributes. Of other captions there is no such table; the captions that
their avatars were taken for are in ``records.csv``.
"""

from __future__ import annotations

import pandas as pd

from avatargen.headworld.attributes import VALUES
from avatargen.headworld.phrases import parse
from eval.columns import groups
from eval.subsets import each_subset

CONFUSIONS = ("method", "judge", "track", "subset", "n", "missed", *VALUES)


def confusions(records: pd.DataFrame) -> pd.DataFrame:
    """Return how often each attribute is confused, one row for each judge, track, subset and method.

    Args:
        records: columns as in :class:`eval.records.Record`.

    Returns:
        `n` counts the avatars whose own caption is of the closed world; `missed` is the fraction of them whose caption
        does not rank first, failures included; each attribute's column is the fraction that was taken for a head with
        another value of it. One confusion can count under several attributes.
    """
    rows = []
    for (judge, track, subset, method), group in groups(each_subset(records), "judge", "track", "subset", "method"):
        known = group[[parse(caption) is not None for caption in group["caption"]]]
        if known.empty:
            continue
        wrong = [differing(*captions) for captions in zip(known["caption"], known["taken_for"], strict=True)]
        shares = [sum(name in names for names in wrong) / len(known) for name in VALUES]
        rows.append([method, judge, track, subset, len(known), (known["rank"] > 1).mean(), *shares])
    return pd.DataFrame(rows, columns=CONFUSIONS)


def differing(caption: str, other: str) -> tuple[str, ...]:
    """Return the attributes in which the heads of two captions visibly differ.

    Empty where either caption is not of the closed world.

    Example:
        >>> differing("a smiling boy", "an angry girl")
        ('sex', 'expression')
    """
    own, taken = parse(caption), parse(other)
    if own is None or taken is None:
        return ()
    return tuple(name for name in VALUES if getattr(own.plain(), name) != getattr(taken.plain(), name))
