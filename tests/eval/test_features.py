"""Painted features on a head whose texture is shifted by known amounts, and outlines of a sphere."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.interpolate import griddata

from avatargen.config.experiment import EvaluationSettings
from avatargen.config.settings import PriorSettings
from avatargen.geometry.normals import area_normals
from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.appearance import make_appearance
from avatargen.headworld.attributes import Attributes
from avatargen.io.avatar_file import GREY, Avatar
from avatargen.priors import foreground
from avatargen.render.texel_map import build_texel_map
from avatargen.render.warp import WarpRenderer
from eval import diagnosis
from eval.diagnosis import prior_cameras
from eval.diagnostics import features as module
from eval.diagnostics.features import AZIMUTHS, Features, outline_fit
from eval.truth import INNER, outside
from eval.views import RenderTools
from tests.eval.conftest import ResizePrior

SETTINGS = EvaluationSettings(views=4, size=64)
PROMPT = "a woman with pale skin, blue eyes and red lipstick"
NAMES = ("right eye", "left eye", "nose", "mouth")


class SharpPrior(ResizePrior):
    """A prior whose latents are RGB in [-1, 1]."""

    downscale = 1

    def decode(self, latents):
        return latents / 2 + 0.5

    def encode(self, images):
        return 2 * images - 1


@pytest.fixture(scope="module", autouse=True)
def content():
    """A prior that changes nothing when it denoises."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(foreground, "denoise", lambda _prior, latents, *_: latents)
        yield


@pytest.fixture(scope="module")
def tools() -> RenderTools:
    head = AnnyHead.load()
    settings = PriorSettings(path="nowhere", latent_size=192, texture_size=32, samples=2)
    return RenderTools(head, WarpRenderer(head.topology), SharpPrior(), settings, "anny", "warp")


@pytest.fixture(scope="module")
def appearance(tools):
    attributes = Attributes(sex="woman", skin="pale", eyes="blue", paint="red lipstick")
    return make_appearance(tools.head, attributes)


def shifted(tools: RenderTools, appearance, right: float, down: float) -> torch.Tensor:
    """Texture whose colours of the face lie this many mm to the right and down on the surface, seen from the front."""
    head, colours = tools.head, appearance.colours
    vertices = head.vertices(appearance.parameters)[0]
    front = outside(head.topology, INNER) & (area_normals(vertices, head.topology.faces)[:, 2] > 0.2)
    front &= vertices[:, 2] > 0
    at = vertices[front, :2].numpy()
    wanted = at - [right / 1000, -down / 1000]
    moved = torch.from_numpy(griddata(at, colours[front].numpy(), wanted, "linear")).float()
    moved = torch.where(moved.isnan(), colours[front], moved)
    texels = build_texel_map(head.topology, 512)
    return texels.to_image(texels.gather(colours.index_put((front,), moved)))


def measured(tools, make_row, parameters, texture, tags=()) -> dict[tuple[str, str], float]:
    tensors = parameters.first()
    avatar = Avatar(
        "x", PROMPT, 0, "full", tools.head.id, "sharp", **tensors, latent_texture=None, baked_texture=texture
    )
    found = Features().measure(avatar, make_row(prompt=PROMPT, tags=tags), tools, SETTINGS)
    return {(measure.condition, measure.name): measure.value for measure in found.measures}


@pytest.mark.parametrize(("right", "down"), [(0.0, 0.0), (4.0, 0.0), (-3.0, 5.0)])
def test_shifts_of_a_true_texture_are_found(tools, make_row, appearance, right, down):
    """Each feature is found within half a millimetre of the shift; the nose has no colour of its own."""
    found = measured(tools, make_row, appearance.parameters, shifted(tools, appearance, right, down))
    for name in ("right eye", "left eye", "mouth"):
        assert found[name, "found"] == 1
        assert found[name, "offset_mm"] == pytest.approx(math.hypot(right, down), abs=0.5)


def test_direction_of_a_shift(tools, make_row, appearance, monkeypatch):
    places = {}
    keep = module.placements
    monkeypatch.setattr(module, "placements", lambda *some: places.update(keep(*some)) or places)
    measured(tools, make_row, appearance.parameters, shifted(tools, appearance, right=-3, down=5))
    assert (places["mouth"].right, places["mouth"].down) == pytest.approx((-3, 5), abs=0.5)


def test_in_place_falls_with_the_shift(tools, make_row, appearance):
    near, far = (
        measured(tools, make_row, appearance.parameters, shifted(tools, appearance, 0, down)) for down in (0, 6)
    )
    assert near["left eye", "in_place"] > 0.8 > 0.5 > far["left eye", "in_place"]


def test_grey_texture_shows_no_feature(tools, make_row, appearance):
    found = measured(tools, make_row, appearance.parameters, torch.full((3, 64, 64), GREY))
    for name in NAMES:
        assert found[name, "found"] == 0 and math.isnan(found[name, "offset_mm"])
        assert abs(found[name, "in_place"]) < 0.5


def test_closed_eyes_have_no_place(tools, make_row, appearance):
    closed = tools.head.expression_from(eyeBlinkLeft=1.0, eyeBlinkRight=1.0)[None]
    found = measured(tools, make_row, replace(appearance.parameters, expression=closed), torch.rand(3, 64, 64))
    assert ("left eye", "found") not in found and ("mouth", "found") in found


def test_prompt_without_a_ground_truth_head_has_outlines_alone(tools, make_row, appearance):
    found = measured(tools, make_row, appearance.parameters, torch.full((3, 64, 64), GREY), tags=("truth=none",))
    assert set(found) == {("", "outline_iou"), ("", "outline_mm")}


def sphere_fit(avatar, head, renderer, prior_settings):
    tools = RenderTools(head, renderer, ResizePrior(), prior_settings, "sphere", "warp")
    return outline_fit(avatar, tools, prior_cameras(tools, SETTINGS))


def test_outline_that_the_prior_keeps_fits(avatar, head, renderer, prior_settings):
    assert sphere_fit(avatar, head, renderer, prior_settings) == {"outline_iou": 1.0, "outline_mm": 0.0}


def test_outline_that_the_prior_widens(avatar, head, renderer, prior_settings, monkeypatch):
    """A prior that adds a frame of 8 of 64 pixels to the left: the overlap is what it was without."""
    added = torch.zeros(4, 1, 64, 64)
    added[..., :8] = 1.0
    monkeypatch.setattr(diagnosis, "foreground_change", lambda *_: added)
    fit = sphere_fit(avatar, head, renderer, prior_settings)
    tools = RenderTools(head, renderer, ResizePrior(), prior_settings, "sphere", "warp")
    cameras = prior_cameras(tools, SETTINGS)
    area = renderer.render(head.vertices(avatar.parameters()), cameras, 64, samples=2).coverage.sum((-2, -1)).mean()
    assert fit["outline_iou"] == pytest.approx(float(area / (area + 8 * 64)), abs=0.01)
    assert fit["outline_mm"] > 1


def test_views_hold_the_front():
    assert 0.0 in AZIMUTHS
