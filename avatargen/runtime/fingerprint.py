"""Compute fingerprints, which decide whether finished work is current: hashes of everything that shapes it.

A fingerprint covers the *parsed* source of the modules that shape a result (without comments, docstrings and layout),
the resolved configuration, the prompt and the weights. The modules are found by following imports from the stage's
entry point, lazy ones too. Modules that only read configuration or schedule work are left out: what they decide is
hashed by value.

The Snakefile uses this module at every parse, so it imports neither torch nor pandas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from avatargen.config.errors import InputError
from avatargen.config.experiment import EvaluationSettings, JudgeSettings, RunConfig
from avatargen.config.places import ROOT
from avatargen.config.plugins import DIAGNOSTICS, HEADS, PRIORS, QUESTIONS, READERS, RENDERERS, SOURCES, module_of
from avatargen.config.prompts import PromptItem
from avatargen.config.settings import PriorSettings
from avatargen.exchange.mesh_folder import find_mesh
from avatargen.io.code_hash import code_hash
from avatargen.io.content_hash import clip_id, digest, file_hash, weights_id
from avatargen.method.sources import Source, source_of
from avatargen.preflight.mesh_structure import malformed

_HEAD_PACKAGES = {"anny": "anny"}


def generate_code(run: RunConfig) -> str:
    """Return a hash of the code that shapes an avatar of this head, renderer and prior."""
    return code_hash(("avatargen.method.generator", *_plugged(run)))


def render_code(run: RunConfig) -> str:
    """Return a hash of the code that shapes an avatar's turntable, views and contact sheet."""
    return code_hash(("eval.turntable", *_plugged(run)))


def embed_code() -> str:
    """Return a hash of the code that shapes embeddings."""
    return code_hash(("eval.embed",))


def truth_code(run: RunConfig) -> str:
    """Return a hash of the code that shapes an avatar's distance to the ground-truth head."""
    return code_hash(("eval.truth", *_plugged(run)))


def truth_protocol(head: str) -> str:
    """Return a hash of what decides the distances to the ground-truth heads: the head model and the code."""
    modules = ("eval.truth", *([HEADS[head].partition(":")[0]] if head in HEADS else []))
    return digest(code_hash(modules), head_id(head))[:12]


def control_code(run: RunConfig) -> str:
    """Return a hash of the code that shapes the controls of judges."""
    return code_hash(("eval.judge_controls", *_plugged(run)))


def diagnostic_code(name: str, run: RunConfig) -> str:
    """Return a hash of the code that shapes what a diagnostic finds on an avatar."""
    return code_hash((module_of(DIAGNOSTICS[name]), "eval.diagnostics.files", *_plugged(run)))


def diagnostic_protocol(name: str, head: str, renderer: str, settings: EvaluationSettings) -> str:
    """Return a hash of what decides the numbers of a diagnostic, whatever avatar it measures.

    Args:
        name: of the diagnostic.
        head, renderer: names in :mod:`avatargen.config.plugins`, of the experiment.
        settings: the protocol of evaluation.
    """
    named = (DIAGNOSTICS[name], *(table[one] for table, one in ((HEADS, head), (RENDERERS, renderer)) if one in table))
    return digest(code_hash(map(module_of, named)), head_id(head), _shown(settings))[:12]


def measure_code() -> str:
    """Return a hash of the code that shapes the tables of diagnostics."""
    return code_hash(("eval.measures",))


def answer_code(question: str) -> str:
    """Return a hash of the code that answers a question."""
    return code_hash((module_of(QUESTIONS[question]), "eval.questions.evidence", "eval.questions.files"))


def table_code() -> str:
    """Return a hash of the code that shapes tables and plots."""
    return code_hash(("eval.collect", "eval.plots"))


def head_file_code(head: str) -> str:
    """Return a hash of the code, and of the head model, that shape the 3D heads beside the report."""
    return digest(code_hash(("eval.head_files", *([module_of(HEADS[head])] if head in HEADS else []))), head_id(head))


def report_code() -> str:
    """Return a hash of the code and the templates that shape the report."""
    templates = [file for file in sorted((ROOT / "eval/templates").glob("*")) if file.is_file()]
    return digest(code_hash(("eval.report", "eval.comparison")), [file_hash(file) for file in templates])


def of_avatar(run: RunConfig, item: PromptItem, root: Path = ROOT) -> str:
    """Return the fingerprint of one avatar; see `of_avatars`."""
    return of_avatars(run, [item], root)[0]


def of_avatars(run: RunConfig, items: Iterable[PromptItem], root: Path = ROOT) -> list[str]:
    """Return the fingerprints of one method's avatars, in order.

    They cover neither the list's name nor the geometry caption, which do not shape an avatar.

    Args:
        run: the method.
        items: prompts and seeds.
        root: folder that relative paths of weights and meshes start from.
    """
    shared, source = digest(*of_method(run, root)), source_of(run)  # one hash for all of a long list
    return [digest(shared, *ingredients(source, run, item, root)) for item in items]


