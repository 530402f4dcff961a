"""The Jinja environment of self-contained pages: autoescaping is on, and an undefined variable is an error."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


def environment() -> Environment:
    """Return the environment of ``eval/templates``."""
    return Environment(
        loader=PackageLoader("eval"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def script(name: str) -> Markup:
    """Return a script of ``eval/templates`` that is no template: braces in it mean nothing to Jinja."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))
