"""The Jinja environment of self-contained pages.

Autoescaping is on, an undefined variable is an error, and text is isolated that would turn what stands beside it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from avatargen.config.directions import isolated

TEMPLATES = Path(__file__).parent / "templates"


def environment() -> Environment:
    """Return the environment of ``eval/templates``."""
    found = Environment(
        loader=PackageLoader("eval"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["code"] = code
    return found


def code(text: str) -> Markup:
    """Return a text whose names stand between backticks, with these as elements.

    Example:
        >>> code("`full` & <none>")
        Markup('<code>full</code> &amp; &lt;none&gt;')
    """
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(isolated(text)))))


def _finalize(value: Any) -> Any:
    """Return a value that a template shows, isolated by marks, since attributes hold no elements."""
    return isolated(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def script(name: str) -> Markup:
    """Return a script of ``eval/templates`` that is no template: braces in it mean nothing to Jinja."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))
