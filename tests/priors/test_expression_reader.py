"""The shipped reader tells the expressions of faces that nothing was fitted to; readers that cannot be loaded."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from avatargen.config.errors import InputError
from avatargen.config.loading import load_priors
from avatargen.config.places import ROOT
from avatargen.config.settings import ReaderSettings
from avatargen.geometry.cameras import FACE, evaluation_cameras
from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.appearance import EXPRESSION, make_appearance
from avatargen.headworld.attributes import sample_test
from avatargen.priors.base import load_prior
from avatargen.priors.expression_reader import ReaderNetwork, SmallReader, load_reader
from avatargen.render.warp import WarpRenderer
from avatargen.training.rendering import render_lit, stack
from avatargen.training.train_expressions import ACTIONS, Faces, over_backgrounds
from tests.small_reader import ACTIONS as SMALL
from tests.small_reader import write_reader

EACH = 6
"""Heads of each expression."""


@pytest.fixture(scope="module")
def prior():
    return load_prior(load_priors()["mini"], ROOT)


def shown(expression: str) -> torch.Tensor:
    return torch.tensor([EXPRESSION[expression].get(name, 0.0) for name in ACTIONS])


@pytest.fixture(scope="module")
def faces():
    """Held-out heads, EACH with every expression in turn, seen from the front."""
    head, rng = AnnyHead.load(), np.random.default_rng(7)
    renderer = WarpRenderer(head.topology, head.canonical(head.shape_template[None])[0])
    drawn = [sample_test(rng) for _ in range(EACH)]
    made = [make_appearance(head, replace(each, expression=name)) for name in EXPRESSION for each in drawn]
    cameras = evaluation_cameras(len(made), 1, elevation=5.0, distance=1.2, fov=11.0, target=FACE)
    parameters, colours = stack(made)
    light = torch.tensor([0.2, 0.4, 0.9]).expand(len(made), 1, 3)
    with torch.no_grad():
        vertices = head.vertices(parameters)
    count = len(made)
    images = render_lit(renderer, vertices, colours, cameras, light, np.zeros(count, bool), np.full((count, 1), 0.8))
    return over_backgrounds(Faces(images[:, 0], np.zeros(count), []), np.random.default_rng(0)).float() / 255


def test_the_shipped_reader_tells_expressions_of_held_out_heads(prior, faces):
    """Chance is one in five."""
    reader = load_reader(load_priors()["mini"].reader, ROOT, prior)
    assert isinstance(reader, SmallReader) and reader.actions == ACTIONS
    read = reader.read(prior.encode(faces)[:, None])
    nearest = (read[:, None] - torch.stack([shown(name) for name in EXPRESSION])).norm(dim=-1).argmin(1)
    right = (nearest.view(-1, EACH) == torch.arange(len(EXPRESSION))[:, None]).float().mean()
    assert right >= 0.7
    jaw, blink = (read[:, ACTIONS.index(name)].view(-1, EACH).mean(1) for name in ("jawOpen", "eyeBlinkLeft"))
    assert jaw.argmax() == list(EXPRESSION).index("open mouth") and jaw.max() > 0.5
    assert blink.argmax() == list(EXPRESSION).index("sleeping") and blink.max() > 0.5


def test_a_reader_reads_each_face_on_its_own(prior, tmp_path):
    reader = load_reader(write_reader(tmp_path), tmp_path, prior)
    assert reader is not None and reader.actions == SMALL
    latents = torch.randn(3, 2, prior.latent_channels, 16, 16, generator=torch.Generator().manual_seed(0))
    read = reader.read(latents)
    assert read.shape == (3, len(SMALL)) and read.min() >= 0 and read.max() <= 1
    assert torch.allclose(read[1:2], reader.read(latents[1:2]), atol=1e-5) and not torch.equal(read[0], read[1])


def test_the_more_faces_are_expected_without_expression_the_weaker_an_unclear_one_is_read(prior, tmp_path):
    """With a third expected neutral, of three expressions, the reader's own probabilities count as they are."""
    settings = write_reader(tmp_path)
    latents = torch.randn(2, 3, prior.latent_channels, 16, 16, generator=torch.Generator().manual_seed(0))
    read = [
        SmallReader.load(settings.model_copy(update={"neutral": neutral}), tmp_path, prior).read(latents)
        for neutral in (1 / 3, 0.5, 0.99)
    ]
    network = ReaderNetwork(torch.zeros(3, 3)).eval()
    network.load_state_dict({name: value.float() for name, value in load_file(settings.path).items()})
    with torch.no_grad():
        seen = network.seen(prior.decode(latents.flatten(0, 1)).float()).view(2, 3, -1).mean(1)
    assert torch.allclose(read[0], seen.softmax(1) @ network.expressions, atol=1e-5)
    odds = seen.exp() * torch.tensor([0.5, 0.25, 0.25])
    assert torch.allclose(read[1], odds / odds.sum(1, keepdim=True) @ network.expressions, atol=1e-5)
    assert (read[0] > read[1]).all() and (read[1] > read[2]).all() and read[2].max() < 0.05


@pytest.mark.parametrize("spoil", ["missing", "damaged", "other"])
def test_a_reader_that_cannot_be_loaded_is_one_error(prior, tmp_path, spoil):
    settings = write_reader(tmp_path)
    file = tmp_path / "reader.safetensors"
    if spoil == "missing":
        file.unlink()
    elif spoil == "damaged":
        file.write_bytes(file.read_bytes()[:50])
    else:
        save_file({"weight": torch.zeros(1)}, file, metadata={"actions": "[]"})
    with pytest.raises(InputError, match=r"reader: cannot load .*avatargen train expressions"):
        load_reader(settings, tmp_path, prior)


def test_an_unknown_kind_of_reader_is_named(prior, tmp_path):
    with pytest.raises(InputError, match="small"):
        load_reader(ReaderSettings(kind="smal", path="x"), tmp_path, prior)
