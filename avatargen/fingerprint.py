"""What decides whether finished work is current: hashes of what shapes it.

A fingerprint covers the *parsed* source of the modules that shape a result (comments, docstrings and layout
aside), the resolved configuration, the prompt and the weights. The modules are found by following imports
from the stage's entry point, lazy ones too; those that only read configuration or steer the work are left
out, since what they decide is hashed by value.

Used at every parse of the Snakefile: imports neither torch nor pandas.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from avatargen.config import ROOT, EvaluationSettings, JudgeSettings, RunConfig
from avatargen.disk import write_text
from avatargen.errors import InputError
from avatargen.mesh_files import find_mesh, parts_of
from avatargen.plugins import HEADS, PRIORS, RENDERERS
from avatargen.prompts import PromptItem
from avatargen.settings import MethodSettings, PriorSettings
from avatargen.weights import prior_parts

PACKAGES = ("avatargen", "eval")
STEERING = frozenset(
    f"avatargen.{name}"
    for name in (
        *(
            "__init__",
            "__main__",
            "calls",
            "config",
            "crew",
            "cut_prompts",
            "disk",
            "errors",
            "fanout",
            "fingerprint",
            "job",
            "launch",
            "plan",
        ),
        *("plugins", "progress", "prompts", "rayhead", "settings", "shared_start", "validate", "watch", "weights"),
        "worker",
    )
) | {"eval.finished", "eval.manifest"}
PHASE2_ALONE = (
    *("phase2_texture", "shape", "expression", "offsets", "segmentation_weight", "mask_period"),
    *("lr_shape", "lr_expression", "lr_offsets", "geometry_decay", "offset_limit_mm"),
    *("laplacian_weight", "offset_weight", "shape_prior_weight", "gradient_clip"),
)
"""Settings of a method that decide nothing before phase 2; a test runs phase 1 with each of them changed."""
_HEAD_PACKAGES = {"anny": "anny"}
_CACHE = Path(".cache/weights.json")


def generate_code(run: RunConfig) -> str:
    """Hash of the code that shapes an avatar of this head, renderer and prior."""
    return code_hash(("avatargen.generator", *_plugged(run)))


def render_code(run: RunConfig) -> str:
    """Hash of the code that shapes an avatar's turntable, views and sheet."""
    return code_hash(("eval.turntable", *_plugged(run)))


def embed_code() -> str:
    """Hash of the code that shapes embeddings."""
    return code_hash(("eval.embed",))


def truth_code(run: RunConfig) -> str:
    """Hash of the code that shapes an avatar's distance to the true head."""
    return code_hash(("eval.truth", *_plugged(run)))


def table_code() -> str:
    """Hash of the code that shapes tables and plots."""
    return code_hash(("eval.collect", "eval.plots"))


def report_code() -> str:
    """Hash of the code and the templates that shape the report."""
    templates = [file for file in sorted((ROOT / "eval/templates").glob("*")) if file.is_file()]
    return digest(code_hash(("eval.report", "eval.comparison")), [_file_hash(file) for file in templates])


def of_avatar(run: RunConfig, item: PromptItem, root: Path = ROOT) -> str:
    """Fingerprint of one avatar."""
    return of_avatars(run, [item], root)[0]


def of_avatars(run: RunConfig, items: Iterable[PromptItem], root: Path = ROOT) -> list[str]:
    """Fingerprints of avatars of one method. The name of the list is no part of them, nor the caption."""
    shared, meshes = of_method(run, root), run.method.meshes
    if meshes is None:
        return [digest(*shared, item.prompt, item.seed, list(item.tags)) for item in items]
    return [digest(*shared, _mesh_id(find_mesh(meshes, item, root), root)) for item in items]


def phase1_of(run: RunConfig) -> RunConfig | None:
    """What decides phase 1 of a method: the rest is as it is by default. None where there are not two phases."""
    method = run.method
    if method.source != "optimise" or not (method.phase1_steps and method.phase2_steps):
        return None
    usual = {name: MethodSettings.model_fields[name].default for name in PHASE2_ALONE}
    return run.model_copy(update={"method_name": "phase 1", "method": method.model_copy(update=usual)})


def shared_phase1(run: RunConfig, beside: Iterable[RunConfig]) -> RunConfig | None:
    """`phase1_of` a method, if it is another's too among those `beside`, which hold the method itself."""
    phase1 = phase1_of(run)
    return phase1 if phase1 and sum(phase1_of(other) == phase1 for other in beside) > 1 else None


def of_method(run: RunConfig, root: Path = ROOT) -> tuple[Any, ...]:
    """What all avatars of one method depend on, JSON-ready: code, settings, head model, and the weights that guide."""
    return (
        generate_code(run),
        run.model_dump(mode="json"),
        head_id(run.head, root),
        [weights_id(path, root) for path in prior_parts(run.prior)],
        clip_id(run.clip, root) if run.clip else None,
    )


