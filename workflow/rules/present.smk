# Plots and the report.
from avatargen.config.experiment import RunConfig


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
        controls=rules.judge_controls.output,
        plots=rules.plots.output,
        measures=MEASURES if EXPERIMENT.diagnose else [],
        answers=rules.answer.output if EXPERIMENT.question else [],
        generated=chunks_of("generate"),
    output:
        page=f"{RESULTS}/report/index.html",
        pictures=f"{RESULTS}/report/comparison.png",
        results=f"{RESULTS}/results.json",
    log:
        f"{LOGS}/report.log",
    conda:
        "../envs/avatargen.yaml"
    threads: 1
    params:
        plan=PLAN,
        settings=hash_of(EXPERIMENT, *STUDY.priors.values(), *STUDY.runs.values(), *STUDY.judges.values()),
        descriptions=digest(RunConfig.model_json_schema()),  # with the provenance of each hyper-parameter
        reasons=digest(STUDY.reasons),
        guides=digest(guiding_judges(STUDY)),
        code=[fingerprint.report_code(), code_hash(("eval.versions", "eval.results_file"))],
    script:
        "../scripts/report.py"
