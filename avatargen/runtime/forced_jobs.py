"""Force jobs of a workflow from within its Snakefile, as ``--forcerun`` does on the command line."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def force(workflow: Any, outputs: Collection[str]) -> None:
    """Add outputs to those whose jobs Snakemake is asked to run.

    Snakemake sets the settings of its graph after it has read the Snakefile, so they are changed when it sets them. No
    public interface does that: a parameter or an input that changes for one run changes back in the next.

    Args:
        workflow: Snakemake's, as the Snakefile sees it.
        outputs: paths, as the rules name them.
    """
    name, own = "dag_settings", type(workflow)

    def put(self: Any, settings: Any) -> None:
        settings.forcerun = frozenset({*settings.forcerun, *outputs})
        vars(self)[name] = settings

    settings = property(lambda self: vars(self).get(name), put)
    workflow.__class__ = type(own.__name__, (own,), {name: settings})
