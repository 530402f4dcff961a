# One job is one chunk of a list with one method. Avatars live in folders that Snakemake does not know of, so
# that a failing job does not delete the finished ones; the manifest is the declared output.
rule generate:
    output:
        RESULTS + "/{list}/{method}/generate/{chunk}.jsonl",
    log:
        LOGS + "/generate/{list}-{method}-{chunk}.log",
    threads: generate_threads
    params:
        plan=PLAN,
        asked=asked_of,
        code=lambda wildcards: fingerprint.generate_code(STUDY.runs[wildcards.method]),
    script:
        "../scripts/generate.py"
