# Renders, embeddings and scores. `render` and `embed` skip avatars whose folder already holds current results.
from avatargen.io.content_hash import weights_id

# The one that shows heads made without a prior.
FIRST_PRIOR = STUDY.priors[EXPERIMENT.prior_names[0]]


rule render:
    input:
        rules.generate.output,
    output:
        f"{RESULTS}/{{list}}/{{method}}/render/{{chunk}}.jsonl",
    log:
        f"{LOGS}/render/{{list}}-{{method}}-{{chunk}}.log",
    priority: one_prior_after_another(0)
    conda:
        "../envs/avatargen.yaml"
    threads: render_threads
    resources:
        gpu=min(GPUS, 1),
    params:
        plan=PLAN,
        settings=lambda wildcards: hash_of(EXPERIMENT.evaluation, STUDY.prior_of(wildcards.method)),
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
    threads: render_threads
    resources:
        gpu=min(GPUS, 1),
    params:
        plan=PLAN,
        judges=digest({name: hash_of(judge) for name, judge in STUDY.judges.items()}),
        noise_draws=EXPERIMENT.evaluation.noise_draws,
        weights=[clip_id(judge) for judge in STUDY.judges.values()],
        code=fingerprint.embed_code(),
    script:
        "../scripts/embed.py"


# One job for each judge, so that `collect` loads no model.
rule embed_captions:
    input:
        generated=chunks_of("generate"),
        pools=pool_files(),
    output:
        f"{RESULTS}/captions/{{judge}}.npz",
    log:
        f"{LOGS}/embed_captions/{{judge}}.log",
    wildcard_constraints:
        judge="|".join(map(re.escape, STUDY.judges)),
    conda:
        "../envs/avatargen.yaml"
    threads: 1
    params:
        plan=PLAN,
        captions=caption_hash,
        judge=lambda wildcards: hash_of(STUDY.judges[wildcards.judge]),
        weights=lambda wildcards: clip_id(STUDY.judges[wildcards.judge]),
        code=code_hash(("eval.embed_captions",)),
    script:
        "../scripts/embed_captions.py"


# Needs no avatar: the heads are those of the closed world's prompts.
rule judge_controls:
    output:
        shown_table("judge_controls", "What judges follow"),
    log:
        f"{LOGS}/judge_controls.log",
    conda:
        "../envs/avatargen.yaml"
    threads: render_threads
    resources:
        gpu=min(GPUS, 1),
    params:
        plan=PLAN,
        prompts=digest([[item.prompt, item.tags] for items in STUDY.lists.values() for item in items]),
        settings=[EXPERIMENT.head, EXPERIMENT.renderer, hash_of(EXPERIMENT.evaluation, FIRST_PRIOR)],
        weights=[weights_id(path) for path in FIRST_PRIOR.sources],
        judges=digest({name: [hash_of(judge), clip_id(judge)] for name, judge in STUDY.judges.items()}),
        code=fingerprint.control_code(next(iter(STUDY.runs.values()))),
    script:
        "../scripts/judge_controls.py"


rule collect:
    input:
        generated=chunks_of("generate"),
        embedded=chunks_of("embed"),
        captions=[f"{RESULTS}/captions/{judge}.npz" for judge in STUDY.judges],
        pools=pool_files(),
    output:
        shown_table("clip_r", "R-precision of each method"),
        shown_table("paired", "Differences to the baseline"),
        shown_table("claims", "The paper's claims"),
        shown_table("truth", "Distance to the ground truth"),
        shown_table("confusions", "Confusions by attribute"),
        shown_table("diagnosis", "Failure signatures"),
        shown_table("cost", "Cost"),
        shown_table("failures", "Failures"),
        expand(f"{RESULTS}/tables/{{name}}.csv", name=["convergence", "records"]),
        expand(f"{RESULTS}/tables/{{name}}.csv", name=["truth_records", "diagnosis_records"]),
        f"{RESULTS}/tables/protocols.json",
        [f"{RESULTS}/tables/priors.csv"] if EXPERIMENT.priors else [],
    log:
        f"{LOGS}/collect.log",
    conda:
        "../envs/avatargen.yaml"
    threads: 1
    params:
        plan=PLAN,
        settings=hash_of(EXPERIMENT, *STUDY.priors.values(), *STUDY.judges.values()),
        captions=caption_hash,
        guides=digest(guiding_judges(STUDY)),
        code=fingerprint.table_code(),
    script:
        "../scripts/collect.py"


MEASURES = expand(f"{RESULTS}/tables/{{name}}.csv", name=["measures", "measures_records", "measure_errors"])

if EXPERIMENT.diagnose:

    # Like `render`, it skips what is current: another diagnostic measures nothing again.
    rule diagnose:
        input:
            rules.generate.output,
        output:
            f"{RESULTS}/{{list}}/{{method}}/diagnose/{{chunk}}.jsonl",
        log:
            f"{LOGS}/diagnose/{{list}}-{{method}}-{{chunk}}.log",
        priority: one_prior_after_another(0)
        conda:
            "../envs/avatargen.yaml"
        threads: render_threads
        resources:
            gpu=min(GPUS, 1),
        params:
            plan=PLAN,
            settings=lambda wildcards: hash_of(EXPERIMENT.evaluation, STUDY.prior_of(wildcards.method)),
            judges=digest({name: [hash_of(judge), clip_id(judge)] for name, judge in STUDY.judges.items()}),
            code=lambda wildcards: {
                name: fingerprint.diagnostic_code(name, STUDY.runs[wildcards.method])
                for name in EXPERIMENT.diagnose
            },
            embeds=fingerprint.embed_code(),
        script:
            "../scripts/diagnose.py"

    rule collect_measures:
        input:
            generated=chunks_of("generate"),
            diagnosed=chunks_of("diagnose"),
            captions=[f"{RESULTS}/captions/{judge}.npz" for judge in STUDY.judges],
            pools=pool_files(),
        output:
            MEASURES,
        log:
            f"{LOGS}/collect_measures.log",
        conda:
            "../envs/avatargen.yaml"
        threads: 1
        params:
            plan=PLAN,
            settings=hash_of(EXPERIMENT, *STUDY.judges.values()),
            captions=caption_hash,
            guides=digest(guiding_judges(STUDY)),
            code=fingerprint.measure_code(),
        script:
            "../scripts/collect_measures.py"


if EXPERIMENT.question:

    rule answer:
        input:
            tables=rules.collect.output,
            measures=MEASURES if EXPERIMENT.diagnose else [],
            generated=chunks_of("generate"),
        output:
            f"{RESULTS}/tables/answers.csv",
            f"{RESULTS}/tables/answer.json",
        log:
            f"{LOGS}/answer.log",
        conda:
            "../envs/avatargen.yaml"
        threads: 1
        params:
            plan=PLAN,
            settings=hash_of(EXPERIMENT, *STUDY.runs.values()),
            code=fingerprint.answer_code(EXPERIMENT.question),
        script:
            "../scripts/answer.py"
