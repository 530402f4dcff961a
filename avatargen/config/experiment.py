"""The experiment's configuration, as a user writes it.

``workflow/config/{experiment}.yaml`` is an `Experiment`; ``methods.yaml``, ``priors.yaml`` and ``judges.yaml`` beside
it hold the named methods, priors and judges that it refers to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_serializer, model_validator

from avatargen.config.batch_size import BatchSize
from avatargen.config.frozen import Frozen, as_text
from avatargen.config.settings import MethodSettings, PriorSettings

LEAST_GPU = 0.01
"""Smallest share of a GPU for a worker: a hundred workers on one."""
NAME = r"^[a-z0-9][a-z0-9_-]{0,40}$"
"""What a folder of results may be called."""
Share = Annotated[float, Field(ge=0, le=1)]
MOST_SEEDS = 10_000
_RANGE = re.compile(r"(-?(?:0|[1-9][0-9]{0,17}))(?: *- *(0|[1-9][0-9]{0,17}))?")


def _as_names(names: Any) -> Any:
    """Return a single name as a tuple of one."""
    return (names,) if isinstance(names, str | int | float) else names


def as_seeds(seeds: Any) -> Any:
    """Return seeds with ranges spelled out: ``0-3`` is 0, 1, 2, 3; a single one or a text of several is a tuple, too.

    Raises:
        ValueError: neither a whole number nor a range, or too many.
    """
    stated = seeds.split(",") if isinstance(seeds, str) else [seeds] if isinstance(seeds, int | float) else seeds
    if not isinstance(stated, list | tuple):
        return seeds
    found: list[int] = []
    for seed in stated:
        found += [seed] if isinstance(seed, int) and not isinstance(seed, bool) else _seeds_in(seed)
        if len(found) > MOST_SEEDS:
            raise ValueError(f"got more than {MOST_SEEDS:,}; expected fewer")
    return tuple(found)


def _seeds_in(text: Any) -> range:
    """Return the seeds of a text: a whole number, or a range with its end."""
    expected = f"got {str(text)[:60]!r}; expected a whole number, or a range as 0-3"
    match = _RANGE.fullmatch(text.strip()) if isinstance(text, str) else None
    if not match:
        raise ValueError(expected)
    first = int(match[1])
    last = first if match[2] is None else int(match[2])
    if last < first or (match[2] and first < 0):
        raise ValueError(f"{expected}, the lower one first")
    return range(first, min(last, first + MOST_SEEDS) + 1)


Name = Annotated[str, BeforeValidator(as_text, json_schema_input_type=str)]
Names = Annotated[tuple[Name, ...], BeforeValidator(_as_names, json_schema_input_type=str | tuple[str, ...])]
Seeds = Annotated[tuple[int, ...], BeforeValidator(as_seeds, json_schema_input_type=int | str | tuple[int | str, ...])]
"""Seeds, of which a user may write ranges."""


class JudgeSettings(Frozen):
    """A CLIP model that scores images against captions, loaded by open_clip."""

    model: str = Field(description="open_clip model name, or folder with open_clip_config.json and weights")
    pretrained: str | None = Field(None, description="open_clip tag or weights file; None for a folder")
    reason: str = Field("", exclude=True, description="one line, for `avatargen list judges`")


class EvaluationSettings(Frozen):
    """The protocol that scores are computed under; its hash stands in every score row."""

    views: int = Field(8, ge=1, le=72, description="evenly spaced azimuths, the first one frontal")
    elevation: float = Field(10.0, ge=-89, le=89, description="degrees")
    distance: float = Field(1.22, ge=0.5, le=100, description="of the cameras from the point they look at, metres")
    target_height: float = Field(0.015, ge=-1, le=1, description="height of that point, metres")
    fov: float = Field(
        16.0, ge=5, le=60, description="vertical field of view, degrees; the shipped prior and judges know heads by it"
    )
    widest_fov: float = Field(
        20.6, ge=5, le=60, description="the same, for a head that `fov` would cut; holds every head of the closed world"
    )
    fit: Literal["metric", "face"] = Field(
        "metric", description="heads as large as they are, or with eyes and chin at the template's"
    )
    size: int = Field(128, ge=32, le=1024, description="rows and columns of the images shown to a judge")
    samples: int = Field(3, ge=1, le=8, description="render samples on each side of a pixel")
    background: tuple[Share, Share, Share] = Field((0.5, 0.5, 0.5), description="RGB in [0, 1]")
    noise_draws: int = Field(
        4, ge=0, le=32, description="noisy copies of each image, off by up to 1/255, that give R@1 its range"
    )
    turntable_frames: int = Field(48, ge=4, le=720, description="frames of the turntable video, one full turn")
    turntable_size: int = Field(256, ge=64, le=2048, description="rows and columns of each half of a frame")


class Reduced(Frozen):
    """Methods that run on a part of each list, or with fewer seeds, such as ablations beside a study's main methods."""

    methods: Names = Field(min_length=1, description="some of the experiment's methods")
    prompts: int | None = Field(None, ge=1, description="number of prompts, from the start of each list; None: all")
    seeds: Seeds | None = Field(None, min_length=1, description="some of the experiment's; None: all")


