"""The embedded world's own prompt lists: held-out heads that between them show every attribute's values.

``python -m avatargen.headworld lists FOLDER`` writes ``embedded``, ``embedded-study`` and ``extreme`` with their pools.
They were committed before training; to change them is another benchmark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from avatargen.headworld.attributes import VALUES, Attributes, sample_test
from avatargen.headworld.phrases import NOUNS, caption
from avatargen.headworld.pools import write_pools

SEED = 2026
CANDIDATES = 3000
QUICK, STUDY, EXTREME = 12, 36, 12
FAR = {
    "weight": ("fat", "thin"), "hair": ("long", "afro", "mohawk", "bun"), "beard": ("long",), "age": ("baby",),
    "feature": ("big ears", "pointed ears", "long nose", "wide jaw", "horns"), "expression": ("open mouth",),
}  # fmt: skip
"""Values whose shape is far from the template's."""


def named(head: Attributes) -> dict[str, str]:
    """What a caption of a head says: its values that are not the template's, age and sex always."""
    values = asdict(head)
    return {k: v for k, v in values.items() if k in ("age", "sex") or v != getattr(Attributes, k)}


def is_short(head: Attributes) -> bool:
    """Whether a person would say as much in one breath: three to six things beside age and sex."""
    return 3 <= len(named(head)) - 2 <= 6


def is_extreme(head: Attributes) -> bool:
    """Whether at least three of a head's attributes put its shape far from the template."""
    return sum(getattr(head, name) in values for name, values in FAR.items()) >= 3


def choose(count: int, fits: Callable[[Attributes], bool], seed: int) -> list[Attributes]:
    """Held-out heads, one after the other the one that names what has been named least."""
    rng = np.random.default_rng(seed)
    pool = [head for head in dict.fromkeys(sample_test(rng) for _ in range(CANDIDATES)) if fits(head)]
    said: Counter[tuple[str, str]] = Counter()
    chosen = []
    for _ in range(count):
        best = max(pool, key=lambda head: np.mean([1 / (1 + said[item]) ** 2 for item in _items(head)]))
        pool.remove(best)
        said.update(_items(best))
        chosen.append(best)
    return chosen


def _items(head: Attributes) -> list[tuple[str, str]]:
    """What a head names, and its age and sex together."""
    return [*named(head).items(), ("noun", NOUNS[head.age, head.sex][0])]


def write_list(path: Path, heads: list[Attributes]) -> None:
    """Write a list and its pools."""
    lines, used = ["id\tprompt\ttags\tgeometry"], Counter()
    for head in heads:
        said = named(head)
        name = _name(head)
        used[name] += 1
        id_ = name if used[name] == 1 else f"{name}-{used[name]}"
        tags = ";".join(f"{key}={value}" for key, value in said.items())
        lines.append("\t".join([id_, caption(head), tags, caption(head, colours=False)]))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    write_pools(path)


def _name(head: Attributes) -> str:
    """A short name such as ``green-mohawk-old-man``."""
    outside = head.material if head.material != "none" else head.skin if head.skin != "tan" else head.hair_colour
    middle = head.feature if head.feature != "none" else head.hair if head.hair != "short" else head.expression
    words = f"{outside} {middle} {NOUNS[head.age, head.sex][0]}"
    return words.replace(" ", "-")


def write_lists(folder: Path) -> None:
    """Write the three lists; the quick one is the beginning of the study's."""
    study = choose(STUDY, is_short, SEED)
    assert all(any(getattr(head, name) == value for head in study) for name, vs in VALUES.items() for value in vs)
    write_list(folder / "embedded.tsv", study[:QUICK])
    write_list(folder / "embedded-study.tsv", study)
    write_list(folder / "extreme.tsv", choose(EXTREME, is_extreme, SEED + 1))
