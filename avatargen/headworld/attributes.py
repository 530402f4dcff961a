"""What a head of the closed world can be, how captions say it, and how a caption is understood.

Every attribute has a template value, which a caption leaves unsaid; so the true head of a prompt is known:
what the prompt does not name sits at its template value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

import numpy as np

AGES = ("baby", "child", "young", "adult", "old")
SEXES = ("man", "woman")
WEIGHTS = ("average", "fat", "thin")
SKINS = ("tan", "pale", "brown", "dark", "green", "blue", "red", "purple", "golden", "grey")
HAIR_STYLES = ("short", "bald", "afro", "mohawk")
HAIR_COLOURS = ("brown", "black", "blond", "ginger", "white", "pink", "blue", "green")
BEARDS = ("none", "full")
EXPRESSIONS = ("neutral", "smiling", "angry", "open mouth")
FEATURES = ("none", "big ears", "long nose", "wide jaw")

VALUES: dict[str, tuple[str, ...]] = {
    "age": AGES,
    "sex": SEXES,
    "weight": WEIGHTS,
    "skin": SKINS,
    "hair": HAIR_STYLES,
    "hair_colour": HAIR_COLOURS,
    "beard": BEARDS,
    "beard_colour": HAIR_COLOURS,
    "expression": EXPRESSIONS,
    "feature": FEATURES,
}

NOUNS = {
    ("baby", "man"): "baby boy",
    ("baby", "woman"): "baby girl",
    ("child", "man"): "boy",
    ("child", "woman"): "girl",
    ("young", "man"): "young man",
    ("young", "woman"): "young woman",
    ("adult", "man"): "man",
    ("adult", "woman"): "woman",
    ("old", "man"): "old man",
    ("old", "woman"): "old woman",
}
_SYNONYMS = {
    "heavy": "fat", "gaunt": "thin", "elderly": "old", "grandmother": "old woman", "grandfather": "old man",
    "lady": "woman", "blonde": "blond", "gray": "grey", "red hair": "ginger hair", "black skin": "dark skin",
    "shouting": "open mouth", "surprised": "open mouth", "furious": "angry", "happy": "smiling",
}  # fmt: skip
_FILLER = frozenset(
    {"a", "an", "the", "with", "and", "of", "her", "his", "their", "skin", "hair", "very", "in", "head"}
)


@dataclass(frozen=True)
class Attributes:
    """One head of the closed world; the defaults are the template's.

    Attributes:
        age, sex, weight, skin, hair, hair_colour, beard, beard_colour, expression, feature: one of VALUES.
    """

    age: str = "adult"
    sex: str = "man"
    weight: str = "average"
    skin: str = "tan"
    hair: str = "short"
    hair_colour: str = "brown"
    beard: str = "none"
    beard_colour: str = "brown"
    expression: str = "neutral"
    feature: str = "none"

    def shape_only(self) -> Attributes:
        """The same head with what a textureless render cannot show at its template value."""
        plain = Attributes()
        kept = {
            name: getattr(self, name) for name in ("age", "sex", "weight", "hair", "beard", "expression", "feature")
        }
        return Attributes(**{**{f.name: getattr(plain, f.name) for f in fields(plain)}, **kept})


def sample(rng: np.random.Generator, keep: float = 0.4) -> Attributes:
    """A random head; optional attributes stay at the template's value with probability `keep`."""
    template = Attributes()

    def draw(name: str, keep: float = keep) -> str:
        if rng.random() < keep:
            return getattr(template, name)
        return str(rng.choice(VALUES[name]))

    age, sex = draw("age", 0.0), draw("sex", 0.0)
    hair = draw("hair")
    hair_colour = draw("hair_colour", 0.1) if hair != "bald" else template.hair_colour
    bearded = sex == "man" and age in ("young", "adult", "old") and rng.random() < 0.4
    beard_colour = hair_colour if hair != "bald" and rng.random() < 0.6 else draw("beard_colour", 0.1)
    return Attributes(
        age=age, sex=sex, weight=draw("weight"), skin=draw("skin", 0.1), hair=hair, hair_colour=hair_colour,
        beard="full" if bearded else "none", beard_colour=beard_colour if bearded else template.beard_colour,
        expression=draw("expression"), feature=draw("feature", 0.5),
    )  # fmt: skip


