"""One page of pictures: a row for each prompt, a column for each method, in colour and in clay.

What a table of rates cannot say: what each ablation loses.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from avatargen.io.manifest import Row
from eval.contact_sheet import FAINT, GAP, INK, MARGIN, PAPER, font, wrap

WIDE, TALL = ((("texture", 0), ("texture", 1), ("geometry", 0)),), ((("texture", 0),), (("geometry", 0),))
"""Lines of views in a cell, each a track and a view (half from the side is the second): side by side, or front only."""
MANY = 6
"""More methods than these get TALL cells, and half as many prompts."""
CELL, GUTTER, CAPTION = 128, 22, 190
ROWS = 12


def comparison(rows: Sequence[Row], methods: Sequence[str], root: Path, limit: int | None = None) -> Image.Image:
    """The page, for the first `limit` prompts and seeds.

    Args:
        rows: of all manifests.
        methods: the columns, from left to right.
        root: what the rows' folders are relative to.
        limit: without it ROWS, or half of them where methods are many.
    """
    many = len(methods) > MANY
    views, gutter, size = (TALL, GAP, 13) if many else (WIDE, GUTTER, 16)
    found = {(row.method, row.unit): row for row in rows}
    units = list(dict.fromkeys(row.unit for row in rows))[: limit or (ROWS // 2 if many else ROWS)]
    cell = (len(views[0]) * CELL, len(views) * CELL)
    width, step = cell[0] + gutter, cell[1] + (GUTTER if many else GAP)
    total = (2 * MARGIN + CAPTION + len(methods) * width, 2 * MARGIN + 26 + len(units) * step)
    page = Image.new("RGB", total, PAPER)
    draw = ImageDraw.Draw(page)
    for column, method in enumerate(methods):
        draw.text((MARGIN + CAPTION + column * width, MARGIN + 14), method, INK, font(size, bold=True), anchor="ls")
    for line, unit in enumerate(units):
        top = MARGIN + 26 + line * step
        prompt = next(row.prompt for row in rows if row.unit == unit)
        text = "\n".join(wrap(prompt, font(14), CAPTION - 2 * GAP, most=6))
        draw.multiline_text((MARGIN, top + cell[1] / 2), text, INK, font(14), anchor="lm")
        for column, method in enumerate(methods):
            left = MARGIN + CAPTION + column * width
            made = _cell(found.get((method, unit)), root, views)
            if isinstance(made, str):
                draw.text((left, top + cell[1] / 2), made, FAINT, font(14), anchor="lm")
            else:
                page.paste(Image.fromarray(made).resize(cell), (left, top))
    return page


def _cell(row: Row | None, root: Path, views: Sequence[Sequence[tuple[str, int]]]) -> np.ndarray | str:
    """The views in lines, or why there are none."""
    if row is None:
        return "not asked for"
    if row.status != "ok":
        return row.status
    try:
        with np.load(root / row.folder / "views.npz") as file:
            tracks = {name: file[name] for name in ("texture", "geometry")}
    except (OSError, ValueError, KeyError):
        return "not rendered"
    lines = [[tracks[name][min(view, len(tracks[name]) - 1)] for name, view in line] for line in views]
    return np.concatenate([np.concatenate(line, axis=1) for line in lines])
