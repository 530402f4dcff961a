"""The Jinja environment of self-contained pages.

Autoescaping is on, an undefined variable is an error, and text is isolated that would turn what stands beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from avatargen.config.directions import isolated

TEMPLATES = Path(__file__).parent / "templates"


def environment() -> Environment:
    """Return the environment of ``eval/templates``."""
    return Environment(
        loader=PackageLoader("eval"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _finalize(value: Any) -> Any:
    """Return a value that a template shows, isolated by marks, since attributes hold no elements."""
    return isolated(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def script(name: str) -> Markup:
    """Return a script of ``eval/templates`` that is no template: braces in it mean nothing to Jinja."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))
