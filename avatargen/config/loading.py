"""Load experiments and the tables of named methods, priors and judges, and resolve one method.

A user's own files go into ``workflow/config/`` and ``prompts/`` of the working directory, which are looked into first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from avatargen.config.crossing import run_name
from avatargen.config.errors import InputError, Problems, unknown
from avatargen.config.experiment import Experiment, JudgeSettings, Library, NamedMethod, RunConfig, as_seeds
from avatargen.config.frozen import Frozen
from avatargen.config.places import ROOT, config_folders, located, placed, shipped, shown
from avatargen.config.settings import LATENT_SIZES, MethodSettings, PriorSettings
from avatargen.config.yaml_text import read_yaml

_TABLES = ("methods", "priors", "judges")
_PRIOR_FIELDS = ("prior", "priors")
"""Fields of an experiment of which one is stated."""
Model = TypeVar("Model", bound=Frozen)


def load_experiment(name: str, root: Path = ROOT, changes: Mapping[str, Any] | None = None) -> Experiment:
    """Load an experiment by name or by the path of its file, with some fields changed on the command line.

    Raises:
        InputError: no such file, not YAML, unknown keys, values out of bounds.
    """
    stated, path = _stated(name, root, changes or {})
    problems = Problems()
    where = f"{shown(path)} with --config" if changes else shown(path)
    experiment = problems.of(lambda: parse(Experiment, stated, where))
    named = "experiment" in (changes or {}) or name.endswith((".yaml", ".yml"))
    if path.stem != stated["experiment"] and not named:
        problems.add([f"{shown(path)}: experiment: got '{stated['experiment']}'; expected '{path.stem}'"])
    return problems.checked(experiment)


def experiment_names(root: Path = ROOT) -> list[str]:
    """Return the names of all experiments, the user's own and the shipped ones."""
    names = {file.stem for folder in config_folders(root) for file in folder.glob("*.yaml")}
    return sorted(names - set(_TABLES))


def valid_part(
    name: str, root: Path = ROOT, changes: Mapping[str, Any] | None = None
) -> tuple[Experiment | None, set[str]]:
    """Return the valid fields of an experiment that has faults, to look for more problems, and its faulty fields.

    Faulty fields have their defaults (lists and methods: none; the experiment's name: that of its file). The experiment
    is None where there is no such file or it holds no fields.
    """
    try:
        stated, path = _stated(name, root, changes or {})
    except InputError:
        return None, set()
    wrong: set[str] = set()
    try:
        Experiment.model_validate(stated)
    except ValidationError as error:
        faults = [fault["loc"] for fault in error.errors()]
        wrong = {str(place[0]) for place in faults if place}
        wrong |= set() if all(faults) else set(_PRIOR_FIELDS)  # the one fault of a whole experiment: both are stated
    if "seeds" in wrong:
        wrong.add("reduced")  # which chooses some of them
    empty = {key: value for key, value in {"experiment": path.stem, "lists": (), "methods": ()}.items() if key in wrong}
    right = {key: value for key, value in stated.items() if key not in wrong}
    valid = Experiment.model_validate({"experiment": "x", "lists": ["x"], "methods": ["x"], **right})
    return valid.model_copy(update=empty), wrong


def load_methods(root: Path = ROOT) -> dict[str, NamedMethod]:
    """Load the named methods; raise as `parse` does."""
    return _load_table("methods", NamedMethod, root)


def load_priors(root: Path = ROOT) -> dict[str, PriorSettings]:
    """Load the named priors; raise as `parse` does.

    A stanza without `latent_size` has that of its weights where they are in a folder, else that of its kind.
    """
    priors = _load_table("priors", PriorSettings, root)
    found = {name: prior.model_copy(update=_files_of(prior, root)) for name, prior in priors.items()}
    return {name: prior.model_copy(update=_own_latent_size(prior, root)) for name, prior in found.items()}


def load_judges(root: Path = ROOT) -> dict[str, JudgeSettings]:
    """Load the named judges; raise as `parse` does."""
    judges = _load_table("judges", JudgeSettings, root)
    return {name: judge.model_copy(update=_located(judge, root)) for name, judge in judges.items()}


def load_library(root: Path = ROOT) -> Library:
    """Load all named methods, priors and judges, without the reasons of priors and judges.

    Two names of the same judge are equal, whatever their reasons say.

    Raises:
        InputError: all problems of the three files.
    """
    problems = Problems()
    methods = problems.of(lambda: load_methods(root))
    priors = problems.of(lambda: load_priors(root))
    judges = problems.of(lambda: load_judges(root))
    plain = {"reason": ""}
    return Library(
        problems.checked(methods),
        {name: prior.model_copy(update=plain) for name, prior in problems.checked(priors).items()},
        {name: judge.model_copy(update=plain) for name, judge in problems.checked(judges).items()},
    )


