"""One page of pictures: a row for each prompt, a column for each method, in colour and in clay.

What a table of rates cannot say: what each ablation loses.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from eval.manifest import Row
from eval.sheet import FAINT, GAP, INK, MARGIN, PAPER, font, wrap

VIEWS = (0, 1, 0)
"""Views of a cell: two in colour, from the front and half from the side, and the front in clay."""
CELL, GUTTER, CAPTION = 128, 22, 190
ROWS = 12


def comparison(rows: Sequence[Row], methods: Sequence[str], root: Path, limit: int = ROWS) -> Image.Image:
    """The page, for the first `limit` prompts and seeds.

    Args:
        rows: of all manifests.
        methods: the columns, from left to right.
        root: what the rows' folders are relative to.
    """
    found = {(row.method, row.unit): row for row in rows}
    units = list(dict.fromkeys(row.unit for row in rows))[:limit]
    width, step = len(VIEWS) * CELL + GUTTER, CELL + GAP
    size = (2 * MARGIN + CAPTION + len(methods) * width - GUTTER, 2 * MARGIN + 26 + len(units) * step - GAP)
    page = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(page)
    for column, method in enumerate(methods):
        draw.text((MARGIN + CAPTION + column * width, MARGIN), method, INK, font(16, bold=True))
    for line, unit in enumerate(units):
        top = MARGIN + 26 + line * step
        prompt = next(row.prompt for row in rows if row.unit == unit)
        text = "\n".join(wrap(prompt, font(14), CAPTION - 2 * GAP, most=6))
        draw.multiline_text((MARGIN, top + CELL / 2), text, INK, font(14), anchor="lm")
        for column, method in enumerate(methods):
            left = MARGIN + CAPTION + column * width
            cell = _cell(found.get((method, unit)), root)
            if isinstance(cell, str):
                draw.text((left, top + CELL / 2), cell, FAINT, font(14), anchor="lm")
            else:
                page.paste(Image.fromarray(cell).resize((len(VIEWS) * CELL, CELL)), (left, top))
    return page


def _cell(row: Row | None, root: Path) -> np.ndarray | str:
    """The views side by side, (H, 3 H, 3), or why there are none."""
    if row is None:
        return "not asked for"
    if row.status != "ok":
        return row.status
    try:
        with np.load(root / row.folder / "views.npz") as file:
            colour, clay = file["texture"], file["geometry"]
    except (OSError, ValueError, KeyError):
        return "not rendered"
    last = len(colour) - 1
    return np.concatenate([colour[min(VIEWS[0], last)], colour[min(VIEWS[1], last)], clay[min(VIEWS[2], last)]], axis=1)
