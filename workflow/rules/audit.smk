# Forces the jobs whose outputs do not state what is asked, were made of other content, or are not borne out on disk.
from avatargen.runtime import audit
from avatargen.runtime.forced_jobs import force
from avatargen.runtime.job_inputs import inputs_changed
from eval import on_disk


def rules_of_tables():
    """Return (output, inputs) of the jobs that read files alone, which note the content of these."""
    names = ["collect", "plots", "heads", "report"] + ["collect_measures"] * bool(EXPERIMENT.diagnose)
    found = [getattr(rules, name) for name in names + ["answer"] * bool(EXPERIMENT.question)]
    captions = [(f"{RESULTS}/captions/{judge}.npz", rules.embed_captions.input) for judge in STUDY.judges]
    return [*((rule.output[0], rule.input) for rule in found), *captions]


def outputs_to_force():
    """Return the outputs whose jobs have to run, whatever Snakemake noted of them; say what was damaged."""
    lacking = audit.Lacking(on_disk.lacking_render, on_disk.lacking_embeddings, on_disk.lacking_measures)
    stale = audit.stale_manifests(STUDY, RESULTS, lacking)
    for manifest, damage in stale:
        if damage:
            print(f"{manifest}: made again where needed, since {damage}", file=sys.stderr)
    changed = [
        str(output) for output, inputs in rules_of_tables() if inputs_changed(str(output), map(str, inputs))
    ]
    return [*(one.manifest for one in stale), *changed]


if workflow.is_main_process and (FORCED := outputs_to_force()):
    force(workflow, FORCED)