def resolve(experiment: Experiment, method: str, library: Library, prior: str | None = None) -> RunConfig:
    """Resolve an experiment for one method.

    Args:
        experiment: whose settings to use.
        method: its name.
        library: what the experiment may name.
        prior: that the method is crossed with; by default the run is the method's only one, with the experiment's first
            prior.

    Raises:
        InputError: the method or the prior is unknown, or the overrides give invalid settings.
    """
    problems = []
    if method not in library.methods:
        problems.append(unknown("method", method, library.methods, f"{experiment.experiment}: methods"))
    prior_name = prior or experiment.prior_names[0]
    problems += unknown_priors(experiment, [prior_name], library)
    if problems:
        raise InputError(problems)
    parse(MethodSettings, experiment.overrides, f"{experiment.experiment}: overrides")
    stated = merged(experiment.overrides, library.methods[method].overrides)
    settings = parse(MethodSettings, stated, f"methods.yaml: {method}: overrides")
    changed = merged(library.priors[prior_name].model_dump(), library.methods[method].prior)
    return RunConfig(
        method_name=run_name(method, prior or ""),
        method=settings,
        prior_name=prior_name,
        prior=parse(PriorSettings, changed, f"methods.yaml: {method}: prior"),
        head=library.methods[method].head or experiment.head,
        renderer=library.methods[method].renderer or experiment.renderer,
        batch_size=experiment.batch_size,
        threads=experiment.cpus_per_worker,
        **_clip_guide(experiment, method, settings, library),
    )


def unknown_priors(experiment: Experiment, names: Iterable[str], library: Library) -> list[str]:
    """Return one line for each of these names that stands for no prior."""
    field = "prior" if experiment.priors is None else "priors"
    where = f"{experiment.experiment}: {field}"
    return [unknown("prior", name, library.priors, where) for name in names if name not in library.priors]


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with `changes`, which reach into nested mappings; what they do not name stays.

    Example:
        >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
        {'a': {'b': 3, 'c': 2}}
    """
    result = dict(values)
    for key, change in changes.items():
        both = isinstance(change, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], change) if both else change
    return result


def _files_of(prior: PriorSettings, root: Path) -> dict[str, Any]:
    """Return the fields of a prior that name files, as `located` has them."""
    loras = tuple(lora.model_copy(update={"path": located(lora.path, root)}) for lora in prior.lora)
    others: dict[str, Any] = {name: located(path, root) for name in ("config", "vae") if (path := getattr(prior, name))}
    if prior.reader:
        others["reader"] = prior.reader.model_copy(update={"path": located(prior.reader.path, root)})
    return {"path": located(prior.path, root), "lora": loras, **others}


def _own_latent_size(prior: PriorSettings, root: Path) -> dict[str, Any]:
    """Return the latent size of a stanza that states none: of its UNet's configuration, else of its kind."""
    if "latent_size" in prior.model_fields_set:
        return {}
    file = root / (prior.config or prior.path) / "unet" / "config.json"
    try:
        size = json.loads(file.read_text(encoding="utf-8")).get("sample_size")
    except (OSError, ValueError, AttributeError):
        size = None
    if isinstance(size, int) and size >= 8:
        return {"latent_size": size}
    return {"latent_size": LATENT_SIZES[prior.kind]} if prior.kind in LATENT_SIZES else {}


def _located(judge: JudgeSettings, root: Path) -> dict[str, Any]:
    """Return the fields of a judge that name files, as `located` has them."""
    pretrained = judge.pretrained and located(judge.pretrained, root)
    return {"model": located(judge.model, root), "pretrained": pretrained}


def _clip_guide(experiment: Experiment, method: str, settings: MethodSettings, library: Library) -> dict[str, Any]:
    """Return name and settings of the CLIP that guides a method: that of its stanza, else the experiment's.

    Raises:
        InputError: the CLIP is unknown, or the stanza names one and no CLIP guides the method.
    """
    own = library.methods[method].clip_guide
    where = f"methods.yaml: {method}: clip_guide" if own else f"{experiment.experiment}: clip_guide"
    if settings.guide != "clip" or not settings.optimises:
        if own:
            raise InputError([f"{where}: got '{own}', but no CLIP guides the method; expected overrides: guide: clip"])
        return {}
    name = own or experiment.clip_guide
    if name not in library.judges:
        raise InputError([unknown("judge", name, library.judges, where)])
    return {"clip_guide": name, "clip": library.judges[name]}


