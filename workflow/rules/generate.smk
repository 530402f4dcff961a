# One job is one chunk of a list with one method. Avatars live in folders that Snakemake does not know of, so
# that a failing job does not delete the finished ones; the manifest is the declared output.
rule generate:
    output:
        RESULTS + "/{list}/{method}/generate/{chunk}.jsonl",
    log:
        LOGS + "/generate/{list}-{method}-{chunk}.log",
    threads: generate_threads
    resources:
        backend=EXPERIMENT.backend,
        gpus_per_worker=str(EXPERIMENT.gpus_per_worker),
        max_failed=str(EXPERIMENT.max_failed_fraction),
    params:
        run=run_of,
        prompts=prompts_of,
        code=lambda wildcards: fingerprint.generate_code(STUDY.runs[wildcards.method]),
        weights=fingerprint.weights_id(STUDY.runs[EXPERIMENT.methods[0]].prior.path),
    script:
        "../scripts/generate.py"
