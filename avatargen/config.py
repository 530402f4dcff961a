"""The experiment's configuration: what a user writes, validated whole before the first job.

``workflow/config/{experiment}.yaml`` is an :class:`Experiment`; ``methods.yaml``, ``priors.yaml`` and
``judges.yaml`` beside it hold the named methods, priors and judges it refers to.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from avatargen.settings import Frozen, MethodSettings, PriorSettings


class JudgeSettings(Frozen):
    """A CLIP model that scores images against captions, loaded by open_clip."""

    model: str = Field(description="open_clip model name, or folder with open_clip_config.json and weights")
    pretrained: str | None = Field(None, description="open_clip tag or weights file; None for a folder")


class EvaluationSettings(Frozen):
    """The protocol that scores are computed under; its hash stands in every score row."""

    views: int = Field(8, ge=1, le=72, description="evenly spaced azimuths, the first one frontal")
    elevation: float = Field(10.0, ge=-89, le=89, description="degrees")
    size: int = Field(128, ge=32, le=1024, description="rows and columns of the images shown to a judge")
    samples: int = Field(3, ge=1, le=8, description="render samples on each side of a pixel")
    background: tuple[float, float, float] = Field((0.5, 0.5, 0.5), description="RGB in [0, 1]")
    turntable_frames: int = Field(48, ge=4, le=720)
    turntable_size: int = Field(256, ge=64, le=2048)


class Experiment(Frozen):
    """One benchmark run."""

    experiment: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$", description="names results/{experiment}")
    lists: tuple[str, ...] = Field(min_length=1, description="prompts/{name}.tsv or .txt")
    methods: tuple[str, ...] = Field(min_length=1, description="names in methods.yaml")
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    head: str = Field("anny", description="a name in avatargen.plugins.HEADS")
    renderer: str = Field("warp", description="a name in avatargen.plugins.RENDERERS")
    prior: str = Field("mini", description="a name in priors.yaml")
    judges: tuple[str, ...] = Field(("mini",), min_length=1, description="names in judges.yaml")
    geometry_pool: str | None = Field(None, description="prompt list whose captions pool the geometry track")
    chunk_size: int = Field(250, ge=1, description="prompts for one Snakemake job")
    batch_size: int = Field(4, ge=1, le=256, description="avatars optimised together; part of the fingerprint")
    backend: Literal["ray", "serial"] = Field("ray", description="serial: in the driver's process, to debug")
    gpus_per_worker: float = Field(0.0, ge=0)
    cpus_per_worker: int = Field(2, ge=1, description="torch threads of a worker; part of the fingerprint")
    max_failed_fraction: float = Field(0.5, ge=0, le=1, description="more than this fails the job")
    evaluation: EvaluationSettings = EvaluationSettings()


class RunConfig(Frozen):
    """Everything that decides one method's avatars: an experiment resolved for one method."""

    method_name: str
    method: MethodSettings
    prior_name: str
    prior: PriorSettings
    head: str
    renderer: str
    batch_size: int
    threads: int
