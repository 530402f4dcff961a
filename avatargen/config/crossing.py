"""Names of runs: a method's own, or ``{method}@{prior}`` where an experiment crosses methods with priors.

Names of methods and priors hold letters, digits, ``_``, ``-`` and ``.`` only, so a name splits in one way. The name is
a folder, a wildcard of the workflow and a label.
"""

from __future__ import annotations

SIGN = "@"


def run_name(method: str, prior: str) -> str:
    """Return the name of a method's run under a prior; the method's own name for no prior.

    Example:
        >>> run_name("full", "sd15"), run_name("template", "")
        ('full@sd15', 'template')
    """
    return f"{method}{SIGN}{prior}" if prior else method


def split_name(name: str) -> tuple[str, str]:
    """Return the method and the prior of a run's name; the prior is empty for a run that is not crossed.

    Example:
        >>> split_name("full@sd15"), split_name("template")
        (('full', 'sd15'), ('template', ''))
    """
    method, _, prior = name.partition(SIGN)
    return method, prior
