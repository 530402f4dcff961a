# What judges look at, and what they see. Both skip avatars whose folder already holds the work.
rule render:
    input:
        rules.generate.output,
    output:
        f"{RESULTS}/{{list}}/{{method}}/render/{{chunk}}.jsonl",
    log:
        f"{LOGS}/render/{{list}}-{{method}}-{{chunk}}.log",
    conda:
        "../envs/avatargen.yaml"
    threads: render_threads
    params:
        plan=PLAN,
        settings=hash_of(EXPERIMENT.evaluation),
        code=lambda wildcards: fingerprint.render_code(STUDY.runs[wildcards.method]),
        truth_code=lambda wildcards: fingerprint.truth_code(STUDY.runs[wildcards.method]),
    script:
        "../scripts/render.py"


rule embed:
    input:
        rules.render.output,
    output:
        f"{RESULTS}/{{list}}/{{method}}/embed/{{chunk}}.jsonl",
    log:
        f"{LOGS}/embed/{{list}}-{{method}}-{{chunk}}.log",
    conda:
        "../envs/avatargen.yaml"
    threads: 1
    params:
        plan=PLAN,
        judges=hash_of(*STUDY.judges.values()),
        weights=[clip_id(judge) for judge in STUDY.judges.values()],
        code=fingerprint.embed_code(),
    script:
        "../scripts/embed.py"


rule collect:
    input:
        generated=chunks_of("generate"),
        embedded=chunks_of("embed"),
        negatives=caption_files(),
        pool=[str(STUDY.pool)] if STUDY.pool else [],
    output:
        expand(f"{RESULTS}/tables/{{name}}.csv", name=["clip_r", "paired", "truth", "cost", "failures"]),
        expand(f"{RESULTS}/tables/{{name}}.csv", name=["records", "truth_records"]),
        expand(
            f"{RESULTS}/tables/{{name}}.csv",
            name=["claims", "convergence", "diagnosis", "diagnosis_records", "confusions"],
        ),
        f"{RESULTS}/tables/protocols.json",
    log:
        f"{LOGS}/collect.log",
    conda:
        "../envs/avatargen.yaml"
    threads: 1
    params:
        plan=PLAN,
        settings=hash_of(EXPERIMENT, STUDY.prior, *STUDY.judges.values()),
        code=fingerprint.table_code(),
    script:
        "../scripts/collect.py"
