"""Rule render: turntables, contact sheets, the judges' views, and distances to the true heads."""

from pathlib import Path

from avatargen import fingerprint
from avatargen.calls import Call, call_each
from avatargen.crew import Fanout
from avatargen.job import job, read_rows, write_rows
from avatargen.plan import read_plan
from avatargen.progress import Tally
from avatargen.validate import WORLD_HEAD
from eval.finished import RENDER_FACTS, TRUTH_FACTS, VIEW_FILES, is_current
from eval.manifest import Row

with job(snakemake.log[0], snakemake.threads):
    study, method = read_plan(snakemake.params.plan), snakemake.wildcards.method
    experiment, run = study.experiment, study.runs[method]
    how = Fanout.of_job(run, experiment.backend, experiment.gpus_per_worker, snakemake.threads)
    comparable = run.head == WORLD_HEAD and run.method.source != "imported"
    calls, done = [], []
    for facts in read_rows(snakemake.input[0]):
        row, folder = Row.model_validate(facts), Path(facts["folder"])
        render = fingerprint.of_render(row.fingerprint, row.status, run, experiment.evaluation, study.prior)
        truth = fingerprint.of_truth(row.fingerprint, row.status, run)
        if not (is_current(folder, RENDER_FACTS, render, VIEW_FILES) and is_current(folder, TRUTH_FACTS, truth)):
            calls.append(Call(row.id, (row, folder.absolute(), comparable, render, truth)))
        done.append({"id": row.id, "folder": row.folder, "fingerprint": render})
    loading = (run.head, run.renderer, study.prior, experiment.evaluation)
    call_each("eval.stages:Renders", loading, calls, how, Tally(f"render · {method}", len(calls)), gpu=True)
    write_rows(snakemake.output[0], done)
