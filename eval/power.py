"""The difference that a number of prompts can show, to plan a study with.

A paired t-test stands in for the permutation test, whose power is within two percent of it where differences are near
normal. Its power to find a mean difference d among n differences of standard deviation s is that of a noncentral t
distribution with n - 1 degrees of freedom and noncentrality d sqrt(n) / s.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import pandas as pd
from scipy.optimize import brentq
from scipy.stats import nct, t

from eval.columns import column, groups
from eval.families import LEVEL

POWER = 0.8
PROMPTS = (12, 24, 36, 48, 96)


class Power(NamedTuple):
    """A row of ``power.csv``; `least_N` is the smallest mean difference that N prompts show.

    Attributes:
        n_methods: methods that differ from the baseline, controls excepted.
        sd: median over them of the standard deviation over prompts of their differences to the baseline.
    """

    judge: str
    track: str
    metric: str
    n_methods: int
    sd: float
    least_12: float
    least_24: float
    least_36: float
    least_48: float
    least_96: float


def power(paired: pd.DataFrame) -> pd.DataFrame:
    """Return the smallest mean difference that is shown at p < 0.05 with a probability of 0.8.

    Args:
        paired: see :func:`eval.paired.paired`.

    Returns:
        One row for each judge, track and metric; NaN where no method differs from the baseline.
    """
    rows = []
    tested = paired.loc[(paired["family"] == "methods") & (paired["n_differ"] > 0) & paired["sd"].notna(), :]
    for (judge, track, metric), group in groups(tested, "judge", "track", "metric"):
        sd = cast(float, column(group, "sd").median())
        rows.append(Power(judge, track, metric, len(group), sd, *(sd * shown_effect(n) for n in PROMPTS)))
    return pd.DataFrame(rows, columns=Power._fields)


def shown_effect(n: int, level: float = LEVEL, power: float = POWER) -> float:
    """Return the smallest mean difference, in standard deviations, that n prompts show.

    Args:
        n: number of prompts, at least 2.
        level: of the two-sided test.
        power: probability that the test finds the difference, and its sign.

    Example:
        >>> round(shown_effect(12), 2), round(shown_effect(48), 2)
        (0.89, 0.41)
    """
    critical = t.ppf(1 - level / 2, n - 1)

    def excess(noncentrality: float) -> float:
        return float(nct.sf(critical, n - 1, noncentrality)) - power

    return cast(float, brentq(excess, 0.0, 2 * critical + 3)) / n**0.5
