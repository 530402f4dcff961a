"""Draw one page of images: a row for each prompt, a column for each method, in colour and in clay.

It shows what no table of rates can: what each ablation loses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from avatargen.io.manifest import Row
from eval.contact_sheet import FAINT, GAP, INK, MARGIN, PAPER, font, wrap
from eval.images import read_views

WIDE, TALL = ((("texture", 0), ("texture", 1), ("geometry", 0)),), ((("texture", 0),), (("geometry", 0),))
"""Lines of views in a cell, each a (track, index of the view): three views side by side, or two below each other."""
MANY = 6
"""With more methods than this, cells are TALL and prompts half as many."""
CELL, GUTTER, CAPTION, HEADER, LEADING = 128, 22, 190, 26, 4
"""Pixels: side of a view, space between methods, width of the prompts' column, height of one line of methods' names,
and space between lines."""
ROWS = 12


@dataclass(frozen=True)
class Layout:
    """Where the cells of a page are, in pixels.

    Attributes:
        views: of each cell, see WIDE.
        cell: width and height of a cell.
        step: distance from cell to cell, across and down.
        names: of the methods, one text a column; all in lines where one would reach into the next column.
        text_size: of the names.
        header: height of the names.
    """

    views: Sequence[Sequence[tuple[str, int]]]
    cell: tuple[int, int]
    step: tuple[int, int]
    names: Sequence[str]
    text_size: int
    header: int

    @classmethod
    def of(cls, methods: Sequence[str]) -> Layout:
        """Return the layout for the methods of a page."""
        is_many = len(methods) > MANY
        views, gutter, below, size = (TALL, GAP, GUTTER, 13) if is_many else (WIDE, GUTTER, GAP, 16)
        cell = (len(views[0]) * CELL, len(views) * CELL)
        step, names = (cell[0] + gutter, cell[1] + below), list(methods)
        if any(font(size, bold=True).getlength(name) > step[0] - GAP for name in names):
            size -= 2
            names = [broken(name, font(size, bold=True), cell[0]) for name in names]
        lines = max((name.count("\n") for name in names), default=0)
        return cls(views, cell, step, names, size, HEADER + lines * (size + LEADING))

    def size(self, columns: int, lines: int) -> tuple[int, int]:
        """Return the width and height of a page."""
        return (2 * MARGIN + CAPTION + columns * self.step[0], 2 * MARGIN + self.header + lines * self.step[1])

    def corner(self, column: int, line: int) -> tuple[int, int]:
        """Return the upper left corner of a cell."""
        return (MARGIN + CAPTION + column * self.step[0], MARGIN + self.header + line * self.step[1])


def broken(name: str, typeface: ImageFont.FreeTypeFont, width: int) -> str:
    """Break a method's name into lines of at most `width` pixels, after hyphens and underscores alone.

    Example:
        >>> broken("thresholded_guidance-guidance_25", font(11, bold=True), 128).split()
        ['thresholded_', 'guidance-guidance_', '25']
    """
    lines = [""]
    for part in re.findall("[^_-]*[_-]|[^_-]+", name):
        if lines[-1] and typeface.getlength(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def comparison(rows: Sequence[Row], methods: Sequence[str], root: Path, limit: int | None = None) -> Image.Image:
    """Draw the page.

    Args:
        rows: of all manifests.
        methods: the columns, from left to right.
        root: what the rows' folders are relative to.
        limit: number of prompts and seeds; by default ROWS, or half of that with many methods.
    """
    layout = Layout.of(methods)
    found = {(row.method, row.unit): row for row in rows}
    prompts = {row.unit: row.prompt for row in reversed(rows)}
    most = limit or (ROWS // 2 if len(methods) > MANY else ROWS)
    units = list(dict.fromkeys(row.unit for row in rows))[:most]
    page = Image.new("RGB", layout.size(len(methods), len(units)), PAPER)
    draw = ImageDraw.Draw(page)
    for column, name in enumerate(layout.names):
        place = (layout.corner(column, 0)[0], MARGIN)
        draw.multiline_text(place, name, INK, font(layout.text_size, bold=True), spacing=LEADING)
    for line, unit in enumerate(units):
        text = "\n".join(wrap(prompts[unit], font(14), CAPTION - 2 * GAP, most=6))
        middle = layout.corner(0, line)[1] + layout.cell[1] / 2
        draw.multiline_text((MARGIN, middle), text, INK, font(14), anchor="lm")
        for column, method in enumerate(methods):
            left, top = layout.corner(column, line)
            made = _cell(found.get((method, unit)), root, layout.views)
            if isinstance(made, str):
                draw.text((left, middle), made, FAINT, font(14), anchor="lm")
            else:
                page.paste(Image.fromarray(made).resize(layout.cell), (left, top))
    return page


def _cell(row: Row | None, root: Path, views: Sequence[Sequence[tuple[str, int]]]) -> np.ndarray | str:
    """Return the image of a cell, or the words that say why there is none."""
    if row is None:
        return "not asked for"
    if row.status != "ok":
        return row.status
    try:
        tracks = read_views(root / row.folder / "views.npz", ("texture", "geometry"))
    except (OSError, ValueError, KeyError):
        return "not rendered"
    lines = [[tracks[name][min(view, len(tracks[name]) - 1)] for name, view in line] for line in views]
    return np.concatenate([np.concatenate(line, axis=1) for line in lines])
