"""Rule answer: the answer to the experiment's question."""

from pathlib import Path

from avatargen.io.manifest import read_manifests
from avatargen.preflight.plan import read_plan
from avatargen.runtime.job import job
from avatargen.runtime.job_inputs import noting_inputs
from eval.pools import in_method_order
from eval.questions.evidence import gather
from eval.questions.files import ask, write_answer

with job(snakemake.log[0], snakemake.threads), noting_inputs(snakemake.output[0], snakemake.input):
    study = read_plan(snakemake.params.plan)
    tables = Path(snakemake.output[0]).parent
    rows = in_method_order(read_manifests(map(Path, snakemake.input.generated)), list(study.runs))
    evidence = gather(study.experiment, study.runs, rows, Path(), tables)
    write_answer(ask(str(study.experiment.question), evidence), tables, tables.parent / "plots")
