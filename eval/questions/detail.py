"""Answer: where do avatars lose geometric detail, do offsets add true detail or noise, and what does resolution buy?

Measures are those of :mod:`eval.diagnostics.detail`. The template's detail is the floor, since all heads share the
anatomy of one head model; the ground-truth head on the same mesh is the ceiling, 0 degrees or a correlation of 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from eval.plot_style import FAINT, INK, PALETTE
from eval.questions.base import Answer, AnswerTable, Evidence, Statement
from eval.questions.statements import NOT_MEASURED, as_text, average, compared, distances, measured, values
from eval.statistics import Interval

QUESTION = "Where do avatars lose geometric detail, do offsets add true detail or noise, and what does resolution buy?"
DIAGNOSTIC, ALL = "detail", "all"
SCALES = ("4 mm", "8 mm", "16 mm", "32 mm", "64 mm")
TICKS = [name.removesuffix(" mm") for name in SCALES]
REGIONS = ("face", "eyelids", "nose", "lips", "ears", "scalp", "beard", "neck")
FULL, TEMPLATE, NO_OFFSETS, NO_SHAPE, ORACLE = "full", "template", "no_offsets", "no_shape", "oracle"
SMOOTH = "smooth_offsets"
MESHES = {"a quarter of full's": "coarse_mesh", "full's": FULL, "four times full's": "fine_mesh"}
"""Methods by the faces of their mesh, relative to full's."""
TRUE_MESHES = {"a quarter of full's": "oracle_coarse", "full's": ORACLE, "four times full's": "oracle_fine"}
PICTURE = Path("diagnostics") / "detail-normals.jpg"
CELL, MOST_PROMPTS = 160, 8


def answer(evidence: Evidence) -> Answer:
    """Return the answer."""
    if _of(evidence, FULL, "normal_error_deg").empty:
        text = f"Normals and curvature of '{FULL}' are {NOT_MEASURED}."
        return Answer(QUESTION, text, tuple(_statements(evidence)))
    return Answer(
        QUESTION,
        " ".join(filter(None, (_losses(evidence), _offsets(evidence), _resolution(evidence)))),
        tuple(_statements(evidence)),
        tuple(_tables(evidence)),
        _plots(evidence),
    )


def _of(evidence: Evidence, method: str, measure: str, condition: str = ALL) -> pd.Series:
    return measured(evidence, DIAGNOSTIC, measure, method, condition=condition)


def _mean(evidence: Evidence, method: str, measure: str, condition: str = ALL) -> Interval:
    return average(_of(evidence, method, measure, condition))


def _share(evidence: Evidence, method: str, condition: str) -> float:
    """Return the detail of a method relative to the ground truth's: the ratio of the mean tilts of a band."""
    own, true = (_mean(evidence, method, name, condition).value for name in ("detail_deg", "true_detail_deg"))
    return own / true if true else np.nan


def _losses(evidence: Evidence) -> str:
    """Say where full's normals are wrong: by region, and by scale."""
    own = _mean(evidence, FULL, "normal_error_deg")
    by_region = {name: _mean(evidence, FULL, "normal_error_deg", name).value for name in REGIONS}
    known = {name: value for name, value in by_region.items() if not np.isnan(value)}
    agree = {name: _mean(evidence, FULL, "detail_correlation", name).value for name in SCALES}
    shares = {name: _share(evidence, FULL, name) for name in SCALES}
    lines = [f"{FULL}'s normals are off by {as_text(own, 'degrees', 1)}"]
    if known:
        worst, best = max(known, key=lambda name: known[name]), min(known, key=lambda name: known[name])
        lines[0] += f", most in the region {worst} ({known[worst]:.1f}) and least in {best} ({known[best]:.1f})"
    amounts = ", ".join(f"{100 * share:.0f} % at {name}" for name, share in shares.items() if not np.isnan(share))
    signs = ", ".join(f"{value:.2f} at {name}" for name, value in agree.items() if not np.isnan(value))
    if amounts:
        lines.append(f"Of the ground truth's tilt it has {amounts}; the tilts correlate by {signs}")
    return ". ".join(lines) + "."


