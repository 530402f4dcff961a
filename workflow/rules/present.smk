# What people read.
rule plots:
    input:
        rules.collect.output,
    output:
        expand(f"{RESULTS}/plots/clip_r.{{kind}}", kind=["svg", "png"]),
    log:
        f"{LOGS}/plots.log",
    conda:
        "../envs/avatargen.yaml"
    threads: 1
    params:
        code=fingerprint.table_code(),
    script:
        "../scripts/plots.py"


rule report:
    input:
        tables=rules.collect.output,
        plots=rules.plots.output,
        generated=chunks_of("generate"),
    output:
        page=f"{RESULTS}/report/index.html",
        pictures=f"{RESULTS}/report/comparison.png",
    log:
        f"{LOGS}/report.log",
    conda:
        "../envs/avatargen.yaml"
    threads: 1
    params:
        plan=PLAN,
        settings=hash_of(EXPERIMENT, *STUDY.runs.values(), *STUDY.judges.values()),
        reasons=digest(STUDY.reasons),
        code=fingerprint.report_code(),
    script:
        "../scripts/report.py"
