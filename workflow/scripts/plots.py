"""Rule plots: plots of the tables."""

from pathlib import Path

from avatargen.runtime.job import job
from eval.plots import write_plots

with job(snakemake.log[0], snakemake.threads):
    write_plots(Path(snakemake.input[0]).parent, Path(snakemake.output[0]).parent)
