"""Which methods of an experiment share phase 1: those that differ in settings of phase 2 alone."""

from __future__ import annotations

from collections.abc import Iterable

from avatargen.config.experiment import RunConfig
from avatargen.config.settings import MethodSettings

PHASE2_ALONE = (
    *("phase2_texture", "shape", "expression", "offsets", "segmentation_weight", "mask_period", "reading_weight"),
    *("lr_shape", "lr_expression", "lr_offsets", "geometry_decay", "offset_limit_mm"),
    *("laplacian_weight", "offset_weight", "shape_prior_weight", "gradient_clip", "refine"),
)
"""Settings of a method that decide nothing before phase 2; a test runs phase 1 with each of them changed."""


def phase1_of(run: RunConfig) -> RunConfig | None:
    """Return what decides phase 1 of a method, with everything else at its default; None without two phases."""
    method = run.method
    if not (method.optimises and method.phase1_steps and method.phase2_steps):
        return None
    defaults = {name: MethodSettings.model_fields[name].default for name in PHASE2_ALONE}
    return run.model_copy(update={"method_name": "phase 1", "method": method.model_copy(update=defaults)})


def shared_phase1(run: RunConfig, runs: Iterable[RunConfig]) -> RunConfig | None:
    """Return `phase1_of` a method if another one of `runs`, which hold the method itself, has the same; else None."""
    phase1 = phase1_of(run)
    return phase1 if phase1 and sum(phase1_of(other) == phase1 for other in runs) > 1 else None
