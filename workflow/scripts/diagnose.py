"""Rule diagnose: what the experiment's diagnostics find on each avatar."""

from pathlib import Path

from avatargen.io.manifest import Row, read_rows, write_rows
from avatargen.preflight.plan import read_plan
from avatargen.runtime.job import job
from avatargen.runtime.progress import Tally
from avatargen.runtime.remote_calls import RemoteCall, call_each
from avatargen.runtime.stages import measures_of, shown_as
from avatargen.runtime.worker_pool import ExecutionSettings
from eval.diagnostics.files import DiagnoseRow, check_errors
from eval.on_disk import to_measure

with job(snakemake.log[0], snakemake.threads):
    study, method = read_plan(snakemake.params.plan), snakemake.wildcards.method
    experiment, prior, judges = study.experiment, study.prior_of(method), study.judges
    run = shown_as(study, method)
    execution = ExecutionSettings.of_job(run, experiment.backend, experiment.gpus_per_worker, snakemake.threads)
    calls, rows = [], []
    for row in map(Row.model_validate, read_rows(snakemake.input[0])):
        folder, asked = Path(row.folder), measures_of(study, method, row)
        missing = to_measure(folder, asked)
        if missing:
            calls.append(RemoteCall(row.id, (row, folder.absolute(), missing)))
        rows.append(DiagnoseRow(id=row.id, folder=row.folder, fingerprints=asked))
    tools = (run.head, run.renderer, prior, experiment.evaluation, judges)
    tally = Tally(f"diagnose · {method}", len(calls))
    call_each("eval.diagnostics.stage:Diagnoses", tools, calls, execution, tally, gpu=True)
    for line in check_errors(rows, experiment.max_failed_fraction):
        print(f"diagnose · {method}: {line}", flush=True)
    write_rows(snakemake.output[0], rows)
