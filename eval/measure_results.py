"""What diagnostics found, as ``results.json`` has it: numbers that other tools may plot or compare."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from avatargen.config.crossing import split_name
from avatargen.io.content_hash import digest
from eval.columns import where
from eval.measures import MEASURES, RATE, TRACK
from eval.tables import read_table

CLOSED = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
"""Configuration of the parts of the file: strict JSON without unknown keys."""


class MeasureResult(BaseModel):
    """One number of a diagnostic: a method under one condition, by one judge or none."""

    model_config = CLOSED

    diagnostic: str
    condition: str = Field(description="empty where a diagnostic has only one")
    measure: str = Field(description="its unit is the end of its name")
    method: str
    prior: str | None = Field(description="diffusion prior, where methods are crossed with priors")
    subset: str | None = Field(description="part of the prompts that the number is about")
    judge: str | None = Field(description="null for a measure that needs none")
    value: float | None = Field(description="mean over prompts; null where it is not defined")
    low: float | None = Field(description="lower end of the 95 % interval")
    high: float | None = Field(description="upper end of the 95 % interval")
    interval: Literal["wilson", "bootstrap"] | None
    n: int = Field(description="prompts with a value")
    n_missing: int = Field(description="avatars without a value")
    protocol: str = Field(description="hash of all that decides what the number means; numbers compare only if equal")


def measure_results(tables: Path, protocols: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the numbers of ``measures.csv`` as :class:`MeasureResult` has them.

    Args:
        tables: folder of the tables.
        protocols: of each diagnostic, see :func:`avatargen.runtime.fingerprint.diagnostic_protocol`; none for an
            experiment without diagnostics, whatever an earlier run left in the folder.
    """
    if not protocols:
        return
    scored = where(read_table(tables, "clip_r"), track=TRACK).to_dict("records")
    ranked = {(line["method"], line["judge"], line["subset"]): line["protocol"] for line in scored}
    for line in read_table(tables, MEASURES).to_dict("records"):
        run, judge, subset = (str(line[name]) for name in ("method", "judge", "subset"))
        own = protocols[str(line["diagnostic"])]
        (method, prior), ends = split_name(run), {name: _number(line[name]) for name in ("value", "low", "high")}
        kind = "wilson" if line["measure"] == RATE else "bootstrap"
        yield {
            **ends,
            **{name: str(line[name]) for name in ("diagnostic", "condition", "measure")},
            "method": method,
            "prior": prior or None,
            "subset": subset or None,
            "judge": judge or None,
            "interval": kind if ends["low"] is not None else None,
            "n": int(line["n"]),
            "n_missing": int(line["n_missing"]),
            "protocol": digest(own, ranked[run, judge, subset])[:12] if judge else own,
        }


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(float(value)) else None
