# Plots, 3D heads and the report.
from avatargen.config.experiment import RunConfig
from avatargen.config.loading import load_judges


rule plots:
    input:
        rules.collect.output,
    output:
        report(
            f"{RESULTS}/plots/clip_r.svg",
            caption="../report/clip_r_plot.rst",
            category="Plots",
            labels={"plot": "R@1 of each method"},
        ),
        f"{RESULTS}/plots/clip_r.png",
    log:
        f"{LOGS}/plots.log",
    conda:
        "../envs/avatargen.yaml"
    threads: 1
    params:
        code=fingerprint.table_code(),
    script:
        "../scripts/plots.py"


# The heads themselves are undeclared, as avatars are: those that are current stay.
rule heads:
    input:
        chunks_of("generate"),
    output:
        f"{RESULTS}/report/heads.json",
    log:
        f"{LOGS}/heads.log",
    conda:
        "../envs/avatargen.yaml"
    threads: 1
    params:
        plan=PLAN,
        code=fingerprint.head_file_code(EXPERIMENT.head),
    script:
        "../scripts/heads.py"


rule report:
    input:
        tables=rules.collect.output,
        controls=rules.judge_controls.output,
        plots=rules.plots.output,
        heads=rules.heads.output[0],
        measures=MEASURES if EXPERIMENT.diagnose else [],
        answers=rules.answer.output if EXPERIMENT.question else [],
        generated=chunks_of("generate"),
    output:
        page=f"{RESULTS}/report/index.html",
        pictures=report(
            f"{RESULTS}/report/comparison.png",
            caption="../report/comparison.rst",
            category="Pictures",
            labels={"picture": "the same prompts by every method"},
        ),
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
        reasons=digest([STUDY.reasons, {name: judge.reason for name, judge in load_judges().items()}]),
        guides=digest(guiding_judges(STUDY)),
        code=[fingerprint.report_code(), code_hash(("eval.versions", "eval.results_file"))],
    script:
        "../scripts/report.py"
