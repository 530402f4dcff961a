"""Heads have the shapes and colours that their attributes name."""

import numpy as np
import pytest
import torch

from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.appearance import make_appearance
from avatargen.headworld.attributes import Attributes
from avatargen.headworld.paint import HAIR, IRIS, MATERIAL, SKIN, paint
from avatargen.headworld.truth import true_head
from avatargen.headworld.volumes import template_points, volumes


@pytest.fixture(scope="module")
def head():
    return AnnyHead.load()


def lift(head, **attributes):
    """Return how far each vertex of a template head is displaced, mm."""
    return 1000 * volumes(head, Attributes(**attributes), head.template(1))[0].norm(dim=1)


def painted(head, region, **attributes):
    """Return the mean colour of the inside of a region."""
    inside = head.region_weights[region] > 0.95
    return paint(head, Attributes(**attributes))[inside].mean(0)


@pytest.mark.parametrize(("hair", "least", "most"), [("bald", 0, 0), ("short", 8, 12), ("afro", 30, 40)])
def test_hair_stands_off_the_scalp_and_nothing_else_moves(head, hair, least, most):
    moved = lift(head, hair=hair)
    top = moved[head.region_weights["scalp"] > 0.95]
    assert least <= top.median() <= most
    assert moved[head.region_weights["scalp"] == 0].max() == 0


def test_a_mohawk_is_a_crest_in_the_middle(head):
    moved, x = lift(head, hair="mohawk"), template_points(head)[:, 0].abs()
    scalp = head.region_weights["scalp"] > 0.95
    assert moved[scalp & (x < 0.005)].median() > 30 and moved[scalp & (x > 0.05)].max() < 1


@pytest.mark.parametrize(
    ("attributes", "region"),
    [({"beard": "long"}, "beard"), ({"beard": "moustache"}, "moustache"), ({"feature": "pointed ears"}, "ears")],
)
def test_volumes_are_where_their_name_says(head, attributes, region):
    extra = (lift(head, **attributes) - lift(head)).abs()
    assert extra.max() > 5
    assert extra[head.region_weights[region] == 0].max() < 1e-4


def test_horns_are_two_and_symmetric(head):
    extra, points = lift(head, feature="horns", hair="bald"), template_points(head)
    left, right = (extra * (points[:, 0] * side > 0) for side in (1, -1))
    assert 30 < left.max() < 55 and left.max() == pytest.approx(right.max().item(), abs=2)
    assert abs(points[left.argmax(), 0] + points[right.argmax(), 0]) < 0.006


def test_colours_are_where_they_belong(head):
    head_of = {"skin": "green", "hair_colour": "pink", "eyes": "red"}
    assert torch.allclose(painted(head, "scalp", **head_of), torch.tensor(HAIR["pink"]), atol=0.02)
    assert torch.allclose(painted(head, "nose", **head_of), torch.tensor(SKIN["green"]), atol=0.05)
    assert (
        painted(head, "iris", **head_of) - torch.tensor(IRIS["red"])
    ).abs().max() < 0.25  # the region includes the pupil
    assert torch.allclose(painted(head, "scalp", skin="green", hair="bald"), torch.tensor(SKIN["green"]), atol=0.05)


def test_a_statue_is_of_one_material(head):
    colours = paint(head, Attributes(material="gold", hair_colour="pink"))
    gold = torch.tensor(MATERIAL["gold"])
    hue = colours / colours.norm(dim=1, keepdim=True)
    assert (hue @ (gold / gold.norm())).min() > 0.99


def test_only_a_generator_makes_individuals_differ(head):
    attributes = Attributes(age="old", hair="bun")
    one, same = make_appearance(head, attributes), make_appearance(head, attributes)
    assert torch.equal(one.parameters.shape, same.parameters.shape) and torch.equal(one.colours, same.colours)
    rng = np.random.default_rng(0)
    first, second = make_appearance(head, attributes, rng), make_appearance(head, attributes, rng)
    low, high = head.shape_bounds
    assert (first.parameters.shape - second.parameters.shape).abs().max() > 0.02
    assert ((first.parameters.shape >= low) & (first.parameters.shape <= high)).all()


def test_extremes_are_far_from_the_template(head):
    template = head.vertices(head.template(1))[0]
    skin = head.topology.regions["skin"]

    def far(**attributes):
        shape = make_appearance(head, Attributes(hair="bald", **attributes)).parameters
        return 1000 * (head.vertices(shape)[0] - template)[skin].norm(dim=1).mean()

    plain = far()
    for attributes in ({"weight": "fat"}, {"weight": "thin"}, {"age": "baby"}, {"feature": "wide jaw"}):
        assert far(**attributes) > plain + 0.3, attributes


class Abroad(AnnyHead):
    """A head on a device that shares no tensors with the CPU; `to` loads it again."""

    def to(self, device):
        return AnnyHead.load().to(device)


def test_ground_truth_head_is_made_on_the_cpu(head):
    abroad = Abroad(**vars(head.to("meta")))
    here, there = (true_head("an old man with horns and war paint", (), model) for model in (head, abroad))
    assert torch.equal(here.texture, there.texture)
    assert torch.equal(here.parameters.shape, there.parameters.shape)
    assert torch.equal(here.parameters.offsets, there.parameters.offsets)
