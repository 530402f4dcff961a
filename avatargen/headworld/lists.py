"""Write the closed world's prompt lists: held-out heads that together show every value of every attribute.

``python -m avatargen.headworld lists FOLDER`` writes ``embedded``, ``embedded-study``, ``extreme`` and ``study`` with
their pools, ``embedded`` in other words (`paraphrases`) and with unknown words (`out_of_domain`), and the pools of
``gate``, a list written by hand. The first three were committed before training, and later decisions read their
figures; only the experiment ``study`` reads the list ``study``. Scores on changed lists are not comparable with earlier
ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from avatargen.headworld.attributes import VALUES, Attributes, sample_test
from avatargen.headworld.out_of_domain import write_out_of_domain
from avatargen.headworld.paraphrases import write_paraphrases
from avatargen.headworld.phrases import NOUNS, caption
from avatargen.headworld.pools import write_pools

SEED = 2026
CANDIDATES = 3000
"""Number of random heads that a list is chosen from."""
QUICK, EARLIER, EXTREME, STUDY = 12, 36, 12, 48
"""Number of prompts in ``embedded``, ``embedded-study``, ``extreme`` and ``study``."""
OUT_OF_DOMAIN = 8
"""Heads of the list `out_of_domain`, each in seven variants."""
GATE = "gate.tsv"
FAR = {
    "weight": ("fat", "thin"),
    "hair": ("long", "afro", "mohawk", "bun"),
    "beard": ("long",),
    "age": ("baby",),
    "feature": ("big ears", "pointed ears", "long nose", "wide jaw", "horns"),
    "expression": ("open mouth",),
}
"""Values whose shape is far from the template's."""


def named(head: Attributes) -> dict[str, str]:
    """Return the attributes that a head's caption names: age and sex, and those not at the template's value.

    Example:
        >>> named(Attributes(skin="green"))
        {'age': 'adult', 'sex': 'man', 'skin': 'green'}
    """
    return {k: v for k, v in vars(head).items() if k in ("age", "sex") or v != getattr(Attributes, k)}


def is_short(head: Attributes) -> bool:
    """Return True if a caption has a natural length: three to six attributes besides age and sex.

    Example:
        >>> is_short(Attributes(skin="green", hair="bun", feature="horns"))
        True
    """
    return 3 <= len(named(head)) - 2 <= 6


def is_extreme(head: Attributes) -> bool:
    """Return True if at least three attributes put a head's shape far from the template.

    Example:
        >>> is_extreme(Attributes(weight="fat", hair="afro", feature="horns"))
        True
    """
    return sum(getattr(head, name) in values for name, values in FAR.items()) >= 3


def choose(count: int, fits: Callable[[Attributes], bool], seed: int) -> list[Attributes]:
    """Choose held-out heads, each time the one whose attributes the heads before it name least.

    Args:
        count: number of heads.
        fits: returns True for heads that may be chosen.
        seed: of the random candidates.
    """
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
    """Return the attributes that a head names, and its age and sex together."""
    return [*named(head).items(), ("noun", NOUNS[head.age, head.sex][0])]


def write_list(path: Path, heads: list[Attributes]) -> None:
    """Write a prompt list and its pools.

    Args:
        path: of the list, ``NAME.tsv``; pools go beside it, see `write_pools`.
        heads: one for each prompt.
    """
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
    """Return a short name such as ``green-mohawk-old-man``."""
    outside = head.material if head.material != "none" else head.skin if head.skin != "tan" else head.hair_colour
    middle = head.feature if head.feature != "none" else head.hair if head.hair != "short" else head.expression
    words = f"{outside} {middle} {NOUNS[head.age, head.sex][0]}"
    return words.replace(" ", "-")


def write_lists(folder: Path) -> None:
    """Write the lists and their pools; ``embedded`` is the beginning of ``embedded-study``.

    Args:
        folder: where they go; ``gate.tsv`` there gets its pools.

    Raises:
        InputError: ``gate.tsv`` has prompts that the closed world does not know.
        ValueError: the chosen heads do not show every value of every attribute.
    """
    earlier = choose(EARLIER, is_short, SEED)
    extreme = choose(EXTREME, is_extreme, SEED + 1)
    study = choose(STUDY, lambda head: is_short(head) and head not in {*earlier, *extreme}, SEED + 2)
    _check_values("embedded-study", earlier)
    _check_values("study", study)
    lists = {"embedded": earlier[:QUICK], "embedded-study": earlier, "extreme": extreme, "study": study}
    for name, heads in lists.items():
        write_list(folder / f"{name}.tsv", heads)
    write_paraphrases(folder / "embedded.tsv")
    write_out_of_domain(folder / "embedded.tsv", OUT_OF_DOMAIN)
    if (folder / GATE).is_file():
        write_pools(folder / GATE)


def _check_values(name: str, heads: list[Attributes]) -> None:
    """Check that a list's heads show every value of every attribute.

    Raises:
        ValueError: some are absent.
    """
    shown = {item for head in heads for item in vars(head).items()}
    if absent := {(key, value) for key, values in VALUES.items() for value in values} - shown:
        raise ValueError(f"{name}: got no head with {sorted(absent)}; expected every value; change the seed")
