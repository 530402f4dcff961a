"""Rule embed: what each judge sees in the renders."""

from functools import cache
from pathlib import Path

from avatargen import fingerprint
from avatargen.config import ROOT
from avatargen.job import job, read_rows, write_rows
from avatargen.plan import read_plan
from eval.embed import Judge, embed_avatar, is_embedded

with job(snakemake.log[0], snakemake.threads):
    judges = read_plan(snakemake.params.plan).judges
    load = cache(lambda name: Judge.load(name, judges[name], ROOT))  # only where there is work
    done = []
    for row in read_rows(snakemake.input[0]):
        folder, prints = Path(row["folder"]), {}
        for name, settings in judges.items():
            prints[name] = fingerprint.of_embedding(row["fingerprint"], name, settings)
            if not is_embedded(folder, name, prints[name]):
                embed_avatar(folder, load(name), prints[name])
        done.append({"id": row["id"], "folder": row["folder"], "fingerprints": prints})
    write_rows(snakemake.output[0], done)
