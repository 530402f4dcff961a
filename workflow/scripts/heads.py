"""Rule heads: a small 3D head for each avatar that the report shows, beside the report."""

from pathlib import Path

from avatargen.io.manifest import read_manifests
from avatargen.method.sources import flat_methods
from avatargen.preflight.plan import read_plan
from avatargen.runtime.job import job
from avatargen.runtime.job_inputs import noting_inputs
from eval.gallery import shown_units
from eval.head_files import write_heads

with job(snakemake.log[0], snakemake.threads), noting_inputs(snakemake.output[0], snakemake.input):
    study = read_plan(snakemake.params.plan)
    rows = read_manifests(map(Path, snakemake.input))
    shown, flat = set(shown_units(rows)), flat_methods(study.runs)
    write_heads(
        Path(snakemake.output[0]),
        [row for row in rows if row.unit in shown and row.method not in flat],
        {name: run.head for name, run in study.runs.items()},
        Path(),
        snakemake.params.code,
    )
