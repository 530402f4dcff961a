"""Rule generate: make the avatars of a chunk and list them."""

from pathlib import Path

from avatargen.crew import Fanout
from avatargen.fanout import check_failures, make_chunk
from avatargen.job import job, write_rows
from avatargen.plan import read_plan

with job(snakemake.log[0]):
    study = read_plan(snakemake.params.plan)
    experiment, run = study.experiment, study.runs[snakemake.wildcards.method]
    items = study.chunks(snakemake.wildcards.list, snakemake.wildcards.method)[snakemake.wildcards.chunk]
    manifest = Path(snakemake.output[0])
    how = Fanout.of_job(run, experiment.backend, experiment.gpus_per_worker, snakemake.threads)
    rows = make_chunk(run, items, manifest.parents[1] / "avatars", how, study.runs.values())
    if run.method.source != "imported":  # how often another system failed is a result, not a mishap
        check_failures(rows, experiment.max_failed_fraction)
    write_rows(manifest, rows)
