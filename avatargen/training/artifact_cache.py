"""Work that is kept between runs, with what it was made from beside it: changed code or settings never reuse it unseen.

What something is made from are its facts: JSON-ready values by name, hashes of code among them.
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
"""Constants that say how long a training lasts; whatever else they hold, its facts give by value."""


def kept(
    path: Path, facts: Facts, make: Callable[[], T], read: Callable[[Path], T], write: Callable[[Path, T], None]
) -> T:
    """What a file holds, made and written at the first call, and again once it was made from something else.

    Its facts go beside it, into ``{name}.json``. A file without them is taken as it is. Says what it does.
    """
    beside = path.with_name(f"{path.name}.json")
    if path.exists():
        if not beside.exists():
            print(f"{path}: does not say what it was made from; taken as it is", flush=True)
            return read(path)
        changed = differences(json.loads(beside.read_text(encoding="utf-8")), facts)
        if not changed:
            return read(path)
        print(f"{path}: made again, since it was made from something else: {'; '.join(changed)}", flush=True)
    made = make()
    with replacing(path) as partial:
        write(partial, made)
    write_text(beside, json.dumps(facts, indent=1))  # last: an interruption before means at worst to make it again
    return made


def differences(stored: Facts, asked: Facts) -> list[str]:
    """What two sets of facts do not have in common, one text each: ``recipe.seed was 1, is 2``."""
    old, new = _flat(stored), _flat(asked)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [f"{name} was {old.get(name, 'not there')}, is {new.get(name, 'not there')}" for name in names]


def _flat(facts: Facts, above: str = "") -> Facts:
    """Facts by dotted names, as JSON knows them."""
    found: Facts = {}
    for name, value in json.loads(json.dumps(facts)).items():
        found |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": value}
    return found


def code(*modules: str) -> str:
    """Return a hash of the parsed source of modules and of what they import, less their SCHEDULE.

    Args:
        modules: names in `avatargen.training`.
    """
    return code_hash([f"avatargen.training.{module}" for module in modules], without=SCHEDULE)


def weights(module: nn.Module) -> str:
    """A hash of a module's weights."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