def _offsets(evidence: Evidence) -> str:
    """Say whether full's own offsets bring its normals closer to the ground truth."""
    with_them, without = (_mean(evidence, FULL, f"normal_error{name}_deg").value for name in ("", "_bare"))
    if np.isnan(without):
        return ""
    helps = "bring" if with_them < without else "do not bring"
    agree = ", ".join(
        f"{round(found.value, 2) + 0.0:.2f} at {name}"  # zero without a sign
        for name in SCALES
        if not np.isnan((found := _mean(evidence, FULL, "offset_correlation", name)).value)
    )
    return (
        f"Its offsets {helps} normals closer to the ground truth: {with_them:.1f} degrees with them, {without:.1f} "
        f"without; what they change correlates with what is missing by {agree}."
    )


def _resolution(evidence: Evidence) -> str:
    """Say what meshes of other resolutions reach, and what they could hold."""
    parts = []
    for faces, method in MESHES.items():
        found = _mean(evidence, method, "surface_mm")
        if not np.isnan(found.value):
            could = _mean(evidence, TRUE_MESHES[faces], "surface_mm").value
            held = "" if np.isnan(could) else f", where the ground truth on this mesh is off by {could:.2f} mm"
            parts.append(f"{found.value:.2f} mm with {faces} faces{held}")
    return f"By resolution: {'; '.join(parts)}." if len(parts) > 1 else ""


def _statements(evidence: Evidence) -> Iterator[Statement]:
    """Yield what is tested; a lower error is the expected sign unless stated."""
    error, bare = (_of(evidence, FULL, f"normal_error{name}_deg") for name in ("", "_bare"))
    names = ("with its offsets", "without them")
    yield compared("offsets bring an avatar's normals closer to the ground truth", error, bare, names, "degrees", 1)
    for scale in ("8 mm", "32 mm"):
        fine, plain = (_of(evidence, FULL, f"detail_error{name}_deg", scale) for name in ("", "_bare"))
        yield compared(f"offsets bring normals closer at {scale}", fine, plain, names, "degrees", 1)
        added = _of(evidence, FULL, "offset_correlation", scale)
        text = f"what offsets change at {scale} is what the head lacks without them"
        yield compared(text, added, 0.0, ("correlation", "none"), sign=1)
    for text, other in (
        ("full's normals are closer than those of a method without offsets", NO_OFFSETS),
        ("full's normals are closer than those of a method of offsets alone", NO_SHAPE),
        ("full's normals are closer than the template's", TEMPLATE),
    ):
        yield compared(text, error, _of(evidence, other, "normal_error_deg"), (FULL, other), "degrees", 1)
    for text, measure, unit, digits in (
        ("smoother offsets bring normals closer", "normal_error_deg", "degrees", 1),
        ("smoother offsets bring the surface closer", "surface_mm", "mm", 2),
    ):
        smooth, own = (_of(evidence, name, measure) for name in (SMOOTH, FULL))
        yield compared(text, smooth, own, (SMOOTH, FULL), unit, digits)
    agree = [_of(evidence, name, "curvature_correlation") for name in (FULL, TEMPLATE)]
    text = "full's mean curvature agrees with the ground truth better than the template's"
    yield compared(text, agree[0], agree[1], (FULL, TEMPLATE), sign=1)
    yield from _on_resolution(evidence)


def _on_resolution(evidence: Evidence) -> Iterator[Statement]:
    """Yield the statements on meshes of other resolutions, all of one truth with four times the faces."""
    for faces, method in (
        ("four times the faces bring", "fine_mesh"),
        ("a quarter of the faces leaves", "coarse_mesh"),
    ):
        sign = -1 if method == "fine_mesh" else 1
        end = "closer to the ground truth" if sign < 0 else "further from the ground truth"
        for measure, unit, what, digits in (
            ("surface_mm", "mm", "the surface", 2),
            ("screen_normal_error_deg", "degrees", "normals in the image", 1),
        ):
            pair = (_of(evidence, method, measure), _of(evidence, FULL, measure))
            yield compared(f"{faces} {what} {end}", *pair, (method, FULL), unit, digits, sign)
    limit = 0.1  # a tenth of full's error is what its mesh would have to cost to matter
    error, held = _of(evidence, FULL, "surface_mm"), _of(evidence, ORACLE, "surface_mm")
    yield compared(
        "full's mesh holds the ground truth to within a tenth of full's error",
        held,
        limit * error,
        (ORACLE, "a tenth of full"),
        "mm",
    )


