"""Attributes of heads in the closed world: their values, random draws, and the combinations held out of training.

Every attribute has a template value, which captions do not mention. So the ground-truth head of a prompt is known: each
attribute that the prompt does not name has its template value. `phrases` defines the wording of the others.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

HAIR_COLOURS = ("brown", "black", "blond", "ginger", "white", "pink", "blue", "green")
VALUES: dict[str, tuple[str, ...]] = {
    "age": ("baby", "child", "adult", "old"),
    "sex": ("man", "woman"),
    "weight": ("average", "fat", "thin"),
    "skin": ("tan", "pale", "brown", "dark", "green", "blue", "red", "purple", "golden", "grey"),
    "material": ("none", "stone", "gold", "clay"),
    "hair": ("short", "bald", "long", "afro", "mohawk", "bun"),
    "hair_colour": HAIR_COLOURS,
    "beard": ("none", "full", "long", "moustache"),
    "beard_colour": HAIR_COLOURS,
    "expression": ("neutral", "smiling", "angry", "open mouth", "sleeping"),
    "feature": ("none", "big ears", "pointed ears", "long nose", "wide jaw", "horns"),
    "eyes": ("brown", "blue", "green", "red"),
    "paint": ("none", "clown make-up", "war paint", "red lipstick"),
}
"""Values of each attribute; except for age and sex, the first is the template's."""
SHAPE = ("age", "sex", "weight", "hair", "beard", "expression", "feature")
"""Attributes that a textureless render shows."""
HELD_OUT = 7
"""One in this many combinations of shape attributes is held out of training, and one in this many of colours."""


@dataclass(frozen=True)
class Attributes:
    """A head of the closed world; each attribute has one of its `VALUES`, by default the template's."""

    age: str = "adult"
    sex: str = "man"
    weight: str = "average"
    skin: str = "tan"
    material: str = "none"
    hair: str = "short"
    hair_colour: str = "brown"
    beard: str = "none"
    beard_colour: str = "brown"
    expression: str = "neutral"
    feature: str = "none"
    eyes: str = "brown"
    paint: str = "none"

    def shape_only(self) -> Attributes:
        """Return the head with all attributes at the template's value that a textureless render does not show.

        Example:
            >>> Attributes(hair="bun", skin="green").shape_only() == Attributes(hair="bun")
            True
        """
        return Attributes(**{name: getattr(self, name) for name in SHAPE})

    def plain(self) -> Attributes:
        """Return the head with invisible attributes at the template's value: colours of absent hair, or of a statue.

        Example:
            >>> Attributes(hair="bald", hair_colour="pink").plain() == Attributes(hair="bald")
            True
        """
        hidden = {"skin", "hair_colour", "beard_colour", "eyes", "paint"} if self.material != "none" else set()
        hidden |= {"hair_colour"} if self.hair == "bald" else set()
        hidden |= {"beard_colour"} if self.beard == "none" else set()
        hidden |= {"eyes"} if self.expression == "sleeping" else set()
        return replace(self, **{name: getattr(Attributes, name) for name in hidden})


def sample(rng: np.random.Generator) -> Attributes:
    """Draw a random head; with some probability, each optional attribute keeps the template's value.

    Example:
        >>> sample(np.random.default_rng(0)) == sample(np.random.default_rng(0))
        True
    """

    def choose(values: tuple[str, ...]) -> str:
        return values[rng.integers(len(values))]  # `rng.choice` draws the same, ten times slower

    def draw(name: str, keep: float = 0.0) -> str:
        return getattr(Attributes, name) if rng.random() < keep else choose(VALUES[name])

    age, sex, hair_colour = draw("age"), draw("sex"), draw("hair_colour", 0.1)
    bearded = sex == "man" and age in ("adult", "old") and rng.random() < 0.5
    beard = choose(VALUES["beard"][1:]) if bearded else "none"
    # the order of the draws is part of the prompt lists and training sets
    return Attributes(
        age=age,
        sex=sex,
        weight=draw("weight", 0.4),
        skin=draw("skin", 0.1),
        material=draw("material", 0.9),
        hair=draw("hair", 0.1),
        hair_colour=hair_colour,
        beard=beard,
        beard_colour=hair_colour if rng.random() < 0.6 else draw("beard_colour"),
        expression=draw("expression", 0.3),
        feature=draw("feature", 0.4),
        eyes=draw("eyes", 0.5),
        paint=draw("paint", 0.6),
    ).plain()


def held_out(head: Attributes) -> tuple[bool, bool]:
    """Return whether a head's combination of shape attributes is held out of training, and that of its colours.

    Training sees heads with neither held out; the benchmark's prompts and the test set have both held out. A statue has
    one colour, so its shape decides for both.

    Args:
        head: with invisible attributes at the template's value, see `Attributes.plain`.

    Example:
        >>> held_out(Attributes())
        (False, False)
    """
    values = vars(head)
    shape = [values[name] for name in SHAPE]
    colour = [values[name] for name in VALUES if name not in SHAPE]
    new_shape, new_colour = (zlib.crc32("|".join(part).encode()) % HELD_OUT == 0 for part in (shape, colour))
    return new_shape, new_shape if head.material != "none" else new_colour


def may_be_seen(head: Attributes, colours: bool = True) -> bool:
    """Return True if training may see a head, because nothing of it is held out.

    Args:
        head: any head.
        colours: False if only the head's shape is shown.

    Example:
        >>> may_be_seen(Attributes())
        True
    """
    shape, whole = held_out(head.plain())
    return not (shape or (colours and whole))


def sample_training(rng: np.random.Generator) -> Attributes:
    """Draw a random head that training may see."""
    while not may_be_seen(head := sample(rng)):
        pass
    return head


def sample_test(rng: np.random.Generator) -> Attributes:
    """Draw a random head whose shape and colours are both held out of training."""
    while not all(held_out(head := sample(rng))):
        pass
    return head
