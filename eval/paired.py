"""Differences of each method to the baseline on the same prompts and seeds.

Seeds of a prompt are no independent outcomes, so they are averaged before intervals and tests are computed over
prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np
import pandas as pd

from avatargen.config.crossing import split_name
from eval.columns import PROMPT, UNIT, column, groups
from eval.families import is_control, q_values
from eval.statistics import FLOOR, bootstrap_mean, differs, least_p, paired_p

METRICS = ("r_at_1", "mrr", "mean_rank", "margin", "clip_score")
"""Metrics of a judge in a track."""
TRUTH_TRACKS = {"geometry_mm": "geometry", "expression_error": "geometry", "colour_error": "texture"}
"""The track that each distance to the ground truth belongs to."""


class Paired(NamedTuple):
    """A row of ``paired.csv``: method minus baseline.

    Attributes:
        n, n_differ: prompts; those whose difference is not 0.
        difference, low, high, sd: mean over prompts, its 95 % interval, and standard deviation over prompts.
        p, least_p: see :func:`eval.statistics.paired_p` and :func:`eval.statistics.least_p`.
        q: p corrected within `family`, see :mod:`eval.families`.
        p_at_floor: p is the least that random sign patterns can give; the p-value is at most this.
    """

    method: str
    baseline: str
    judge: str
    track: str
    metric: str
    n: int
    n_differ: int
    difference: float
    low: float
    high: float
    sd: float
    p: float
    least_p: float
    p_at_floor: bool
    family: str
    q: float = float("nan")


def paired(records: pd.DataFrame, truths: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Return differences of each method to the baseline on the same prompts and seeds; see `baseline_of`.

    Args:
        records: columns as in :class:`eval.records.Record`.
        truths: distances to the ground truth, see :func:`eval.tabulate.truth_records`; they stand under the judge
            ``truth``.
        baseline: name of a method.
    """
    scores = with_metrics(records)
    rows: list[Paired] = []
    for (judge, track), group in groups(scores, "judge", "track"):
        for metric in METRICS:
            rows += _rows(group, metric, judge, track, baseline)
    for metric, track in TRUTH_TRACKS.items() if len(truths) else ():
        rows += _rows(truths, metric, "truth", track, baseline)
    table = pd.DataFrame(rows, columns=Paired._fields)
    return table.assign(q=q_values(table))


def with_metrics(records: pd.DataFrame) -> pd.DataFrame:
    """Return records with a column for each of METRICS."""
    rank = column(records, "rank").astype(float)
    margin = column(records, "margin").astype(float)
    return records.assign(r_at_1=(rank == 1).astype(float), mrr=1 / rank, mean_rank=rank, margin=margin)


def _rows(group: pd.DataFrame, metric: str, judge: str, track: str, baseline: str) -> Iterator[Paired]:
    table = group.pivot_table(index=UNIT, columns="method", values=metric, aggfunc="mean", sort=False)
    for method in table.columns:
        against = baseline_of(method, baseline, list(table.columns))
        if against is None or against == method:
            continue
        both = (column(table, method) - column(table, against)).dropna()
        differences = cast(pd.Series, both.groupby(level=PROMPT, sort=False).mean()).to_numpy(dtype=np.float64)
        mean, p, n = bootstrap_mean(differences), paired_p(differences), len(differences)
        yield Paired(
            *(method, against, judge, track, metric, n, int(differs(differences).sum())),
            *(mean.value, mean.low, mean.high, float(differences.std(ddof=1)) if n > 1 else np.nan),
            p=p,
            least_p=least_p(differences),
            p_at_floor=p == FLOOR,
            family="controls" if is_control(method) else "methods",
        )


def baseline_of(run: str, baseline: str, runs: Sequence[str]) -> str | None:
    """Return the run of the baseline that a run is compared with: under the same prior, where both are crossed.

    A run that uses no prior is compared under the first prior, which shows it.

    Args:
        run: its name, see :mod:`avatargen.config.crossing`.
        baseline: name of a method.
        runs: names of all runs, in the order of the priors.

    Returns:
        None where the baseline has no such run.

    Example:
        >>> runs = ["full@a", "full@b", "bare@b", "template"]
        >>> baseline_of("bare@b", "full", runs), baseline_of("template", "full", runs)
        ('full@b', 'full@a')
    """
    prior = split_name(run)[1]
    same = {split_name(name)[1]: name for name in reversed(runs) if split_name(name)[0] == baseline}
    first = next(reversed(same.values()), None)
    return same.get(prior, same.get("") if prior else first)
