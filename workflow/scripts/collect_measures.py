"""Rule collect_measures: tables of what diagnostics found."""

from pathlib import Path

from avatargen.io.manifest import read_manifests
from avatargen.method.sources import flat_methods
from avatargen.preflight.plan import read_plan
from avatargen.preflight.validate import guiding_judges
from avatargen.runtime.job import job
from avatargen.runtime.job_inputs import noting_inputs
from eval.captions import CaptionEmbeddings
from eval.measures import MEASURES, collect_measures
from eval.pools import in_method_order, read_pools
from eval.tables import split_runs, write_table

with job(snakemake.log[0], snakemake.threads), noting_inputs(snakemake.output[0], snakemake.input):
    study = read_plan(snakemake.params.plan)
    experiment = study.experiment
    rows = in_method_order(read_manifests(map(Path, snakemake.input.generated)), list(study.runs))
    captions = map(CaptionEmbeddings.load, map(Path, snakemake.input.captions))
    tables = collect_measures(
        rows=rows,
        diagnostics=experiment.diagnose,
        pools=read_pools(rows, study.files),
        captions=dict(zip(study.judges, captions, strict=True)),
        root=Path(),
        guides=guiding_judges(study),
        flat=flat_methods(study.runs),
    )
    for name, table in tables.items():
        table = split_runs(table) if experiment.priors else table
        write_table(table, Path(snakemake.output[0]).parent, name, readable=name == MEASURES)
