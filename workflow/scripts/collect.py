"""Rule collect: from manifests and embeddings to tables."""

from pathlib import Path

from avatargen.config.places import ROOT
from avatargen.config.prompts import read_captions, read_list
from avatargen.io.manifest import read_manifests
from avatargen.preflight.plan import read_plan
from avatargen.preflight.validate import guiding_judges
from avatargen.runtime.job import job
from eval.collect import collect
from eval.embed import Judge

with job(snakemake.log[0], snakemake.threads):
    study = read_plan(snakemake.params.plan)
    pool = [item for file in snakemake.input.pool for item in read_list(Path(file))]
    judges = {name: Judge.load(name, settings, ROOT) for name, settings in study.judges.items()}
    collect(
        experiment=study.experiment,
        prior=study.prior,
        rows=read_manifests(map(Path, snakemake.input.generated)),
        judges=judges,
        root=Path(),
        tables=Path(snakemake.output[0]).parent,
        negatives=[line for file in snakemake.input.negatives for line in read_captions(Path(file))],
        geometry_captions=[item.geometry or item.prompt for item in pool],
        guides=guiding_judges(study),
    )
