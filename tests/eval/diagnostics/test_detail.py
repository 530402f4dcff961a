"""Detail of avatars: the ground truth is without error, offsets are told from shape, noise from true detail."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from avatargen.config.experiment import EvaluationSettings
from avatargen.config.loading import load_priors
from avatargen.geometry.types import HeadTopology
from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.appearance import make_appearance
from avatargen.headworld.phrases import described
from avatargen.io.avatar_file import Avatar
from avatargen.io.manifest import Row
from avatargen.render.warp import WarpRenderer
from eval.detail import Skin
from eval.diagnostics.detail import REGIONS, Detail, Heads, band_measures, pose, shape_measures, surface_mm
from eval.face_fit import FaceFitted
from eval.scale_space import WAVELENGTHS
from eval.views import RenderTools
from tests.eval.conftest import ResizePrior
from tests.eval.meshes import sheet, sphere

PROMPT = "a man with grey skin, a white mohawk and a long beard"
SETTINGS = EvaluationSettings()


@pytest.fixture(scope="module")
def head():
    return AnnyHead.load()


@pytest.fixture(scope="module")
def tools(head):
    """With a prior that this diagnostic does not use."""
    return RenderTools(head, WarpRenderer(head.topology), ResizePrior(), load_priors()["mini"], "anny", "warp")


@pytest.fixture(scope="module")
def truth(head):
    known = described(PROMPT, ())
    assert known is not None
    return make_appearance(head, known).parameters


def avatar_of(parameters):
    names = {"id": "x", "prompt": PROMPT, "seed": 0, "method": "mine", "head_id": "anny", "prior_id": "none"}
    return Avatar(**names, **parameters.first(), latent_texture=None, baked_texture=torch.ones(3, 8, 8))


def row_of(prompt=PROMPT):
    return Row(id="x", list="few", item="x", prompt=prompt, method="mine", folder="x")


def table(measures):
    found = {(one.condition, one.name): one.value for one in measures}
    assert len(found) == len(measures)
    return found


def heads_of(own, bare, true, faces):
    return Heads(Skin.of(faces, {"face": np.ones(len(own), bool)}), own, bare, true)


@pytest.mark.slow
def test_the_ground_truth_has_no_error_but_that_of_its_mesh(tools, truth):
    found = Detail().measure(avatar_of(truth), row_of(), tools, SETTINGS)
    values = table(found.measures)
    assert values["all", "normal_error_deg"] == pytest.approx(0, abs=0.05)
    assert values["all", "normal_error_bare_deg"] > 5  # mohawk and beard are offsets
    assert values["all", "curvature_correlation"] == pytest.approx(1, abs=1e-3)
    assert 0.02 < values["all", "surface_mm"] < 0.3  # against four times the faces
    assert 0.2 < values["all", "screen_normal_error_deg"] < 4 and values["all", "outline_iou"] > 0.99
    for scale in (f"{length:g} mm" for length in WAVELENGTHS):
        assert values[scale, "detail_deg"] == pytest.approx(values[scale, "true_detail_deg"], rel=1e-3)
        assert values[scale, "offset_correlation"] == pytest.approx(1, abs=1e-3)
        assert {(f"{region} {scale}", "detail_correlation") for region in REGIONS} <= values.keys()
    assert found.pictures["normals"].size == (2048, 1536) and not found.shown


@pytest.mark.slow
def test_a_head_without_ground_truth_has_its_own_spectrum(tools, head):
    found = Detail().measure(avatar_of(head.template(1)), row_of("a pirate"), tools, SETTINGS)
    values = table(found.measures)
    assert values["8 mm", "detail_deg"] > 1 and values["all", "curvature_per_m"] > 10
    assert np.isnan(values["all", "normal_error_deg"]) and np.isnan(values["all", "surface_mm"])
    assert not any(name.startswith("true_") for _, name in values)
    assert found.pictures["normals"].size == (1024, 1536)


def test_offsets_are_told_from_shape(head, truth):
    """A shift of all vertices is no error; without its offsets, a head lacks its mohawk and its beard."""
    known = described(PROMPT, ())
    vertices, heads = pose(head, replace(truth.neutral(), offsets=truth.offsets + 0.003), known)
    assert heads.true is not None
    assert np.abs(heads.own - heads.true).max() < 1e-2  # mm: a shift is no error
    assert np.abs(heads.bare - heads.true).max() > 20
    assert vertices.shape == truth.offsets.shape[1:]


def test_noise_on_top_of_the_truth_is_an_error_of_its_scale():
    """Bumps of 8 mm that the truth has not: offsets that add noise, in that band and no correlation."""
    flat, faces = sheet(lambda x, y: 0, size=64, count=97)
    bumpy, _ = sheet(lambda x, y: 0.05 * np.cos(2 * np.pi / 8 * x), size=64, count=97)
    true, _ = sheet(lambda x, y: 0.05 * np.cos(2 * np.pi / 8 * y), size=64, count=97)
    values = table(list(band_measures(heads_of(bumpy, flat, true, faces))))
    tilt = np.rad2deg(0.05 * 2 * np.pi / 8 / np.sqrt(2))
    assert values["8 mm", "detail_deg"] == pytest.approx(tilt, rel=0.1)  # the band fades at the borders
    assert values["8 mm", "detail_error_bare_deg"] == pytest.approx(values["8 mm", "true_detail_deg"])
    assert values["8 mm", "detail_error_deg"] == pytest.approx(np.sqrt(2) * values["8 mm", "detail_deg"], rel=0.05)
    assert values["8 mm", "offset_correlation"] == pytest.approx(0, abs=0.02)
    restored = table(list(band_measures(heads_of(true, flat, true, faces))))
    assert restored["8 mm", "offset_correlation"] == pytest.approx(1) and restored["8 mm", "detail_error_deg"] == 0


def test_curvature_of_a_sphere_is_reported_in_metres():
    small, faces = sphere(40.0, levels=3)
    values = table(list(shape_measures(heads_of(small, small, 1.25 * small, faces))))
    assert values["all", "curvature_per_m"] == pytest.approx(25, rel=0.01)
    assert values["all", "true_curvature_per_m"] == pytest.approx(20, rel=0.01)
    assert values["face", "normal_error_deg"] == pytest.approx(0, abs=1e-5)


def test_surfaces_of_other_meshes_are_compared(head):
    """Two spheres of 40 and 41 mm, of different triangles, lie 1 mm apart."""
    sides = []
    for radius, levels in ((0.040, 6), (0.041, 5)):
        points, faces = sphere(radius, levels)
        everything = {"skin": torch.ones(len(points), dtype=torch.bool)}
        index = torch.from_numpy(faces)
        sides += [torch.from_numpy(points).float(), HeadTopology(index, torch.zeros(len(points), 2), index, everything)]
    assert surface_mm(*sides) == pytest.approx(1, abs=0.05)


@pytest.mark.slow
def test_faces_shown_at_one_size_are_measured_in_millimetres(tools, truth):
    fitted = replace(tools, head=FaceFitted(tools.head, truth.shape[0]))
    found = table(Detail().measure(avatar_of(truth), row_of(), fitted, SETTINGS).measures)
    assert found["all", "normal_error_deg"] == pytest.approx(0, abs=0.05) and found["all", "surface_mm"] < 0.3
