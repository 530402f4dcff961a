"""Read the fields of an experiment that a command line states: ``KEY=VALUE``, as Snakemake's ``--config`` has them.

Snakemake reads values before its workflow sees them: ``lists=2024_01`` becomes the number 202401. So the workflow reads
the texts itself. Names stay as they were typed; other values are YAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from avatargen.config.errors import Problems, unknown
from avatargen.config.experiment import NAME, Experiment
from avatargen.config.places import DEFAULT_EXPERIMENT
from avatargen.config.yaml_text import read_value, read_yaml

LISTS = ("lists", "methods", "priors", "judges", "seeds", "diagnose")
"""Fields with several values, separated by commas."""
NAMES = ("experiment", "name", "head", "renderer", "prior", "clip_guide", "question")
"""Fields with one name."""
HINT = "expected KEY=VALUE; the experiment's name comes before --config"


def stated_fields(texts: Iterable[str], files: Iterable[Path] = (), once: bool = False) -> dict[str, Any]:
    """Return the fields that texts state, over those of configuration files.

    Args:
        texts: ``KEY=VALUE`` each.
        files: YAML files, as Snakemake's ``--configfile`` names them; later ones win.
        once: refuse a key that is stated twice; otherwise the last one counts, as in Snakemake.

    Raises:
        InputError: a text that is no KEY=VALUE, a key that is stated twice, or what is no YAML; all problems.

    Example:
        >>> stated_fields(["lists=2024_01,no", "seeds=0-3", "limit=2"])
        {'lists': ['2024_01', 'no'], 'seeds': ['0-3'], 'limit': 2}
    """
    problems, fields = Problems(), {}
    for file in files:
        fields |= problems.of(lambda file=file: read_yaml(file)) or {}
    stated: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            problems.add([f"--config: got {text[:60]!r}; {HINT}"])
        elif once and key in stated:
            problems.add([f"--config: got {key} twice; expected it once"])
        else:
            stated[key] = problems.of(lambda key=key, value=value: _value(key, value))
    problems.check()
    return fields | stated


def split_fields(fields: Mapping[str, Any]) -> tuple[str, dict[str, Any], list[str]]:
    """Return the experiment that fields name, the fields of it that they change, and what is wrong with either.

    Args:
        fields: ``experiment`` names the experiment or its file, and ``name`` what its results are called.

    Returns:
        The experiment's name or file, its fields by name, and one line for each unknown key or bad name.
    """
    known = Experiment.model_fields
    bad = [unknown("key", key, [*known, "name"], "--config") for key in fields if key not in known and key != "name"]
    changes = {key: _split(key, value) for key, value in fields.items() if key in known}
    experiment = str(changes.pop("experiment", DEFAULT_EXPERIMENT))
    if "name" in fields:
        changes["experiment"] = name = str(fields["name"])
        if not re.fullmatch(NAME, name):
            del changes["experiment"]
            bad.append(f"--config: name: got {name!r}; expected at most 41 of a-z 0-9 _ -, a letter or digit first")
    return experiment, changes, bad


def _value(key: str, text: str) -> Any:
    """Return the value of a field."""
    if key in NAMES:
        return text
    if key in LISTS and not text.lstrip().startswith("["):
        return _split(key, text)
    return read_value(text, f"--config: {key}")


def _split(key: str, value: Any) -> Any:
    """Split a text of several values at its commas."""
    return [part.strip() for part in value.split(",")] if key in LISTS and isinstance(value, str) else value