def ingredients(source: Source, run: RunConfig, item: PromptItem, root: Path = ROOT) -> list[Any]:
    """Return what an avatar depends on besides its method, JSON-ready.

    Of a mesh whose structure is wrong, it is the file alone: nothing walks through it to find what it refers to.

    Args:
        source: of the method's avatars.
        run: the method.
        item: prompt and seed.
        root: folder that relative paths of meshes start from.
    """
    path = find_mesh(run.method.meshes, item, root) if run.method.meshes else None
    if path is not None and malformed(path):
        return ["malformed", weights_id(str(path), root)]
    return source.ingredients(run, item, root)


def of_method(run: RunConfig, root: Path = ROOT) -> tuple[Any, ...]:
    """Return what all avatars of a method depend on, JSON-ready: code, settings, head model, weights that guide."""
    return (
        generate_code(run),
        run.model_dump(mode="json"),
        head_id(run.head, root),
        [weights_id(path, root) for path in run.prior.sources],
        clip_id(run.clip, root) if run.clip else None,
        weights_id(run.prior.reader.path, root) if run.prior.reader else None,
    )


def of_render(avatar: str, status: str, run: RunConfig, settings: EvaluationSettings, prior: PriorSettings) -> str:
    """Return the fingerprint of an avatar's renders.

    Args:
        avatar: the avatar's fingerprint.
        status: the avatar's status, since an avatar that failed and is made later keeps its fingerprint.
        run: the method.
        settings: the protocol of evaluation.
        prior: the experiment's, without what a method changes: its latent size and samples hold for all methods.
    """
    shown = settings.model_dump(mode="json", exclude={"noise_draws"})  # added to what is rendered
    return digest(avatar, status, render_code(run), shown, prior.latent_size, prior.samples)


def of_diagnostic(
    name: str,
    avatar: str,
    status: str,
    run: RunConfig,
    settings: EvaluationSettings,
    prior: PriorSettings,
    judges: Mapping[str, JudgeSettings],
    root: Path = ROOT,
) -> tuple[str, str]:
    """Return two fingerprints of what a diagnostic finds on an avatar.

    The first holds for a diagnostic that shows judges nothing, the second for one that does.

    Args:
        name: of the diagnostic.
        avatar, status, run, settings, prior: as in `of_render`.
        judges: that rank what it shows.
        root: what paths of judges are relative to.
    """
    shown = (_shown(settings), prior.latent_size, prior.samples)
    measured = digest(avatar, status, diagnostic_code(name, run), *shown)
    seen = {name: [judge.model_dump(mode="json"), clip_id(judge, root)] for name, judge in judges.items()}
    return measured, digest(measured, embed_code(), seen)


def of_truth(avatar: str, status: str, run: RunConfig) -> str:
    """Return the fingerprint of an avatar's distance to the ground-truth head; arguments as in `of_render`."""
    return digest(avatar, status, truth_code(run))


def of_embedding(render: str, name: str, judge: JudgeSettings, noise_draws: int, root: Path = ROOT) -> str:
    """Return the fingerprint of one judge's embeddings of renders whose fingerprint is `render`."""
    return digest(render, embed_code(), name, judge.model_dump(mode="json"), noise_draws, clip_id(judge, root))


def head_id(name: str, root: Path = ROOT) -> str:
    """Return a head model's name with the version of the package, or the hash of the files, that define its shapes.

    The code that builds the head is part of the stage's code hash.
    """
    model, _, resolution = name.partition("_")
    if model == "flame":
        return "-".join(filter(None, (_flame_id(root), resolution)))
    package = _HEAD_PACKAGES.get(model)
    try:
        return f"{name}-{version(package)}" if package else name
    except PackageNotFoundError:
        return name


def _flame_id(root: Path) -> str:
    from avatargen.heads.flame.files import find_flame

    try:
        files = find_flame()
    except InputError:
        return "flame"
    return "flame-" + digest([weights_id(str(path), root) for path in (files.model, files.texture, files.masks)])


def _shown(settings: EvaluationSettings) -> dict[str, Any]:
    """Return the settings of evaluation that diagnostics may go by: all but those of noise and of the turntable."""
    return settings.model_dump(mode="json", exclude={"noise_draws", "turntable_frames", "turntable_size"})


def _plugged(run: RunConfig) -> tuple[str, ...]:
    """Return the modules that the configuration names and no import does."""
    tables = ((HEADS, run.head), (RENDERERS, run.renderer), (PRIORS, run.prior.kind), (SOURCES, run.method.source))
    readers = ((READERS, run.prior.reader.kind),) if run.prior.reader else ()
    return tuple(table[name].partition(":")[0] for table, name in (*tables, *readers) if name in table)
