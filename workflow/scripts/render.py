"""Rule render: turntables, contact sheets, the judges' views, and distances to the true heads."""

import os
from functools import cache
from pathlib import Path

from avatargen import fingerprint
from avatargen.avatar_file import load_avatar
from avatargen.config import ROOT
from avatargen.job import job, read_rows, write_rows
from avatargen.plan import read_plan
from avatargen.validate import WORLD_HEAD
from eval.finished import RENDER_FACTS, TRUTH_FACTS, is_current
from eval.manifest import Row
from eval.truth import measure_avatar
from eval.turntable import FILES, render_avatar
from eval.views import RenderTools

with job(snakemake.log[0], snakemake.threads):
    study = read_plan(snakemake.params.plan)
    if not study.experiment.gpus_per_worker:  # where avatars were made on the CPU, they are decoded there too
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    run, settings = study.runs[snakemake.wildcards.method], study.experiment.evaluation
    tools = cache(lambda: RenderTools.load(run.head, run.renderer, study.prior, ROOT))  # only where there is work
    done = []
    for facts in read_rows(snakemake.input[0]):
        row, folder = Row.model_validate(facts), Path(facts["folder"])
        render = fingerprint.of_render(row.fingerprint, row.status, run, settings, study.prior)
        truth = fingerprint.of_truth(row.fingerprint, row.status, run)
        if not is_current(folder, RENDER_FACTS, render, FILES):
            render_avatar(load_avatar(folder), tools(), settings, folder, render)
        if not is_current(folder, TRUTH_FACTS, truth):
            comparable = run.head == WORLD_HEAD and run.method.source != "imported"
            measure_avatar(row, folder, tools().head if comparable else None, truth)
        done.append({"id": row.id, "folder": row.folder, "fingerprint": render})
    write_rows(snakemake.output[0], done)
