"""Rule judge_controls: what judges follow where colour and shape disagree."""

from pathlib import Path

from avatargen.config.places import ROOT
from avatargen.preflight.plan import read_plan
from avatargen.runtime.job import job
from eval.embed import Judge
from eval.judge_controls import followed_colour, mixed_heads, render_mixed, to_frame
from eval.judge_section import TABLE
from eval.tables import write_table
from eval.views import RenderTools

with job(snakemake.log[0], snakemake.threads):
    study = read_plan(snakemake.params.plan)
    experiment, prior = study.experiment, study.priors[study.experiment.prior_names[0]]
    pairs = mixed_heads(item for items in study.lists.values() for item in items if study.has_truth(item))
    rows = []
    if pairs:
        tools = RenderTools.load(experiment.head, experiment.renderer, prior, ROOT)
        views = list(render_mixed(pairs, tools, experiment.evaluation))
        judges = (Judge.load(name, settings, ROOT) for name, settings in study.judges.items())
        rows = [followed_colour(judge, pairs, views) for judge in judges]
    write_table(to_frame(rows), Path(snakemake.output[0]).parent, TABLE)
