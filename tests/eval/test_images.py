"""What decides how avatars are shown, in the protocol of every score."""

import json

import pytest

from avatargen.config.experiment import EvaluationSettings
from avatargen.config.settings import PriorSettings
from eval import images
from eval.images import KINDS_OF_TRACK, TRACKS, of_track, view_protocol

SETTINGS = EvaluationSettings()
PRIOR = PriorSettings(path="a/hub-id")
CHANGES = {
    "views": 4,
    "elevation": 0.0,
    "distance": 2.0,
    "target_height": 0.1,
    "fov": 30.0,
    "widest_fov": 40.0,
    "fit": "face",
    "size": 64,
    "samples": 1,
    "background": (1.0, 1.0, 1.0),
    "noise_draws": 0,
}


def test_every_setting_that_shapes_images_is_in_the_protocol():
    changed = {name: SETTINGS.model_copy(update={name: value}) for name, value in CHANGES.items()}
    seen = [view_protocol(settings, PRIOR, "anny", "warp") for settings in (SETTINGS, *changed.values())]
    assert len({json.dumps(of_track(protocol, "geometry")) for protocol in seen}) == 1 + len(CHANGES)
    turntable = set(EvaluationSettings.model_fields) - set(CHANGES)
    assert turntable == {"turntable_frames", "turntable_size"}  # which no judge sees


def test_head_and_renderer_are_in_the_protocol():
    seen = {json.dumps(view_protocol(SETTINGS, PRIOR, *names)) for names in (("anny", "warp"), ("anny", "pytorch3d"))}
    assert len(seen | {json.dumps(view_protocol(SETTINGS, PRIOR, "flame", "warp"))}) == 3


@pytest.mark.parametrize("change", [{"latent_size": 32}, {"samples": 4}, {"path": "other/hub-id"}, {"vae": "a/vae"}])
def test_latents_are_in_the_protocol_of_colour_tracks(change):
    one, other = (view_protocol(SETTINGS, prior, "anny", "warp") for prior in (PRIOR, PRIOR.model_copy(update=change)))
    differ = [track for track in TRACKS if of_track(one, track) != of_track(other, track)]
    assert differ == ["texture", "shape_in_colour"]


def test_clay_of_two_kinds_of_prior_has_one_protocol():
    other = PRIOR.model_copy(update={"kind": "kandinsky"})
    one, other = (view_protocol(SETTINGS, prior, "anny", "warp") for prior in (PRIOR, other))
    assert one["latents"]["code"] != other["latents"]["code"]
    assert of_track(one, "geometry") == of_track(other, "geometry")


def test_render_code_is_in_the_protocol(monkeypatch):
    before = view_protocol(SETTINGS, PRIOR, "anny", "warp")
    asked = []
    monkeypatch.setattr(images, "code_hash", lambda modules: asked.append(modules) or "other")
    after = view_protocol(SETTINGS, PRIOR, "anny", "warp")
    assert before["code"] != after["code"] == "other" == after["latents"]["code"] != before["latents"]["code"]
    assert {module for modules in asked for module in modules} == {
        "eval.views",
        "avatargen.heads.anny.head",
        "avatargen.render.warp",
        "avatargen.priors.stable_diffusion",
    }


def test_both_colour_tracks_show_the_same_images():
    assert tuple(KINDS_OF_TRACK) == TRACKS
    assert KINDS_OF_TRACK["texture"] == KINDS_OF_TRACK["shape_in_colour"] == ("texture", "baked")