def _tables(evidence: Evidence) -> Iterator[AnswerTable]:
    """Yield errors of the methods, detail by scale, normal errors by region, and resolutions."""
    methods = [name for name in evidence.runs if not _of(evidence, name, "normal_error_deg").empty]
    yield AnswerTable(
        "Normals and curvature",
        _TABLE_TEXT,
        pd.DataFrame([_row(evidence, method) for method in methods]),
    )
    scales = [{"method": method, **_scale_row(evidence, method)} for method in methods]
    text = "Root mean square tilt of normals in a band, relative to the ground truth's; and their correlation (r)."
    yield AnswerTable("Detail by scale", text, pd.DataFrame(scales))
    regions = [{"method": m, **{r: _mean(evidence, m, "normal_error_deg", r).value for r in REGIONS}} for m in methods]
    yield AnswerTable("Normal error by region", "Degrees.", pd.DataFrame(regions))
    rows = list(_resolution_rows(evidence))
    if len(rows) > 1:
        text = (
            "Against the ground-truth head with four times the faces. seconds: of one avatar, where it was made; "
            "experiment `cost` makes all beside each other. geometry_mm: against the ground truth on the same mesh."
        )
        yield AnswerTable("Resolution", text, pd.DataFrame(rows))


_TABLE_TEXT = (
    "Means over prompts. bare: without the own offsets. screen: in the image. curvature: root mean square of the "
    "mean curvature. r: correlation of mean and Gaussian curvature with the ground truth's."
)


def _row(evidence: Evidence, method: str) -> dict[str, object]:
    columns = {
        "normal_error_deg": "normal_error_deg",
        "bare_deg": "normal_error_bare_deg",
        "screen_deg": "screen_normal_error_deg",
        "outline_iou": "outline_iou",
        "curvature_per_m": "curvature_per_m",
        "true_curvature_per_m": "true_curvature_per_m",
        "r_mean": "curvature_correlation",
        "r_gaussian": "gaussian_correlation",
    }
    return {"method": method, **{name: _mean(evidence, method, measure).value for name, measure in columns.items()}}


def _scale_row(evidence: Evidence, method: str) -> dict[str, float]:
    shares = {name: _share(evidence, method, name) for name in SCALES}
    return shares | {f"r {name}": _mean(evidence, method, "detail_correlation", name).value for name in SCALES}


def _resolution_rows(evidence: Evidence) -> Iterator[dict[str, object]]:
    for kind in (MESHES, TRUE_MESHES):
        for faces, method in kind.items():
            if not (surface := _of(evidence, method, "surface_mm")).empty:
                yield {
                    "method": method,
                    "faces": faces,
                    "surface_mm": average(surface).value,
                    "screen_deg": _mean(evidence, method, "screen_normal_error_deg").value,
                    "outline_iou": _mean(evidence, method, "outline_iou").value,
                    "geometry_mm": average(distances(evidence, "geometry_mm", method)).value,
                    "seconds": average(values(evidence.costs, "seconds", method=method)).value,
                }


def _plots(evidence: Evidence) -> dict[str, tuple[Figure, str]]:
    plots = {"spectrum": (_spectrum(evidence), _SPECTRUM_TEXT)}
    shapes = [name for name in evidence.runs if not name.startswith(ORACLE) and name != "texture_only"]
    if (page := normals_page(evidence.folders, shapes)) is not None:
        plots["normals"] = (
            page,
            "Normal maps from the front: the ground truth, and each method; a row for each prompt.",
        )
    return plots


_SPECTRUM_TEXT = (
    "Detail of the normals by scale: how much (left), how far it is the ground truth's (middle), and in which region "
    "full has how much of the ground truth's (right; 1 is as much)."
)