def parse(model: type[Model], values: Any, where: str) -> Model:
    """Validate `values` as a model.

    Args:
        model: the settings to make.
        values: what a file or the command line states.
        where: the place, for messages.

    Raises:
        InputError: one problem per key that is unknown (with the nearest known one) or out of bounds.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = error.errors()
        deeper = {fault["loc"][:-1] for fault in faults}  # a list is also too short where all that is in it is wrong
        told = [fault for fault in faults if fault["type"] != "too_short" or fault["loc"] not in deeper]
        raise InputError([_problem(model, fault, where) for fault in told]) from error


def _stated(name: str, root: Path, changes: Mapping[str, Any]) -> tuple[dict[str, Any], Path]:
    """Return an experiment's fields as they are written, and its file; raise as `load_experiment` does."""
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
    else:
        found = [folder / f"{name}.yaml" for folder in config_folders(root)]
        path = next((path for path in found if path.is_file()), None)
        if path is None or name in _TABLES:
            raise InputError([unknown("experiment", name, experiment_names(root), "experiment")])
    stated, changes = _with_places(read_yaml(path), path.parent), _with_places(changes, Path())
    changed = [field for field in _PRIOR_FIELDS if field in changes]
    if changed:  # the command line's way to name priors takes the place of the file's
        stated = {field: value for field, value in stated.items() if field not in _PRIOR_FIELDS}
    return {"experiment": path.stem, **_asked_for(merged(stated, changes), changes)}, path


def _asked_for(stated: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return an experiment's fields whose groups under `reduced` name no method or seed that the changes leave out."""
    groups = stated.get("reduced")
    groups = [groups] if isinstance(groups, dict) else groups
    if "reduced" in changes or not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        return stated
    parts = [dict(group) for group in groups]
    for part in parts:
        for field in {"methods", "seeds"} & set(changes) & set(part):
            own, asked = (_spelled(field, values) for values in (part[field], stated[field]))
            if isinstance(own, list | tuple) and isinstance(asked, list | tuple):
                part[field] = [value for value in own if value in asked]
        if part.get("seeds") == []:  # then its methods have the seeds that are asked for
            del part["seeds"]
    return {**stated, "reduced": [part for part in parts if part.get("methods") != [] and len(part) > 1]}


def _with_places(stated: Any, base: Path) -> Any:
    """Return an experiment or a method whose folders of meshes or frames start at `base`, if `overrides` states any."""
    for kind in ("meshes", "frames"):
        with suppress(KeyError, TypeError):
            folder = placed(stated["overrides"][kind]["folder"], base)
            stated = merged(stated, {"overrides": {kind: {"folder": folder}}})
    return stated


def _spelled(field: str, values: Any) -> Any:
    """Return seeds with their ranges spelled out, where nothing is wrong with them; other values as they are."""
    try:
        return as_seeds(values) if field == "seeds" else values
    except ValueError:
        return values


def _load_table(name: str, model: type[Model], root: Path) -> dict[str, Model]:
    """Load the entries of ``NAME.yaml`` in each configuration folder; the working directory's win."""
    table: dict[str, Model] = {}
    problems = Problems()
    files = [folder / f"{name}.yaml" for folder in reversed(config_folders(root))]
    for path in [file for file in files if file.is_file() or file.parent == shipped("workflow/config", root)]:
        for key, values in (problems.of(lambda p=path: read_yaml(p)) or {}).items():
            own = _with_places(values, path.parent) if name == "methods" else values
            entry = problems.of(lambda k=key, v=own, p=path: parse(model, v, f"{shown(p)}: {k}"))
            table |= {key: entry} if entry else {}
    wrong = [key for key in table if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", key)]
    problems.lines += [f"{name}.yaml: {key!r}: expected a name of letters, digits, '_', '-' and '.'" for key in wrong]
    problems.check()
    return table


def _problem(model: type[Frozen], fault: Mapping[str, Any], where: str) -> str:
    """Return one line for one fault that pydantic found."""
    names = [str(part) for part in fault["loc"]]
    if fault["type"] == "extra_forbidden":
        owner = _nested(model, names[:-1])
        return unknown("key", names[-1], owner.model_fields, ": ".join([where, *names[:-1]]))
    text = fault["msg"].removeprefix("Value error, ")
    got = "" if fault["type"] in ("missing", "value_error") else f"; got {str(fault['input'])[:60]!r}"
    return f"{': '.join([where, '.'.join(names)]) if names else where}: {text}{got}"


def _nested(model: type[Frozen], names: list[str]) -> type[Frozen]:
    """Return the model of a nested field."""
    for name in names:
        field = model.model_fields.get(name)
        if field is not None and isinstance(field.annotation, type) and issubclass(field.annotation, Frozen):
            model = field.annotation
    return model
