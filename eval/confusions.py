"""What confusions are taken for: in what the head of the caption that came first differs from the head of the own one.

Only in the head world, whose captions name known attributes. Of captions in other words there is no such table; what
their avatars are taken for stands in ``records.csv``.
"""

from __future__ import annotations

import pandas as pd

from avatargen.headworld.attributes import VALUES
from avatargen.headworld.phrases import parse

CONFUSIONS = ("method", "judge", "track", "n", "missed", *VALUES)


def confusions(records: pd.DataFrame) -> pd.DataFrame:
    """One row a method, judge and track.

    Args:
        records: columns as in :class:`eval.records.Record`.

    Returns:
        `n` avatars whose own caption is of the head world; the share of them that `missed`, failures included; and for
        each attribute the share that was taken for a head with another one. A miss may count under several attributes.
    """
    rows = []
    for (method, judge, track), group in records.groupby(["method", "judge", "track"], sort=False):
        known = group[[parse(caption) is not None for caption in group["caption"]]]
        if known.empty:
            continue
        wrong = [differing(*captions) for captions in zip(known["caption"], known["taken_for"], strict=True)]
        shares = [sum(name in names for names in wrong) / len(known) for name in VALUES]
        rows.append([method, judge, track, len(known), (known["rank"] > 1).mean(), *shares])
    return pd.DataFrame(rows, columns=CONFUSIONS)


def differing(caption: str, other: str) -> tuple[str, ...]:
    """The attributes in which the heads of two captions differ, as far as they can be seen.

    Empty where either caption is not of the head world.
    """
    own, taken = parse(caption), parse(other)
    if own is None or taken is None:
        return ()
    return tuple(name for name in VALUES if getattr(own.plain(), name) != getattr(taken.plain(), name))
