"""Rule collect: from manifests and embeddings to tables."""

from pathlib import Path

from avatargen.config import ROOT, Experiment, JudgeSettings
from avatargen.job import job
from avatargen.prompts import read_list
from avatargen.settings import PriorSettings
from eval.collect import collect
from eval.embed import Judge
from eval.manifest import read_manifests
from eval.pools import read_captions

with job(snakemake.log[0], snakemake.threads):
    pool = [item for file in snakemake.input.pool for item in read_list(Path(file))]
    judges = {
        name: Judge.load(name, JudgeSettings.model_validate(facts), ROOT)
        for name, facts in snakemake.params.judges.items()
    }
    collect(
        experiment=Experiment.model_validate(snakemake.params.experiment),
        prior=PriorSettings.model_validate(snakemake.params.prior),
        rows=read_manifests(map(Path, snakemake.input.generated)),
        judges=judges,
        root=Path(),
        tables=Path(snakemake.output[0]).parent,
        negatives=read_captions(map(Path, snakemake.input.negatives)),
        geometry_captions=[item.geometry or item.prompt for item in pool],
    )
