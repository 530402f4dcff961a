"""The families of tests that are corrected together, and their q-values.

A family is a set of tests that a reader scans for anything that differs. Each has a correction:

headline  The paper's claims, each on one metric, set before the run: its primary one, by the first judge. Holm, so that
          the probability of any false verdict is at most 0.05.
claims    All other rows of the claims: further metrics and judges. Benjamini-Hochberg.
methods   All rows of ``paired``, over judges, tracks and metrics, but those of controls. Benjamini-Hochberg.
controls  The rows of floors and ceilings in ``paired``, which are known to differ: among the methods they would make
          every other q-value smaller. Benjamini-Hochberg.

Both corrections grow with every p-value of the family: correcting the least p-values gives the least q of each row, and
a row whose least q is not below the level could not have been shown.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from avatargen.config.crossing import split_name
from eval.columns import column, groups
from eval.statistics import benjamini_hochberg, holm

LEVEL = 0.05
CONTROLS = ("template", "true_texture", "true_shape", "oracle", "oracle_coarse", "oracle_fine")
"""Methods that are floors and ceilings of the scores, not ways to make an avatar."""
CORRECTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "headline": holm,
    "claims": benjamini_hochberg,
    "methods": benjamini_hochberg,
    "controls": benjamini_hochberg,
}


def is_control(run: str) -> bool:
    """Return whether a run is that of a floor or ceiling.

    Example:
        >>> is_control("oracle"), is_control("full@sd15")
        (True, False)
    """
    return split_name(run)[0] in CONTROLS


def q_values(table: pd.DataFrame, of: str = "p") -> pd.Series:
    """Return the corrected p-value of each row within its family.

    Args:
        table: columns `family` and `of`.
        of: column of p-values; `least_p` gives the least q that each row could have.

    Example:
        >>> table = pd.DataFrame({"p": [0.01, 0.04, 0.03], "family": ["methods", "methods", "headline"]})
        >>> q_values(table).round(3).tolist()
        [0.02, 0.04, 0.03]
    """
    q = pd.Series(np.nan, index=table.index, dtype=float)
    for (family,), rows in groups(table, "family"):
        q[rows.index] = CORRECTIONS[family](column(rows, of).to_numpy(np.float64))
    return q
