"""Rule render: turntables, contact sheets, the judges' views, and distances to the ground-truth heads."""

from pathlib import Path

from avatargen.io.content_hash import digest
from avatargen.io.manifest import RenderRow, Row, read_rows, write_rows
from avatargen.method.sources import WORLD_HEADS, source_of
from avatargen.preflight.plan import read_plan
from avatargen.runtime import fingerprint
from avatargen.runtime.job import job
from avatargen.runtime.progress import Tally
from avatargen.runtime.remote_calls import RemoteCall, call_each
from avatargen.runtime.worker_pool import ExecutionSettings
from eval.artifacts import RENDER_FACTS, TRUTH_FACTS, VIEW_FILES, is_current

with job(snakemake.log[0], snakemake.threads):
    study, method = read_plan(snakemake.params.plan), snakemake.wildcards.method
    experiment, prior = study.experiment, study.prior_of(method)
    run = study.runs[method].model_copy(update={"renderer": experiment.renderer})  # shows all methods alike
    execution = ExecutionSettings.of_job(run, experiment.backend, experiment.gpus_per_worker, snakemake.threads)
    comparable = run.head in WORLD_HEADS and not source_of(run).is_external
    calls, rows = [], []
    for row in map(Row.model_validate, read_rows(snakemake.input[0])):
        folder = Path(row.folder)
        render = fingerprint.of_render(row.fingerprint, row.status, run, experiment.evaluation, prior)
        render = render if run.head == experiment.head else digest(render, experiment.head)
        truth = digest(fingerprint.of_truth(row.fingerprint, row.status, run), comparable)
        if not (is_current(folder, RENDER_FACTS, render, VIEW_FILES) and is_current(folder, TRUTH_FACTS, truth)):
            calls.append(RemoteCall(row.id, (row, folder.absolute(), comparable, render, truth)))
        rows.append(RenderRow(id=row.id, folder=row.folder, render_fingerprint=render))
    tools = (run.head, run.renderer, prior, experiment.evaluation, experiment.head)
    call_each("eval.stages:Renders", tools, calls, execution, Tally(f"render · {method}", len(calls)), gpu=True)
    write_rows(snakemake.output[0], rows)
