"""The answer on detail: what it says of offsets and resolution, and that it holds with parts of the measures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from eval.questions.detail import PICTURE, REGIONS, SCALES, answer, normals_page
from eval.questions.verdicts import answers
from tests.eval.questions.conftest import noise

METHODS = (
    "full",
    "no_offsets",
    "smooth_offsets",
    "no_shape",
    "template",
    "oracle",
    "coarse_mesh",
    "fine_mesh",
    "oracle_coarse",
)
ERRORS = {"full": 16.0, "no_offsets": 12.0, "smooth_offsets": 14.0, "no_shape": 20.0, "template": 18.0, "oracle": 0.0}


def measure(method, condition, name, prompt):
    """Offsets add noise; finer meshes change nothing but seconds."""
    error = ERRORS.get(method, 16.0) + noise(prompt)
    zigzag = (-1) ** prompt if method == "fine_mesh" else 0
    known = {
        "normal_error_deg": error + (5 if condition == "ears" else 0),
        "normal_error_bare_deg": error - 4 + 0.1 * noise(prompt + 1),
        "detail_deg": 8.0,
        "true_detail_deg": 10.0,
        "detail_correlation": 0.5,
        "detail_error_deg": 9.0 + noise(prompt),
        "detail_error_bare_deg": 7.0 + noise(prompt) / 2,
        "offset_correlation": 0.01 * noise(prompt),
        "surface_mm": 0.05 if method.startswith("oracle") else 4.6 + noise(prompt) + 0.1 * zigzag,
        "screen_normal_error_deg": error,
        "outline_iou": 0.9,
        "curvature_per_m": 80.0,
        "true_curvature_per_m": 76.0,
        "curvature_correlation": 0.4,
        "gaussian_correlation": 0.4,
    }
    return known[name]


def measures(methods=METHODS, items=tuple("abcdefgh")):
    whole = ("normal_error_deg", "normal_error_bare_deg", "surface_mm", "screen_normal_error_deg", "outline_iou")
    whole += ("curvature_per_m", "true_curvature_per_m", "curvature_correlation", "gaussian_correlation")
    bands = ("detail_deg", "true_detail_deg", "detail_correlation")
    more = ("detail_error_deg", "detail_error_bare_deg", "offset_correlation")
    names = [("all", name) for name in whole] + [(region, "normal_error_deg") for region in REGIONS]
    names += [(scale, name) for scale in SCALES for name in (*bands, *more)]
    names += [(f"{region} {scale}", name) for region in REGIONS for scale in SCALES for name in bands]
    return pd.DataFrame(
        [
            ("tiny", item, 0, "all", method, "detail", condition, name, "", measure(method, condition, name, number))
            for method in methods
            for number, item in enumerate(items)
            for condition, name in names
        ],
        columns=["list", "item", "seed", "subset", "method", "diagnostic", "condition", "measure", "judge", "value"],
    )


@pytest.fixture
def evidence(make_evidence):
    return make_evidence(
        "detail", measures=measures(), seconds=lambda m, p: 12.0 if m == "fine_mesh" else 6.0 + noise(p)
    )


def test_it_says_what_offsets_and_resolution_do(evidence):
    found = answer(evidence)
    assert "Its offsets do not bring normals closer" in found.answer
    assert (
        "most in the region ears" in found.answer and "Of the ground truth's tilt it has 80 % at 4 mm" in found.answer
    )
    assert "with four times full's faces" in found.answer and "off by 0.05 mm" in found.answer
    verdicts = answers(found.statements).set_index("statement")["verdict"]
    assert verdicts["offsets bring an avatar's normals closer to the ground truth"] == "refuted"
    assert verdicts["full's normals are closer than the template's"] == "holds"
    assert verdicts["full's mesh holds the ground truth to within a tenth of full's error"] == "holds"
    assert verdicts["four times the faces bring the surface closer to the ground truth"] == "not shown"
    tables = {one.title: one.table for one in found.tables}
    assert tables["Resolution"]["method"].tolist() == ["coarse_mesh", "full", "fine_mesh", "oracle_coarse", "oracle"]
    assert tables["Detail by scale"].set_index("method").loc["full", "8 mm"] == pytest.approx(0.8)
    assert list(found.plots) == ["spectrum"]


@pytest.mark.parametrize("kept", [(), ("full",), ("full", "template"), ("template", "oracle_fine")])
def test_it_holds_with_some_of_the_methods(make_evidence, kept):
    absent = [name for name in METHODS if name not in kept]
    found = answer(make_evidence("detail", measures=measures(kept), without=absent))
    assert ("not measured" in found.answer) == ("full" not in kept)
    assert {"untestable"} <= set(answers(found.statements)["verdict"])
    for statement in found.statements:
        assert statement.n > 0 or "not measured" in statement.figure


def test_measures_that_are_not_defined_are_left_out(make_evidence):
    """Prompts without a ground-truth head: everything that needs one is NaN."""
    table = measures(("full",))
    table.loc[~table["measure"].isin(["detail_deg", "curvature_per_m"]), "value"] = np.nan
    found = answer(make_evidence("detail", measures=table, without=METHODS[1:]))
    assert found.answer.endswith("not measured.")


def test_the_page_shows_the_ground_truth_beside_each_method(tmp_path):
    folders = {}
    for method, colours in {"full": ("red", "blue"), "theirs": ("green", None)}.items():
        folder = tmp_path / method
        (folder / PICTURE).parent.mkdir(parents=True)
        sheet = Image.new("RGB", (128 if colours[1] else 64, 96), colours[0])
        if colours[1]:
            sheet.paste(colours[1], (64, 0, 128, 96))
        sheet.save(folder / PICTURE, quality=95)
        folders[method, "tiny", "a", 0] = folder
    page = normals_page(folders, ["full", "template", "theirs"])
    assert page is not None
    assert [axis.get_title(loc="center") for axis in page.axes] == ["ground truth", "full", "theirs"]
    shown = [axis.images[0].get_array()[80, 80].argmax() for axis in page.axes]
    assert shown == [2, 0, 1]  # blue, red, green
    assert normals_page({("full", "tiny", "a", 0): Path("nowhere")}, ["full"]) is None


def test_an_experiment_without_pictures_has_no_page(evidence):
    assert "normals" not in answer(replace(evidence, folders={})).plots
