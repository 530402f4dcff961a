# What people read.
rule plots:
    input:
        rules.collect.output,
    output:
        expand(f"{RESULTS}/plots/clip_r.{{kind}}", kind=["svg", "png"]),
    log:
        f"{LOGS}/plots.log",
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
        f"{RESULTS}/report/index.html",
    log:
        f"{LOGS}/report.log",
    threads: 1
    params:
        experiment=EXPERIMENT.model_dump(mode="json"),
        runs={name: run.model_dump(mode="json") for name, run in STUDY.runs.items()},
        reasons=STUDY.reasons,
        judges={name: judge.model for name, judge in STUDY.judges.items()},
        code=fingerprint.report_code(),
    script:
        "../scripts/report.py"
