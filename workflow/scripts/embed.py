"""Rule embed: embeddings of the renders under each judge."""

from pathlib import Path

from avatargen.io.manifest import RenderRow, read_rows, write_rows
from avatargen.preflight.plan import read_plan
from avatargen.runtime.job import job
from avatargen.runtime.progress import Tally
from avatargen.runtime.remote_calls import RemoteCall, call_each
from avatargen.runtime.stages import embeddings_of
from avatargen.runtime.worker_pool import ExecutionSettings
from eval.embeddings import is_embedded

with job(snakemake.log[0], snakemake.threads):
    study, method = read_plan(snakemake.params.plan), snakemake.wildcards.method
    experiment, judges = study.experiment, study.judges
    draws = experiment.evaluation.noise_draws
    execution = ExecutionSettings.of_job(
        study.runs[method], experiment.backend, experiment.gpus_per_worker, snakemake.threads
    )
    rows = embeddings_of(study, map(RenderRow.model_validate, read_rows(snakemake.input[0])))
    calls = []
    for row in rows:
        folder, asked = Path(row.folder), row.embedding_fingerprints
        missing = {name: embedding for name, embedding in asked.items() if not is_embedded(folder, name, embedding)}
        if missing:
            calls.append(RemoteCall(row.id, (folder.absolute(), missing)))
    call_each("eval.stages:Judges", (judges, draws), calls, execution, Tally(f"embed · {method}", len(calls)), gpu=True)
    write_rows(snakemake.output[0], rows)
