"""Rule embed: embeddings of the renders under each judge."""

from pathlib import Path

from avatargen.io.manifest import EmbedRow, RenderRow, read_rows, write_rows
from avatargen.preflight.plan import read_plan
from avatargen.runtime import fingerprint
from avatargen.runtime.job import job
from avatargen.runtime.progress import Tally
from avatargen.runtime.remote_calls import RemoteCall, call_each
from avatargen.runtime.worker_pool import ExecutionSettings
from eval.embeddings import is_embedded

with job(snakemake.log[0], snakemake.threads):
    study, method = read_plan(snakemake.params.plan), snakemake.wildcards.method
    experiment, judges = study.experiment, study.judges
    draws = experiment.evaluation.noise_draws
    execution = ExecutionSettings.of_job(
        study.runs[method], experiment.backend, experiment.gpus_per_worker, snakemake.threads
    )
    calls, rows = [], []
    for row in map(RenderRow.model_validate, read_rows(snakemake.input[0])):
        folder = Path(row.folder)
        render = row.render_fingerprint
        asked = {name: fingerprint.of_embedding(render, name, judge, draws) for name, judge in judges.items()}
        missing = {name: embedding for name, embedding in asked.items() if not is_embedded(folder, name, embedding)}
        if missing:
            calls.append(RemoteCall(row.id, (folder.absolute(), missing)))
        rows.append(EmbedRow(id=row.id, folder=row.folder, embedding_fingerprints=asked))
    call_each("eval.stages:Judges", (judges, draws), calls, execution, Tally(f"embed · {method}", len(calls)), gpu=True)
    write_rows(snakemake.output[0], rows)
