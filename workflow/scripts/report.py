"""Rule report: one self-contained page, an image that compares the methods, and the numbers as JSON."""

from pathlib import Path

from avatargen.config.loading import load_judges
from avatargen.io.atomic import read_json, replacing
from avatargen.io.hardware import hardware
from avatargen.io.manifest import read_manifests
from avatargen.preflight.plan import read_plan
from avatargen.preflight.validate import guiding_judges
from avatargen.runtime.fingerprint import diagnostic_protocol, truth_protocol
from avatargen.runtime.job import job
from avatargen.runtime.job_inputs import noting_inputs
from eval.comparison import comparison
from eval.report import ReportInputs, write_report
from eval.results_file import RunFacts, write_results
from eval.versions import versions

with job(snakemake.log[0], snakemake.threads), noting_inputs(snakemake.output[0], snakemake.input):
    study, found = read_plan(snakemake.params.plan), versions()
    rows, tables = read_manifests(map(Path, snakemake.input.generated)), Path(snakemake.input.tables[0]).parent
    shown_by = (study.experiment.head, study.experiment.renderer, study.experiment.evaluation)
    facts = RunFacts(
        plan=read_json(Path(snakemake.params.plan)),
        rows=rows,
        root=Path(),
        tables=tables,
        truth_protocol=truth_protocol(study.experiment.head),
        versions=found,
        hardware=hardware(),
        diagnostics={name: diagnostic_protocol(name, *shown_by) for name in study.experiment.diagnose},
    )
    results = write_results(Path(snakemake.output.results), facts)
    inputs = ReportInputs(
        experiment=study.experiment,
        rows=rows,
        methods={name: run.method for name, run in study.runs.items()},
        priors=study.priors,
        run_priors={name: run.prior for name, run in study.runs.items()},
        root=Path(),
        tables=tables,
        plots=Path(snakemake.input.plots[0]).parent,
        reasons=study.reasons,
        guides=guiding_judges(study),
        judges={name: judge.model for name, judge in study.judges.items()},
        versions=found,
        judge_reasons={name: judge.reason for name, judge in load_judges().items()},
        heads=Path(snakemake.input.heads),
        results=results,
    )
    write_report(Path(snakemake.output.page), inputs)
    with replacing(Path(snakemake.output.pictures)) as partial:
        comparison(inputs.rows, list(study.runs), inputs.root).save(partial, format="PNG")