def caption(head: Attributes, colours: bool = True) -> str:
    """The caption of a head; without `colours`, only what a textureless render shows.

    Template values are not mentioned, sex and age excepted (which the noun says).
    """
    words = [head.expression if head.expression in ("smiling", "angry") else ""]
    words += [head.weight if head.weight != "average" else "", NOUNS[head.age, head.sex]]
    subject = " ".join(word for word in words if word)
    details = []
    if colours and head.skin != "tan":
        details.append(f"{head.skin} skin")
    details += _hair_phrases(head, colours)
    if head.feature != "none":
        details.append(head.feature if head.feature.endswith("s") else f"a {head.feature}")
    if head.expression == "open mouth":
        details.append("an open mouth")
    article = "an" if subject[0] in "aeiou" else "a"
    text = f"{article} {subject}"
    if not details:
        return text
    return f"{text} with " + (", ".join(details[:-1]) + " and " if len(details) > 1 else "") + details[-1]


def _hair_phrases(head: Attributes, colours: bool) -> list[str]:
    colour = f"{head.hair_colour} " if colours else ""
    phrases = []
    if head.hair == "bald":
        phrases.append("a bald head")
    elif head.hair != "short":
        phrases.append(f"{_article(colour or head.hair)} {colour}{head.hair}")
    elif colours and head.hair_colour != "brown":
        phrases.append(f"{colour}hair")
    if head.beard == "full":
        beard = f"{head.beard_colour} " if colours else ""
        phrases.append(f"a {beard}beard")
    return phrases


def _article(following: str) -> str:
    return "an" if following[0] in "aeiou" else "a"


def parse(prompt: str) -> Attributes | None:
    """The attributes a prompt names, or None if it says something this world does not know."""
    text = " " + re.sub(r"[^a-z ]+", " ", prompt.lower()) + " "
    for word, meaning in _SYNONYMS.items():
        text = re.sub(rf"\b{word}\b", meaning, text)
    found: dict[str, str] = {}

    def take(pattern: str) -> re.Match[str] | None:
        nonlocal text
        match = re.search(rf"\b{pattern}\b", text)
        if match:
            text = f"{text[: match.start()]} {text[match.end() :]}"
        return match

    def options(name: str) -> str:
        return "|".join(VALUES[name])

    for match in [take(rf"({options('skin')}) skin")]:
        found |= {"skin": match[1]} if match else {}
    if take("bald head") or take("bald"):
        found["hair"] = "bald"
    if match := take(rf"({options('beard_colour')})? ?beard"):
        found |= {"beard": "full"} | ({"beard_colour": match[1]} if match[1] else {})
    if match := take(rf"(?:({options('hair_colour')}) )?(afro|mohawk)"):
        found |= {"hair": match[2]} | ({"hair_colour": match[1]} if match[1] else {})
    if match := take(rf"(?:short )?({options('hair_colour')}) hair"):
        found["hair_colour"] = match[1]
    for name in ("expression", "feature", "weight"):
        if match := take(f"({options(name)})"):
            found[name] = match[1]
    for (age, sex), noun in sorted(NOUNS.items(), key=lambda item: -len(item[1])):
        if take(noun):
            found |= {"age": age, "sex": sex}
            break
    left = [word for word in text.split() if word not in _FILLER]
    if left or "age" not in found:
        return None
    if found.get("beard") and "beard_colour" not in found:
        found["beard_colour"] = found.get("hair_colour", Attributes.beard_colour)
    return Attributes(**found)
