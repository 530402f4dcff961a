"""The clip that shows life: its weights over time."""

import numpy as np
import pytest

from avatargen.exchange.gltf_clips import SECONDS, demo_clip, demo_tracks

NAMES = ("eyeBlinkLeft", "jawOpen", "browInnerUp", "eyeLookOutLeft", "tongueOut")
REST = (0.0, 0.5, 0.25, 0.0, 0.0)


@pytest.fixture
def keys():
    arrays = []

    def add(array):
        arrays.append(array)
        return len(arrays) - 1

    clip = demo_clip(NAMES, REST, 0, add)
    (channel,), (sampler,) = clip["channels"], clip["samplers"]
    assert channel["target"] == {"node": 0, "path": "weights"}
    times = arrays[sampler["input"]]
    return times, arrays[sampler["output"]].reshape(len(times), len(NAMES))


def at(keys, name, second):
    return np.interp(second, keys[0], keys[1][:, NAMES.index(name)])


def test_it_begins_and_ends_as_the_avatar_is(keys):
    assert np.allclose(keys[1][0], REST) and np.allclose(keys[1][-1], REST)
    assert keys[0][0] == 0 and keys[0][-1] == SECONDS and (np.diff(keys[0]) > 0).all()


def test_it_blinks_looks_and_talks(keys):
    assert at(keys, "eyeBlinkLeft", 0.5) == pytest.approx(1) and at(keys, "eyeBlinkLeft", 2.0) == pytest.approx(0)
    assert at(keys, "eyeLookOutLeft", 1.2) == pytest.approx(0.8)
    assert at(keys, "jawOpen", 2.65) == pytest.approx(0.5 + 0.5 * 0.3)  # viseme E, on top of the avatar's own
    assert at(keys, "tongueOut", 2.8) == pytest.approx(0.2)  # viseme nn


def test_other_shapes_keep_their_weight(keys):
    assert np.allclose(keys[1][:, NAMES.index("browInnerUp")], 0.25) and keys[1].min() >= 0 and keys[1].max() <= 1


def test_a_head_without_named_shapes_has_no_clip():
    assert demo_clip(("expression001",), (0.0,), 0, len) is None


def test_tracks_increase_in_time():
    for knots in demo_tracks().values():
        seconds = [second for second, _ in knots]
        assert seconds == sorted(set(seconds)) and knots[0][1] == knots[-1][1] == 0
