"""Rule render: turntables, contact sheets, the judges' views, and distances to the ground-truth heads."""

from pathlib import Path

from avatargen.io.manifest import Row, read_rows, write_rows
from avatargen.preflight.plan import read_plan
from avatargen.runtime.job import job
from avatargen.runtime.progress import Tally
from avatargen.runtime.remote_calls import RemoteCall, call_each
from avatargen.runtime.stages import renders_of, shown_as
from avatargen.runtime.worker_pool import ExecutionSettings
from eval.on_disk import lacking_render

with job(snakemake.log[0], snakemake.threads):
    study, method = read_plan(snakemake.params.plan), snakemake.wildcards.method
    experiment, prior, run = study.experiment, study.prior_of(method), shown_as(study, method)
    execution = ExecutionSettings.of_job(run, experiment.backend, experiment.gpus_per_worker, snakemake.threads)
    shown = renders_of(study, method, map(Row.model_validate, read_rows(snakemake.input[0])))
    calls = [
        RemoteCall(row.id, (avatar, Path(row.folder).absolute(), comparable, row.render_fingerprint, truth))
        for avatar, row, truth, comparable in shown
        if lacking_render(Path(row.folder), row.render_fingerprint, truth)
    ]
    tools = (run.head, run.renderer, prior, experiment.evaluation, experiment.head)
    call_each("eval.stages:Renders", tools, calls, execution, Tally(f"render · {method}", len(calls)), gpu=True)
    write_rows(snakemake.output[0], [one.row for one in shown])
