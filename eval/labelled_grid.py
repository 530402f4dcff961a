"""Draw images in a grid, each with its name under it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from eval.contact_sheet import FAINT, GAP, INK, MARGIN, PAPER, font, wrap

LABEL = 22
"""Pixels under a cell, for its name."""


def labelled_grid(
    title: str, note: str, cells: Mapping[str, UInt8[np.ndarray, "H W 3"]], columns: int, cell: int = 176
) -> Image.Image:
    """Draw a grid of square images.

    Args:
        title: above it, on at most two lines.
        note: a small line under the title.
        cells: images by name, row by row.
        columns: images in a row.
        cell: pixels of a side of an image; others are resized.

    Example:
        >>> grey = np.full((4, 4, 3), 128, np.uint8)
        >>> labelled_grid("a man", "full", {"a": grey, "b": grey, "c": grey}, columns=2, cell=100).size
        (262, 366)
    """
    rows, pitch = -(-len(cells) // columns), cell + LABEL + GAP
    width = 2 * MARGIN + columns * (cell + GAP) - GAP
    lines = wrap(title, font(22, bold=True), width - 2 * MARGIN)
    top = MARGIN + 30 * len(lines) + 30
    sheet = Image.new("RGB", (width, top + rows * pitch + MARGIN - GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        draw.text((MARGIN, MARGIN - 6 + 30 * number), line, INK, font(22, bold=True))
    draw.text((MARGIN, top - 30), note, FAINT, font(15))
    for number, (name, image) in enumerate(cells.items()):
        x, y = MARGIN + number % columns * (cell + GAP), top + number // columns * pitch
        sheet.paste(Image.fromarray(image).resize((cell, cell), Image.Resampling.LANCZOS), (x, y))
        draw.text((x + cell / 2, y + cell + 16), name, INK, font(14), anchor="ms")
    return sheet
