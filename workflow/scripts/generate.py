"""Rule generate: make the avatars of a chunk and list them."""

import os
from pathlib import Path

from avatargen.config import RunConfig
from avatargen.fanout import Fanout, check_failures, make_chunk
from avatargen.job import job, write_rows
from avatargen.prompts import PromptItem
from avatargen.rayhead import HEAD_FILE

with job(snakemake.log[0]):
    run = RunConfig.model_validate(snakemake.params.run)
    items = [PromptItem.from_facts(facts) for facts in snakemake.params.prompts]
    manifest = Path(snakemake.output[0])
    head = os.environ.get(HEAD_FILE)
    how = Fanout(
        backend=snakemake.resources.backend,
        threads=run.threads,
        gpus=float(snakemake.resources.gpus_per_worker),
        head_file=Path(head) if head else None,
    )
    rows = make_chunk(run, items, manifest.parents[1] / "avatars", how)
    check_failures(rows, float(snakemake.resources.max_failed))
    write_rows(manifest, rows)
