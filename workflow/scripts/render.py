"""Rule render: turntables, contact sheets, the judges' views, and distances to the true heads."""

from pathlib import Path

from avatargen.io.manifest import Row, read_rows, write_rows
from avatargen.preflight.plan import read_plan
from avatargen.preflight.validate import WORLD_HEAD
from avatargen.runtime import fingerprint
from avatargen.runtime.job import job
from avatargen.runtime.progress import Tally
from avatargen.runtime.remote_calls import RemoteCall, call_each
from avatargen.runtime.worker_pool import ExecutionSettings
from eval.artifacts import RENDER_FACTS, TRUTH_FACTS, VIEW_FILES, is_current

with job(snakemake.log[0], snakemake.threads):
    study, method = read_plan(snakemake.params.plan), snakemake.wildcards.method
    experiment, run = study.experiment, study.runs[method]
    execution = ExecutionSettings.of_job(run, experiment.backend, experiment.gpus_per_worker, snakemake.threads)
    comparable = run.head == WORLD_HEAD and run.method.source != "imported"
    calls, done = [], []
    for facts in read_rows(snakemake.input[0]):
        row, folder = Row.model_validate(facts), Path(facts["folder"])
        render = fingerprint.of_render(row.fingerprint, row.status, run, experiment.evaluation, study.prior)
        truth = fingerprint.of_truth(row.fingerprint, row.status, run)
        if not (is_current(folder, RENDER_FACTS, render, VIEW_FILES) and is_current(folder, TRUTH_FACTS, truth)):
            calls.append(RemoteCall(row.id, (row, folder.absolute(), comparable, render, truth)))
        done.append({"id": row.id, "folder": row.folder, "fingerprint": render})
    loading = (run.head, run.renderer, study.prior, experiment.evaluation)
    call_each("eval.stages:Renders", loading, calls, execution, Tally(f"render · {method}", len(calls)), gpu=True)
    write_rows(snakemake.output[0], done)
