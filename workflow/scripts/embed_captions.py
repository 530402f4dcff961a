"""Rule embed_captions: the experiment's captions under one judge."""

from pathlib import Path

from avatargen.config.places import ROOT
from avatargen.io.manifest import read_manifests
from avatargen.preflight.plan import read_plan
from avatargen.runtime.job import job
from avatargen.runtime.job_inputs import noting_inputs
from eval.embed import Judge
from eval.embed_captions import embed_captions
from eval.pools import in_method_order, read_pools

with job(snakemake.log[0], snakemake.threads), noting_inputs(snakemake.output[0], snakemake.input):
    study, name = read_plan(snakemake.params.plan), snakemake.wildcards.judge
    rows = in_method_order(read_manifests(map(Path, snakemake.input.generated)), list(study.runs))
    pools = read_pools(rows, study.files)
    judge = Judge.load(name, study.judges[name], ROOT)
    embed_captions(judge, pools, [row.prompt for row in rows]).save(Path(snakemake.output[0]))
