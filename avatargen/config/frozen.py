"""The base of all settings: immutable, closed, and true to what was typed."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
"""Text of a whole number."""


def as_text(value: Any) -> Any:
    """Return a number that a file states for a text as it was typed.

    Raises:
        ValueError: the number may have been typed in several ways, or the value is a truth value.

    Example:
        >>> as_text(2024)
        '2024'
    """
    if isinstance(value, bool | float):
        typed = str(value).lower() if isinstance(value, bool) else value
        raise ValueError(f"got {typed}, which is no text; put it in quotes")
    return str(value) if isinstance(value, int) else value


class Frozen(BaseModel):
    """Immutable and closed: an unknown key is an error, and so is a value of another type than was typed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _as_typed(cls, value: Any, field: Any) -> Any:
        """Refuse ``010`` and ``0-3`` as whole numbers, which pydantic reads as 10 and -3; keep numbers as text."""
        kind = cls.model_fields[str(field.field_name)].annotation
        if kind in (int, int | None) and isinstance(value, str) and not WHOLE.fullmatch(value):
            raise ValueError(f"got {value[:60]!r}; expected a whole number")
        if kind in (int, int | None) and isinstance(value, bool):
            raise ValueError(f"got {str(value).lower()}; expected a whole number")
        return as_text(value) if kind in (str, str | None) else value
