"""What a head of the closed world can be, how heads are drawn, and which are held out of all training.

Every attribute has a template value, which a caption leaves unsaid; so the true head of a prompt is known: what the
prompt does not name sits at its template value. `phrases` says how captions name the rest.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass, replace

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
"""The values of each attribute; the first of each is the template's, age and sex excepted."""
SHAPE = ("age", "sex", "weight", "hair", "beard", "expression", "feature")
"""What a textureless render shows."""
HELD_OUT = 7
"""One combination of shape in so many, and one of colours, is held out of training."""


@dataclass(frozen=True)
class Attributes:
    """One head of the closed world, each attribute one of VALUES; the defaults are the template's."""

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
        """The same head with what a textureless render cannot show at its template value."""
        return Attributes(**{name: getattr(self, name) for name in SHAPE})

    def plain(self) -> Attributes:
        """The same head without what cannot be seen: the colours of hair that is not there, or of a statue."""
        hidden = {"skin", "hair_colour", "beard_colour", "eyes", "paint"} if self.material != "none" else set()
        hidden |= {"hair_colour"} if self.hair == "bald" else set()
        hidden |= {"beard_colour"} if self.beard == "none" else set()
        hidden |= {"eyes"} if self.expression == "sleeping" else set()
        return replace(self, **{name: getattr(Attributes, name) for name in hidden})


def sample(rng: np.random.Generator) -> Attributes:
    """A random head; a share of each optional attribute stays at the template's value."""

    def draw(name: str, keep: float = 0.0) -> str:
        return getattr(Attributes, name) if rng.random() < keep else str(rng.choice(VALUES[name]))

    age, sex, hair_colour = draw("age"), draw("sex"), draw("hair_colour", 0.1)
    bearded = sex == "man" and age in ("adult", "old") and rng.random() < 0.5
    beard = str(rng.choice(VALUES["beard"][1:])) if bearded else "none"
    return Attributes(
        age=age, sex=sex, weight=draw("weight", 0.4), skin=draw("skin", 0.1), material=draw("material", 0.9),
        hair=draw("hair", 0.1), hair_colour=hair_colour, beard=beard,
        beard_colour=hair_colour if rng.random() < 0.6 else draw("beard_colour"), expression=draw("expression", 0.3),
        feature=draw("feature", 0.4), eyes=draw("eyes", 0.5), paint=draw("paint", 0.6),
    ).plain()  # fmt: skip


def held_out(head: Attributes) -> tuple[bool, bool]:
    """Whether the combination of a head's shape attributes, and that of its colours, is held out of training.

    Training sees heads for which neither is; the benchmark's prompts and the test set are those for which both are.
    A statue has one colour, so its shape decides for both.
    """
    values = asdict(head)
    shape = [values[name] for name in SHAPE]
    colour = [values[name] for name in VALUES if name not in SHAPE]
    new_shape, new_colour = (zlib.crc32("|".join(part).encode()) % HELD_OUT == 0 for part in (shape, colour))
    return new_shape, new_shape if head.material != "none" else new_colour


def may_be_seen(head: Attributes, colours: bool = True) -> bool:
    """Whether training may see a head, or its shape where `colours` are not named: nothing of it is held out."""
    shape, whole = held_out(head.plain())
    return not (shape or (colours and whole))


def sample_training(rng: np.random.Generator) -> Attributes:
    """A random head that training may see."""
    while not may_be_seen(head := sample(rng)):
        pass
    return head


def sample_test(rng: np.random.Generator) -> Attributes:
    """A random head of combinations that training never sees."""
    while not all(held_out(head := sample(rng))):
        pass
    return head
