# One job makes one chunk of a list with one method. Its declared output is the manifest; avatars lie in folders that
# Snakemake does not know of, so that a failing job does not delete the finished ones.
rule generate:
    output:
        f"{RESULTS}/{{list}}/{{method}}/generate/{{chunk}}.jsonl",
    log:
        f"{LOGS}/generate/{{list}}-{{method}}-{{chunk}}.log",
    priority: one_prior_after_another(1)  # it fills the machine; renders wait and then fill it, too
    conda:
        "../envs/avatargen.yaml"
    threads: generate_threads
    resources:
        gpu=GPUS,
    params:
        plan=PLAN,
        asked=asked_of,
    script:
        "../scripts/generate.py"