def _as_groups(stated: Any) -> Any:
    """Return a single group as a tuple of one."""
    return (stated,) if isinstance(stated, Mapping | Frozen) else stated


class Grid(Frozen):
    """Methods that vary settings of a named one: one for each combination of values (:mod:`avatargen.config.grid`)."""

    of: Names = Field(("full",), min_length=1, description="names in methods.yaml, each of them varied")
    vary: dict[str, tuple[Any, ...]] = Field(
        min_length=1,
        description="values of each: a method's setting, prior.SETTING, steps, phase1_share or scale_rates",
    )

    @field_validator("vary")
    @classmethod
    def _has_values(cls, vary: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        if empty := [name for name, values in vary.items() if not values]:
            raise ValueError(f"got no values of {', '.join(empty)}; expected at least one")
        return vary


Groups = Annotated[
    tuple[Reduced, ...], BeforeValidator(_as_groups, json_schema_input_type=Reduced | tuple[Reduced, ...])
]
Grids = Annotated[tuple[Grid, ...], BeforeValidator(_as_groups, json_schema_input_type=Grid | tuple[Grid, ...])]


class Experiment(Frozen):
    """One benchmark run."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["prior", "priors"]}})

    reason: str = Field("", exclude=True, description="one line, for `avatargen list experiments`")
    experiment: str = Field(pattern=NAME, description="names results/{experiment}")
    lists: Names = Field(min_length=1, description="prompts/{name}.tsv, .csv or .txt")
    methods: Names = Field(min_length=1, description="names in methods.yaml")
    grid: Grids = Field(
        (), description="methods that vary settings of others, in every combination: one grid, or several"
    )
    seeds: Seeds = Field(
        (0,), min_length=1, description="seeds of noise and cameras, or ranges as 0-3; an avatar for each"
    )
    limit: int | None = Field(None, ge=1, description="only the first prompts of each list: for a quick look")
    reduced: Groups = Field((), description="methods that run on fewer prompts or seeds: one group, or several")
    head: str = Field("anny", description="a name in avatargen.config.plugins.HEADS")
    renderer: str = Field("warp", description="a name in avatargen.config.plugins.RENDERERS")
    prior: str = Field("mini", description="a name in priors.yaml")
    priors: Names | None = Field(
        None, min_length=1, description="instead of `prior`: every method that uses a prior runs with each of these"
    )
    judges: Names = Field(("mini",), min_length=1, description="names in judges.yaml")
    clip_guide: str = Field("guide", description="name in judges.yaml of what guides methods with a CLIP loss")
    diagnose: Names = Field((), description="names in avatargen.config.plugins.DIAGNOSTICS; costly measures")
    question: str | None = Field(
        None, description="a name in avatargen.config.plugins.QUESTIONS, which the report answers"
    )
    chunk_size: int = Field(250, ge=1, description="avatars per Snakemake job")
    batch_size: BatchSize = Field(
        4,
        description="avatars optimised together, or auto: as many as fit; another size moves avatars by about half a "
        "millimetre; part of the fingerprint",
    )
    backend: Literal["ray", "serial"] = Field("ray", description="serial: in the driver's process, to debug")
    gpus_per_worker: float = Field(
        0.0, ge=0, description="share of a GPU that a worker gets, or number of GPUs; 0: the CPU"
    )
    cpus_per_worker: int = Field(2, ge=1, description="torch threads of a worker; part of the fingerprint")
    share: bool = Field(True, description="take finished avatars over from other experiments, not make them anew")
    max_failed_fraction: float = Field(0.5, ge=0, le=1, description="a chunk with more failures fails its job")
    overrides: dict[str, Any] = Field({}, description="settings of every method, under the method's own overrides")
    evaluation: EvaluationSettings = Field(EvaluationSettings.model_construct(), description="the protocol of scores")

    @field_validator("gpus_per_worker")
    @classmethod
    def _as_ray_has_it(cls, gpus: float) -> float:
        if (gpus > 1 and gpus != int(gpus)) or 0 < gpus < LEAST_GPU:
            raise ValueError(
                f"expected 0, a share of one GPU from {LEAST_GPU:g} to 1, or a whole number: Ray gives nothing else"
            )
        return gpus

    @model_validator(mode="after")
    def _one_way_to_name_priors(self) -> Experiment:
        if self.priors is not None and "prior" in self.model_fields_set:
            raise ValueError(f"prior, priors: got '{self.prior}' and {list(self.priors)}; expected one of the fields")
        return self

    @model_serializer(mode="wrap")
    def _without_unused(self, write: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Leave out fields that are not used, so that what is written can be read, and hashes stay."""
        unused = {"priors" if self.priors is None else "prior"}
        unused |= {name for name in ("diagnose", "question") if not getattr(self, name)}
        return {name: value for name, value in write(self).items() if name not in unused}

    @property
    def prior_names(self) -> tuple[str, ...]:
        """Names of the priors, one or several; the first decodes and encodes for methods that use none."""
        return (self.prior,) if self.priors is None else self.priors


class RunConfig(Frozen):
    """Everything that decides one method's avatars: an experiment resolved for one method, and one prior.

    Attributes:
        method_name: of the run: the method's, or ``{method}@{prior}`` (:mod:`avatargen.config.crossing`).
        method: settings of the method.
        prior_name, prior: name and settings of the diffusion prior.
        head, renderer: names in the plug-in tables; avatars are made with this renderer, and shown by the
            experiment's.
        batch_size: avatars optimised together; see `avatargen.config.batch_size`.
        threads: of torch, in a worker.
        clip_guide, clip: name and settings of the CLIP that guides the method; None for score distillation.
    """

    method_name: str
    method: MethodSettings
    prior_name: str
    prior: PriorSettings
    head: str
    renderer: str
    batch_size: BatchSize
    threads: int
    clip_guide: str | None = None
    clip: JudgeSettings | None = None

    @property
    def refine_steps(self) -> int:
        """Denoising steps of the finish (`avatargen.method.refine`); 0 if there is none."""
        method = self.method
        return self.prior.refine_steps if method.optimises and method.refine and method.texture else 0


class NamedMethod(Frozen):
    """A method as ``methods.yaml`` states it: what it changes of the full method, and why."""

    reason: str = Field(min_length=3, max_length=200, description="one line, for the tables and the report")
    overrides: dict[str, Any] = Field({}, description="settings that differ from the full method's")
    prior: dict[str, Any] = Field({}, description="settings of the experiment's priors that differ")
    head: str | None = Field(None, description="another head model than the experiment's, such as one with more faces")
    renderer: str | None = Field(None, description="optimises with another renderer than the experiment's")
    clip_guide: str | None = Field(None, description="guided by another CLIP than the experiment's; for guide: clip")

    @field_validator("prior")
    @classmethod
    def _same_weights(cls, prior: dict[str, Any]) -> dict[str, Any]:
        if {"kind", "path"} & set(prior):
            raise ValueError("a method may change a prior's settings, not its weights; expected neither kind nor path")
        return prior


@dataclass(frozen=True)
class Library:
    """What an experiment may name."""

    methods: dict[str, NamedMethod]
    priors: dict[str, PriorSettings]
    judges: dict[str, JudgeSettings]
