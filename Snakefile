# The whole benchmark: prompt lists -> avatars -> renders -> embeddings -> tables, plots, report.
#
#   snakemake --cores all                                   the embedded experiment, on any machine
#   snakemake --cores all --config experiment=NAME          workflow/config/NAME.yaml
#   snakemake --cores all --config limit=2 seeds=0,1        with fields of the experiment changed
#
# Everything that a run needs is validated here, before the first job.
from snakemake.utils import min_version

min_version("9.13")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/generate.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/present.smk"
include: "workflow/rules/audit.smk"


rule all:
    default_target: True
    input:
        f"{RESULTS}/report/index.html",
        f"{RESULTS}/results.json",


onstart:
    begin_run()


onsuccess:
    ownership.forget_owner()
    print(*launch.closing_lines(STUDY), sep="\n")


onerror:
    ownership.forget_owner()
