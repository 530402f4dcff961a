"""Rule generate: make the avatars of a chunk and list them."""

from pathlib import Path

from avatargen.io.manifest import write_rows
from avatargen.method.sources import source_of
from avatargen.preflight.plan import read_plan
from avatargen.runtime.generate_chunk import check_failures, make_chunk
from avatargen.runtime.job import job
from avatargen.runtime.worker_pool import ExecutionSettings

with job(snakemake.log[0]):
    study = read_plan(snakemake.params.plan)
    experiment, run = study.experiment, study.runs[snakemake.wildcards.method]
    items = study.chunks(snakemake.wildcards.list, snakemake.wildcards.method)[snakemake.wildcards.chunk]
    manifest = Path(snakemake.output[0])
    execution = ExecutionSettings.of_job(run, experiment.backend, experiment.gpus_per_worker, snakemake.threads)
    shared = Path("results") if experiment.share else None
    rows = make_chunk(run, items, manifest.parents[1] / "avatars", execution, study.runs.values(), shared)
    if not source_of(run).is_external:  # how often another system failed is a result, not a mishap
        check_failures(rows, experiment.max_failed_fraction)
    write_rows(manifest, rows)
