"""Cache artifacts on disk with what they were made from, so that changed code or settings never reuse a stale one.

An artifact's facts are what determines it: JSON-ready values by name, hashes of code and weights among them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from avatargen.io.atomic import replacing, write_text
from avatargen.io.code_hash import code_hash

Facts = dict[str, Any]
T = TypeVar("T")
SCHEDULE = ("BUDGET", "JUDGES")
"""Constants that set how long a training lasts; what else they hold is in the facts by value."""


def cached_artifact(
    path: Path, facts: Facts, make: Callable[[], T], read: Callable[[Path], T], write: Callable[[Path, T], None]
) -> T:
    """Return what a file holds; make and write it first where it is missing or was made from other facts.

    The facts are written beside it, as ``{name}.json``. A file without them is used as it is, with a message.

    Args:
        path: the file.
        facts: what the artifact is made from.
        make: makes it.
        read: reads the file.
        write: writes the artifact to a path of the same suffix, which then replaces the file.
    """
    beside = path.with_name(f"{path.name}.json")
    if path.exists():
        if not beside.exists():
            print(
                f"{path}: used as it is, since {beside.name}, which says what it was made from, is missing", flush=True
            )
            return read(path)
        changed = differences(json.loads(beside.read_text(encoding="utf-8")), facts)
        if not changed:
            return read(path)
        print(f"{path}: made again, since it was made from something else: {'; '.join(changed)}", flush=True)
    made = make()
    with replacing(path) as partial:
        write(partial, made)
    write_text(beside, json.dumps(facts, indent=1))  # last: after an interruption, old facts have it made again
    return made


def differences(stored: Facts, asked: Facts) -> list[str]:
    """Return what differs between two sets of facts, one text each.

    Example:
        >>> differences({"recipe": {"seed": 1, "heads": 8}}, {"recipe": {"seed": 2, "heads": 8}, "vae": "3f"})
        ['recipe.seed was 1, is 2', 'vae was missing, is 3f']
    """
    old, new = _flat(stored), _flat(asked)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [f"{name} was {old.get(name, 'missing')}, is {new.get(name, 'missing')}" for name in names]


def _flat(facts: Facts, above: str = "") -> Facts:
    """Return facts by dotted names, with the types that JSON gives them."""
    found: Facts = {}
    for name, value in json.loads(json.dumps(facts)).items():
        found |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": value}
    return found


def code(*modules: str) -> str:
    """Return a hash of the parsed source of modules and of all that they import, without their SCHEDULE.

    Args:
        modules: names in `avatargen`, such as ``training.dataset``.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    return code_hash([f"avatargen.{module}" for module in modules], without=SCHEDULE)


def weights_hash(module: nn.Module) -> str:
    """Return a hash of a module's weights, 12 hexadecimal digits.

    Example:
        >>> weights_hash(nn.BatchNorm1d(2)) == weights_hash(nn.BatchNorm1d(2)) != weights_hash(nn.BatchNorm1d(3))
        True
    """
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
