"""Contact sheets: rows of views under a prompt, drawn with Pillow in the font that matplotlib ships."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from eval.images import Images

CELL, GAP, MARGIN = 192, 6, 28  # pixels: side of a view, space between views and around the sheet
LABEL = 96  # pixels: width of the left column, with the names of the rows
PAPER, INK, FAINT = (250, 250, 248), (28, 30, 34), (112, 116, 124)


def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans at a size in pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def contact_sheet(title: str, note: str, rows: Mapping[str, Images], azimuths: Sequence[float]) -> Image.Image:
    """Draw a sheet with one row for each kind of render and one column for each azimuth.

    Args:
        title: the prompt; wrapped to at most two lines.
        note: a small line under the title.
        rows: label → (V, H, W, 3) images, all of one size.
        azimuths: in degrees, written above the columns.
    """
    cell = next(iter(rows.values())).shape[1]
    width = 2 * MARGIN + LABEL + len(azimuths) * (cell + GAP) - GAP
    lines = wrap(title, font(26, bold=True), width - 2 * MARGIN)
    top = MARGIN + 36 * len(lines) + 34 + 26
    sheet = Image.new("RGB", (width, top + len(rows) * (cell + GAP) - GAP + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        draw.text((MARGIN, MARGIN - 6 + 36 * number), line, INK, font(26, bold=True))
    draw.text((MARGIN, MARGIN - 4 + 36 * len(lines)), note, FAINT, font(16))
    for column, azimuth in enumerate(azimuths):
        x = MARGIN + LABEL + column * (cell + GAP)
        draw.text((x + cell / 2, top - 8), _degrees(azimuth), FAINT, font(15), anchor="ms")
    for number, (label, images) in enumerate(rows.items()):
        y = top + number * (cell + GAP)
        draw.text((MARGIN, y + cell / 2), label, INK, font(16), anchor="lm")
        for column, image in enumerate(images):
            _paste(sheet, image, MARGIN + LABEL + column * (cell + GAP), y)
    return sheet


def _paste(sheet: Image.Image, image, x: int, y: int) -> None:
    """Paste a view with rounded corners; the mask is drawn at 4 times the size, for smooth edges."""
    height, width = image.shape[:2]
    mask = Image.new("L", (4 * width, 4 * height), 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * width - 1, 4 * height - 1), radius=24, fill=255)
    sheet.paste(Image.fromarray(image), (x, y), mask.resize((width, height), Image.Resampling.BOX))


def wrap(text: str, typeface: ImageFont.FreeTypeFont, width: int, most: int = 2) -> list[str]:
    """Wrap text to at most `most` lines of `width` pixels; an ellipsis replaces the rest."""
    per_line = max(10, int(width / typeface.getlength("n")))
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return textwrap.wrap(clean, per_line, max_lines=most, placeholder=" …") or [""]


def _degrees(azimuth: float) -> str:
    wrapped = (round(azimuth) + 180) % 360 - 180
    return {0: "front", -180: "back"}.get(wrapped, f"{wrapped:+d}°")
