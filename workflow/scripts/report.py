"""Rule report: one self-contained page."""

from pathlib import Path

from avatargen.config import Experiment, RunConfig
from avatargen.job import job, versions
from eval.manifest import read_manifests
from eval.report import ReportInputs, write_report

with job(snakemake.log[0], snakemake.threads):
    runs = {name: RunConfig.model_validate(facts) for name, facts in snakemake.params.runs.items()}
    inputs = ReportInputs(
        experiment=Experiment.model_validate(snakemake.params.experiment),
        rows=read_manifests(map(Path, snakemake.input.generated)),
        methods={name: run.method for name, run in runs.items()},
        prior=next(iter(runs.values())).prior,
        root=Path(),
        tables=Path(snakemake.input.tables[0]).parent,
        plots=Path(snakemake.input.plots[0]).parent,
        reasons=snakemake.params.reasons,
        judges=snakemake.params.judges,
        versions=versions(),
    )
    write_report(Path(snakemake.output[0]), inputs)
