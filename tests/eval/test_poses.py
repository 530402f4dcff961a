"""Poses of the head models."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from avatargen.heads.anny.head import AnnyHead
from avatargen.heads.flame.arkit import NAMES
from avatargen.heads.flame.head import FlameHead
from eval.poses import GROUPS, POSES, posed
from eval.truth import HIDDEN, outside
from tests.small_flame import write_flame

BY_NAME = {pose.name: pose for pose in POSES}


@pytest.fixture(scope="module")
def anny() -> AnnyHead:
    return AnnyHead.load()


@pytest.fixture(scope="module")
def flame(tmp_path_factory) -> FlameHead:
    return FlameHead.load(write_flame(tmp_path_factory.mktemp("flame")))


def moved(head, pose, region):
    """Mean displacement of a region of the template."""
    rest = head.template(1)
    shift = (head.vertices(posed(head, rest, BY_NAME[pose])) - head.vertices(rest))[0]
    return shift[head.topology.regions[region]].mean(dim=0).tolist()


def test_names_are_arkits_and_unique():
    assert len(BY_NAME) == len(POSES) == 23 and GROUPS == ("face", "jaw", "gaze", "neck")
    assert len([pose for pose in POSES if pose.group == "face"]) == 12
    assert {name for pose in POSES for name in pose.actions} <= {*NAMES}


def test_anny_has_every_pose(anny):
    assert all(posed(anny, anny.template(1), pose) is not None for pose in POSES)


def test_flame_has_those_that_need_no_coefficients(flame):
    there = {pose.name for pose in POSES if posed(flame, flame.template(1), pose) is not None}
    joints = {pose.name for pose in POSES if pose.joint or pose.group == "gaze"}
    assert there == joints | {"jawOpen", "jawLeft"}
    opened, turned = (posed(flame, flame.template(1), BY_NAME[name]) for name in ("jawOpen", "jaw 25°"))
    assert torch.allclose(opened.joints, turned.joints)


@pytest.mark.parametrize(
    ("pose", "region", "axis", "sign"),
    [
        ("neck yaw +30°", "nose", 0, 1),
        ("neck yaw -30°", "nose", 0, -1),
        ("neck pitch +30°", "nose", 1, -1),
        ("neck pitch -30°", "nose", 1, 1),
        ("neck roll +30°", "scalp", 0, -1),
        ("neck roll -30°", "scalp", 0, 1),
        ("gaze left", "pupil", 0, 1),
        ("gaze right", "pupil", 0, -1),
        ("gaze up", "pupil", 1, 1),
        ("gaze down", "pupil", 1, -1),
        ("jaw 25°", "tongue", 1, -1),
        ("jawOpen", "tongue", 1, -1),
        ("mouthLeft", "lips", 0, 1),
        ("browInnerUp", "brows", 1, 1),
        ("browDown", "brows", 1, -1),
    ],
)
def test_poses_move_where_their_names_say(anny, pose, region, axis, sign):
    assert sign * moved(anny, pose, region)[axis] > 5e-4


def test_an_expression_of_its_own_is_set_aside(anny):
    rest = anny.template(1)
    smiling = replace(rest, expression=torch.full_like(rest.expression, 0.5), joints=torch.ones_like(rest.joints))
    for name in ("eyeBlink", "neck yaw +30°"):
        pose = BY_NAME[name]
        assert torch.equal(anny.vertices(posed(anny, smiling, pose)), anny.vertices(posed(anny, rest, pose)))


def test_twelve_movements_span_the_face(anny):
    """They move nine tenths of the outer surface that any of ARKit's 52 moves by more than 5 mm."""
    rest, surface = anny.template(1), outside(anny.topology, HIDDEN)

    def reached(parameters):
        return ((anny.vertices(parameters) - anny.vertices(rest))[0].norm(dim=-1) > 5e-3) & surface

    each = torch.eye(len(anny.expression_names))
    everything = torch.stack([reached(replace(rest, expression=row[None])) for row in each]).any(dim=0)
    ours = torch.stack([reached(posed(anny, rest, pose)) for pose in POSES if pose.group == "face"]).any(dim=0)
    assert (ours & everything).sum() > 0.9 * everything.sum() > 3000