def of_render(avatar: str, status: str, run: RunConfig, settings: EvaluationSettings, prior: PriorSettings) -> str:
    """Fingerprint of an avatar's renders.

    Args:
        avatar: its own fingerprint; status: how it ended: one that failed, and is made after all, keeps the former.
        prior: the experiment's, whose latent size and samples all methods are shown with.
    """
    return digest(avatar, status, render_code(run), settings.model_dump(mode="json"), prior.latent_size, prior.samples)


def of_truth(avatar: str, status: str, run: RunConfig) -> str:
    """Fingerprint of an avatar's distance to the true head; arguments as of `of_render`."""
    return digest(avatar, status, truth_code(run))


def of_embedding(render: str, name: str, judge: JudgeSettings, root: Path = ROOT) -> str:
    """Fingerprint of one judge's embeddings of an avatar's renders; `render` is the renders' fingerprint."""
    return digest(render, embed_code(), name, judge.model_dump(mode="json"), clip_id(judge, root))


def digest(*values: Any) -> str:
    """A short hash of JSON-ready values."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def head_id(name: str, root: Path = ROOT) -> str:
    """A head model's name, with the version of the package or the content of the files that its shapes come from.

    The code that bakes it is part of the stage's code hash.
    """
    if name == "flame":
        return _flame_id(root)
    package = _HEAD_PACKAGES.get(name)
    try:
        return f"{name}-{version(package)}" if package else name
    except PackageNotFoundError:
        return name


def _flame_id(root: Path) -> str:
    from avatargen.heads.flame_files import find_flame

    try:
        files = find_flame()
    except InputError:
        return "flame"
    return "flame-" + digest([weights_id(str(path), root) for path in (files.model, files.texture, files.masks)])


def _mesh_id(path: Path | None, root: Path) -> list[str]:
    """Hashes of a mesh and of what it refers to."""
    return [weights_id(str(part), root) for part in parts_of(path)] if path else []


def clip_id(settings: JudgeSettings, root: Path = ROOT) -> list[str]:
    """Hashes of what a CLIP is loaded from: its model, and its weights where they are a file of their own."""
    return [weights_id(source, root) for source in (settings.model, settings.pretrained) if source]


def weights_id(path: str, root: Path = ROOT) -> str:
    """A hash of the content of a folder or file of weights; the name itself where there is none (a hub id).

    Hashes of files are remembered by size and time of change, since weights can be large.
    """
    place = root / path
    if place.is_file():
        files = [place]
    elif place.is_dir():
        files = sorted(file for file in place.rglob("*") if file.is_file() and not file.name.startswith("."))
    else:
        return path
    known = _read_cache(root)
    found: dict[str, str] = {}
    for file in files:
        facts = file.stat()
        key = f"{path}/{file.relative_to(place)}:{facts.st_size}:{facts.st_mtime_ns}"
        found[key] = known.get(key) or _file_hash(file)
    if not found.keys() <= known.keys():
        kept = {key: value for key, value in known.items() if not key.startswith(f"{path}/")}
        _write_cache(root, {**kept, **found})
    return digest([(key.split(":")[0].removeprefix(path), value) for key, value in found.items()])


def code_hash(modules: Iterable[str]) -> str:
    """A hash of the parsed source of modules and of all modules of this project that they import."""
    names = sorted(_closure(tuple(modules)) - STEERING)
    return digest([(name, source_hash(_source(name).read_bytes())) for name in names])


@cache
def source_hash(source: bytes) -> str:
    """A hash of Python source that comments, docstrings and layout do not change."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
                node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


@cache
def imports_of(name: str) -> frozenset[str]:
    """Modules of this project that a module imports, anywhere in it."""
    path = _source(name)
    if path is None:
        return frozenset()
    found: set[str] = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package) if node.level else ""
            base = base or node.module or ""
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return frozenset(name for name in found if name.split(".")[0] in PACKAGES and _source(name) is not None)


@cache
def _closure(modules: tuple[str, ...]) -> frozenset[str]:
    """The modules, and those they import directly or not; not through those that only steer."""
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in seen or _source(name) is None:
            continue
        seen.add(name)
        waiting += [] if name in STEERING else sorted(imports_of(name))
    return frozenset(seen)


@cache
def _source(name: str) -> Path | None:
    """The file of a module of this project."""
    base = ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _plugged(run: RunConfig) -> tuple[str, ...]:
    """Modules that the configuration names rather than an import."""
    tables = ((HEADS, run.head), (RENDERERS, run.renderer), (PRIORS, run.prior.kind))
    return tuple(table[name].partition(":")[0] for table, name in tables if name in table)


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_cache(root: Path) -> dict[str, str]:
    try:
        return dict(json.loads((root / _CACHE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _write_cache(root: Path, hashes: Mapping[str, str]) -> None:
    """Remember hashes where the repository can be written; work is only slower where it cannot."""
    try:
        write_text(root / _CACHE, json.dumps(hashes, indent=1))
    except OSError:
        return
