"""Every diagnostic of the table, on the ground-truth head of a prompt and on a mesh of another system."""

import math
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from avatargen.config.experiment import EvaluationSettings
from avatargen.config.loading import load_priors
from avatargen.config.places import ROOT
from avatargen.config.plugins import DIAGNOSTICS, load_class, module_of, summary
from avatargen.geometry.types import HeadTopology
from avatargen.headworld.truth import true_head
from avatargen.io.avatar_file import Avatar, as_stored
from avatargen.io.manifest import Row
from eval.diagnostics.base import Diagnostic
from eval.diagnostics.stage import check_measured
from eval.measures_section import UNITS
from eval.views import RenderTools
from tests.eval.conftest import uv_sphere

PROMPT = "a smiling old man with green skin and a white beard"
SETTINGS = EvaluationSettings(views=2, size=32, samples=1)
NAMES = sorted(DIAGNOSTICS)


@pytest.fixture(scope="module")
def tools() -> RenderTools:
    """The closed world's head, with the shipped prior."""
    return RenderTools.load("anny", "warp", load_priors()["mini"], ROOT)


@pytest.fixture(scope="module")
def row() -> Row:
    return Row(id="old-man-0", list="few", item="old-man", prompt=PROMPT, method="oracle", folder="nowhere")


@pytest.fixture(scope="module")
def truth(tools) -> Avatar:
    """What the method `oracle` makes."""
    head = true_head(PROMPT, (), tools.head)
    about = {"id": "old-man-0", "prompt": PROMPT, "seed": 0, "method": "oracle", "head_id": tools.head.id}
    texture = as_stored(head.texture)
    return Avatar(
        **about, **head.parameters.first(), prior_id=tools.prior.id, latent_texture=None, baked_texture=texture
    )


@pytest.fixture(scope="module")
def mesh() -> Avatar:
    """A ball of another system, without parameters."""
    vertices, topology = uv_sphere()
    topology = HeadTopology(topology.faces, topology.uvs, topology.face_uvs, {"skin": torch.ones(len(vertices)) > 0})
    none = torch.zeros(0)
    about = {"id": "ball-0", "prompt": PROMPT, "seed": 0, "method": "theirs", "head_id": "mesh", "prior_id": ""}
    geometry = {"shape": none, "expression": none, "joints": torch.zeros(0, 3), "offsets": vertices}
    picture = torch.full((3, 16, 16), 0.4)
    return Avatar(**about, **geometry, latent_texture=None, baked_texture=picture, topology=topology)


def diagnostic_of(name: str) -> Diagnostic:
    if find_spec(module_of(DIAGNOSTICS[name])) is None:
        pytest.skip(f"{name} has no module")
    return load_class("diagnostic", name, DIAGNOSTICS)()


@pytest.mark.parametrize("name", NAMES)
def test_finds_something_on_a_ground_truth_head(name, tools, row, truth):
    found = diagnostic_of(name).measure(truth, row, tools, SETTINGS)
    check_measured(found)
    assert found.measures or found.shown
    _check(name, found)


@pytest.mark.parametrize("name", NAMES)
def test_mesh_of_another_system_is_no_error(name, tools, row, mesh):
    """What needs our head model is left out, or not defined."""
    found = diagnostic_of(name).measure(
        mesh, row.model_copy(update={"method": "theirs"}), tools.fitting(mesh), SETTINGS
    )
    check_measured(found)
    _check(name, found)


@pytest.mark.parametrize("name", NAMES)
def test_a_line_says_what_it_measures(name):
    diagnostic = diagnostic_of(name)
    assert isinstance(diagnostic, Diagnostic)
    assert 20 < len(summary(DIAGNOSTICS[name])) < 120


def _check(name, found):
    text = import_module(module_of(DIAGNOSTICS[name])).__doc__
    for measure in found.measures:
        assert measure.name == measure.name.lower().strip() and " " not in measure.name
        units = [part for part in measure.name.split("_")[:-1] if part in set(UNITS) - {"s"}]
        assert not units, f"{measure.name}: a unit is the end of a name"
        assert math.isfinite(measure.value) or "NaN" in text, f"{measure.name}: not defined, and NaN is not documented"
    for views in found.shown.values():
        assert views.dtype == np.uint8 and views.ndim == 4 and views.shape[-1] == 3
