"""Rule collect: tables from manifests and embeddings."""

from pathlib import Path

from avatargen.io.manifest import read_manifests
from avatargen.method.sources import flat_methods
from avatargen.preflight.plan import read_plan
from avatargen.preflight.validate import guiding_judges
from avatargen.runtime.job import job
from avatargen.runtime.job_inputs import noting_inputs
from eval.captions import CaptionEmbeddings
from eval.collect import collect
from eval.measures import NAMES
from eval.pools import in_method_order, read_pools
from eval.tables import remove_table

with job(snakemake.log[0], snakemake.threads), noting_inputs(snakemake.output[0], snakemake.input):
    study, tables = read_plan(snakemake.params.plan), Path(snakemake.output[0]).parent
    rows = in_method_order(read_manifests(map(Path, snakemake.input.generated)), list(study.runs))
    captions = map(CaptionEmbeddings.load, map(Path, snakemake.input.captions))
    collect(
        experiment=study.experiment,
        priors={name: study.prior_of(name) for name in study.runs},
        rows=rows,
        pools=read_pools(rows, study.files),
        captions=dict(zip(study.judges, captions, strict=True)),
        root=Path(),
        tables=tables,
        guides=guiding_judges(study),
        flat=flat_methods(study.runs),
    )
    for name in () if study.experiment.diagnose else NAMES:  # of an earlier run with diagnostics
        remove_table(tables, name)
