"""Finished runs whose scores are stated: what a comparison reads, without avatars."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from avatargen.io.content_hash import digest
from avatargen.io.manifest import Row, write_rows
from eval.images import packed
from eval.results_file import NAME, RunFacts, write_results

PROMPTS = ("a bald man", "a baby <b>& more</b>", "an old woman", "a girl with horns")
SUBSET = "all"
VIEWS = {"size": 128, "numbers": "float32", "noise_draws": 4}


def write_run(folder: Path, methods: dict[str, list[int]], seeds=(0,), mm=2.0, prompts=PROMPTS, **changes) -> Path:
    """Write a run of one judge and track.

    Args:
        folder: ``results/{experiment}``.
        methods: rank of the own caption for each prompt, by method; 0 for an avatar that failed.
        seeds: of each prompt, with the same rank.
        mm: distance to the ground truth, of each avatar.
        prompts: of the list; as many as there are ranks.
        changes: `views`, `content`, `rivals` of the protocol, `guidance` of the methods, `truth` protocol, `versions`.
    """
    rivals, views = changes.get("rivals", ("another head",)), {**VIEWS, **changes.get("views", {})}
    facts = {"content": changes.get("content", "w1"), "track": "texture", "views": views, "seeds": list(seeds)}
    facts |= {"pools": [sorted((prompt, *rivals)) for prompt in prompts], "prompts": list(prompts)}
    hash_ = digest(facts)[:12]
    items = [
        {"list": "few", "item": f"i{index}", "prompt": prompt, "seeds": list(seeds), "caption": prompt, "pool": index}
        for index, prompt in enumerate(prompts)
    ]
    protocol = {
        **{name: facts[name] for name in ("content", "track", "views", "pools")},
        **{"judge": f"judge:{facts['content']}", "name": "mini", "pool": "few", "pool_size": "2", "truncated": []},
        **{"subset": SUBSET, "items": items},
    }
    records, truths, rows = [], [], []
    for method, ranks in methods.items():
        for index, rank in enumerate(ranks):
            for seed in seeds:
                row = _row(folder, method, index, prompts[index], seed, rank)
                rows.append(row)
                about = {"method": method, "list": "few", "item": row.item, "seed": seed}
                records.append({**about, **_scores(row, rank, hash_)})
                truths.append({**about, "status": row.status, "geometry_mm": mm, "colour_error": 0.1 * (index + 1)})
    _write_tables(folder / "tables", records, truths, {hash_: protocol}, rows)
    write_results(folder / NAME, _facts(folder, methods, rows, changes))
    return folder


def draw_views(folder: Path, shade: int = 90) -> None:
    """Give an avatar's folder pictures: its views in one shade."""
    folder.mkdir(parents=True, exist_ok=True)
    views = np.full((2, 16, 16, 3), shade, np.uint8)
    np.savez(folder / "views.npz", texture=packed(views), geometry=packed(views))
    Image.fromarray(views[0]).save(folder / "sheet.png")


def _row(folder, method, index, prompt, seed, rank) -> Row:
    failed = {} if rank else {"status": "error", "message": "<i>boom</i>"}
    name = f"i{index}-{seed}"
    place = f"results/{folder.name}/few/{method}/avatars/{name}"
    about = {"list": "few", "item": f"i{index}", "prompt": prompt, "seed": seed, "method": method}
    return Row(id=name, **about, folder=place, seconds=2.0, **failed)


def _scores(row, rank, protocol):
    last = rank or 9
    return {
        **{"prompt": row.prompt, "status": row.status, "judge": "mini", "track": "texture", "subset": SUBSET},
        **{"pool": "few", "pool_size": 2, "protocol": protocol, "rank": last, "reciprocal_rank": 1 / last},
        **{"margin": 0.1 / rank if rank else -1.0, "clip_score": 0.5 / last if rank else 0.0, "caption": row.prompt},
    }


def _write_tables(tables, records, truths, protocols, rows):
    tables.mkdir(parents=True)
    pd.DataFrame(records).to_csv(tables / "records.csv", index=False)
    pd.DataFrame(truths).to_csv(tables / "truth_records.csv", index=False)
    (tables / "protocols.json").write_text(json.dumps(protocols))
    methods = list(dict.fromkeys(row.method for row in rows))
    alike = {"n": len(rows) // len(methods), "n_failed": 0, "subset": SUBSET}
    clip_r = {"judge": "mini", "track": "texture", **alike, "r_at_1": 0.5, "r_at_1_low": 0.1, "r_at_1_high": 0.9}
    clip_r |= {"margin": float("nan"), "chance": 0.5, "protocol": next(iter(protocols))}
    pd.DataFrame([{"method": name, **clip_r} for name in methods]).to_csv(tables / "clip_r.csv", index=False)
    truth = [{"method": name, **alike, "geometry_mm_mean": 2.0} for name in methods]
    pd.DataFrame(truth).to_csv(tables / "truth.csv", index=False)
    cost = {"n": 1, "n_failed": 0, "n_taken_over": 0, "seconds_mean": 2.0, "seconds_median": 2.0, "seconds_total": 2.0}
    cost |= {"peak_memory_mb_max": float("nan")}
    pd.DataFrame([{"method": name, **cost} for name in methods]).to_csv(tables / "cost.csv", index=False)
    for name in methods:
        manifest = tables.parent / "few" / name / "generate/0000.jsonl"
        write_rows(manifest, [row for row in rows if row.method == name])


def _facts(folder, methods, rows, changes):
    prior = {"guidance": changes.get("guidance", 12.0)}
    plan = {
        "experiment": {"experiment": folder.name, "lists": ["few"], "judges": ["mini"]},
        "runs": {name: {"method_name": name, "prior": prior} for name in methods},
        **{
            "priors": {},
            "judges": {"mini": {"model": "x"}},
            "lists": {"few": list(PROMPTS)},
            "command": "avatargen run",
        },
    }
    versions, machine = changes.get("versions", {"code": "abc"}), {"cpu": "x", "cores": 2, "gpu": None}
    root, truth = folder.parents[1], changes.get("truth", "t1")
    return RunFacts(plan, rows, root, folder / "tables", truth, versions, machine)