def _spectrum(evidence: Evidence) -> Figure:
    """Draw the tilt by scale, its correlation with the ground truth's, and full's share by scale and region."""
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.15))
    at = np.arange(len(SCALES))
    methods = [name for name in evidence.runs if not _of(evidence, name, "detail_deg", SCALES[0]).empty]
    truth = [_mean(evidence, FULL, "true_detail_deg", name).value for name in SCALES]
    left.plot(at, truth, color=INK, lw=2.4, label="ground truth")
    for number, method in enumerate([name for name in methods if not name.startswith(ORACLE)]):
        colour = PALETTE[number % len(PALETTE)]
        left.plot(at, [_mean(evidence, method, "detail_deg", name).value for name in SCALES], "o-", ms=4, color=colour,
                  label=method)  # fmt: skip
        agree = [_mean(evidence, method, "detail_correlation", name).value for name in SCALES]
        middle.plot(at, agree, "o-", ms=4, color=colour)
    for axis, title in ((left, "tilt, degrees"), (middle, "correlation with the ground truth")):
        axis.set_title(title)
        axis.set_xticks(at, TICKS)
        axis.set_xlabel("scale, mm")
        axis.set_ylim(bottom=0)
    middle.set_ylim(top=1)
    left.legend(fontsize=8)
    _heat(right, np.array([[_share(evidence, FULL, f"{region} {name}") for name in SCALES] for region in REGIONS]))
    return figure


def _heat(axis, shares: np.ndarray) -> None:
    """Draw the share of the ground truth's detail, by region and scale, on a scale of factors of two."""
    axis.imshow(np.log2(shares), cmap="RdBu_r", vmin=-1.5, vmax=1.5, aspect="auto")
    axis.set_xticks(np.arange(len(SCALES)), TICKS)
    axis.set_xlabel("scale, mm")
    axis.set_yticks(np.arange(len(REGIONS)), REGIONS)
    axis.grid(visible=False)
    axis.set_title(f"{FULL}'s share of the detail")
    for (row, column), share in np.ndenumerate(shares):
        text = "" if np.isnan(share) else f"{share:.2f}"
        colour = "white" if abs(np.log2(share)) > 1 else INK
        axis.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)


def normals_page(folders: Mapping[tuple[str, str, str, int], Path], methods: Sequence[str]) -> Figure | None:
    """Return a page of front normal maps: a row for each prompt, the ground truth first, then each method.

    Args:
        folders: of avatars, by (method, list, item, seed).
        methods: in order; those without pictures have no column.

    Returns:
        None without a picture.
    """
    files = {key: folder / PICTURE for key, folder in folders.items() if (folder / PICTURE).is_file()}
    shown = [name for name in methods if any(key[0] == name for key in files)]
    prompts = list(dict.fromkeys(key[1:] for key in files))[:MOST_PROMPTS]
    if not shown:
        return None
    columns = ("ground truth", *shown)
    figure = Figure(figsize=(1.25 * len(columns), 1.25 * len(prompts) + 0.3))
    for axes, unit in zip(figure.subplots(len(prompts), len(columns), squeeze=False), prompts, strict=True):
        of_prompt = {key[0]: file for key, file in files.items() if key[1:] == unit}
        cells = [_front(next(iter(of_prompt.values())), second=True)]
        cells += [_front(of_prompt[name]) if name in of_prompt else None for name in shown]
        for axis, name, cell in zip(axes, columns, cells, strict=True):
            axis.axis("off")
            if cell is not None:
                axis.imshow(cell)
            if unit == prompts[0]:
                axis.set_title(name.replace("_", " "), fontsize=8, fontweight="normal", loc="center")
        where = {"rotation": 90, "ha": "right", "va": "center", "transform": axes[0].transAxes}
        axes[0].text(0, 0.5, str(unit[1]), fontsize=5, color=FAINT, **where)
    return figure


def _front(file: Path, second: bool = False) -> np.ndarray | None:
    """Return the front normal map of a diagnostic's picture, of the first head or the second, which it may lack."""
    with Image.open(file) as image:
        size = image.height * 2 // 3
        if second and image.width < 2 * size:
            return None
        left = size if second else 0
        part = image.crop((left, 0, left + size, size)).resize((CELL, CELL), Image.Resampling.LANCZOS)
    return np.asarray(part)
