"""Rule plots: plots of the tables."""

from pathlib import Path

from avatargen.runtime.job import job
from avatargen.runtime.job_inputs import noting_inputs
from eval.plots import write_plots

with job(snakemake.log[0], snakemake.threads), noting_inputs(snakemake.output[0], snakemake.input):
    write_plots(Path(snakemake.input[0]).parent, Path(snakemake.output[0]).parent)
