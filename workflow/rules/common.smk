# What all rules share: the validated study, paths, and functions of parameters.
import gc
import logging
import math
import os
import re
import sys

sys.path.insert(0, str(workflow.basedir))

from avatargen.io.content_hash import clip_id, digest
from avatargen.runtime import fingerprint, launch, ownership, progress
from avatargen.runtime.worker_pool import has_cluster
from avatargen.config.command_line import stated_fields
from avatargen.config.errors import InputError
from avatargen.config.prompts import negatives_of, pools_of, read_captions
from avatargen.io.code_hash import code_hash
from avatargen.preflight.validate import guiding_judges
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.rules import Rule
from snakemake.settings.enums import Quietness

QUIET = workflow.output_settings.quiet  # the default profile's
if workflow.output_settings.verbose:
    QUIET.clear()
    os.environ[progress.VERBOSE] = "1"
elif workflow.output_settings.dryrun:
    QUIET.discard(Quietness.PROGRESS)  # with which the counts of jobs would go
for handler in logger.handlers:
    if not isinstance(handler, logging.FileHandler):  # what the scheduler says of each of its rounds
        handler.addFilter(
            lambda record: Quietness.PROGRESS not in QUIET
            or not re.match("Select jobs|Execute .* jobs", record.getMessage())
        )
gc.set_threshold(200_000)  # a graph of thousands of jobs stays as it is; searching it for garbage takes 0.4 s
launch.serve_jobs()
if workflow.is_main_process and ownership.clear_after_crash():
    print("Removed the lock of a run that was killed here.", file=sys.stderr)
try:
    # Snakemake's `config` has lost what was typed.
    FIELDS = stated_fields(workflow.config_settings.config_args, workflow.config_settings.configfiles)
    HERE = workflow.is_main_process and launch.runs_here(sys.argv[1:])
    # `begin_run` checks the disk, which a dry run does not need.
    STUDY = launch.study_of(FIELDS, check_disk=False, here=HERE)
except InputError as error:
    raise WorkflowError(str(error)) from None
if workflow.is_main_process and not workflow.output_settings.dryrun:
    if OTHER := ownership.running_already(STUDY.experiment.experiment):
        raise WorkflowError(OTHER)
if workflow.is_main_process and (NOTES := launch.notes_of(STUDY)):
    print(*NOTES, sep="\n", file=sys.stderr)

EXPERIMENT = STUDY.experiment
RESULTS = f"results/{EXPERIMENT.experiment}"
LOGS = f"{RESULTS}/logs"
PLAN = f"{RESULTS}/plan.json"
ASKED = launch.asked(STUDY)
# What a job asks of an executor; a job that uses a cluster's workers needs none itself.
GPUS = 0 if has_cluster() else math.ceil(EXPERIMENT.gpus_per_worker)


wildcard_constraints:
    list="|".join(map(re.escape, STUDY.lists)),
    method="|".join(map(re.escape, STUDY.runs)),
    chunk=r"\d+",


def chunks_of(stage):
    """Return the manifests of a stage, for all methods, lists and chunks."""
    return [
        f"{RESULTS}/{name}/{method}/{stage}/{chunk}.jsonl"
        for method in STUDY.runs
        for name in STUDY.lists
        for chunk in STUDY.chunks(name, method)
    ]


def asked_of(wildcards):
    """Return a hash of everything that the avatars of a chunk depend on."""
    return ASKED(wildcards.list, wildcards.method, wildcards.chunk)


def hash_of(*models):
    """Return a hash of settings; jobs read the settings themselves from the plan."""
    return digest(*(model.model_dump(mode="json") for model in models))


def generate_threads(wildcards):
    """Return all cores for the one chunk that runs on this machine; one for a driver of a cluster's workers."""
    if has_cluster():
        return 1
    return workflow.resource_settings.cores or EXPERIMENT.cpus_per_worker


def render_threads(wildcards):
    """Return one; half of the cores where prior or judges run on this machine's GPU: two jobs share it at most."""
    cores = workflow.resource_settings.cores or 2
    own_gpu = EXPERIMENT.gpus_per_worker and workflow.local_exec and not has_cluster()
    return max(1, cores // 2) if own_gpu else 1


def one_prior_after_another(base):
    """Return the priority of a stage's jobs, from `base` times the number of priors upwards.

    The first prior comes first and the others wait, so that workers seldom load another one. A Snakemake without
    functions of priorities takes jobs in any order.
    """
    names = EXPERIMENT.prior_names
    if len(names) == 1 or not hasattr(Rule, "expand_priority"):
        return base * len(names)
    latest = {name: len(names) - names.index(run.prior_name) - 1 for name, run in STUDY.runs.items()}
    return lambda wildcards: base * len(names) + latest[wildcards.method]


def shown_table(name, title):
    """Return the path of a table, marked for `snakemake --report`."""
    marks = {"caption": f"../report/{name}.rst", "category": "Tables", "labels": {"table": title}}
    return report(f"{RESULTS}/tables/{name}.csv", **marks)


def begin_run():
    """Start a run; see avatargen/runtime/launch.py. Called by real runs alone, after the dry run's part."""
    if workflow.touch:
        raise WorkflowError(
            "got --touch; expected a run without it: fingerprints and content decide what is current, not time stamps"
        )
    cores = workflow.resource_settings.cores or EXPERIMENT.cpus_per_worker
    try:
        launch.start_run(STUDY, cores, workflow.local_exec, PLAN)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def pool_files():
    """Return the pools files and the hard negatives that lie beside the lists."""
    return [
        str(path)
        for file in STUDY.files.values()
        for path in (pools_of(file), negatives_of(file))
        if path.is_file()
    ]


def caption_hash(wildcards):
    """Return a hash of what decides the captions of the pools and their order, beside the manifests."""
    captions = {Path(file).name: read_captions(Path(file)) for file in pool_files()}
    return digest(list(STUDY.runs), EXPERIMENT.lists, captions)
