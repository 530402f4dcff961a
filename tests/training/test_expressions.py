"""The training of the reader of expressions: its data, and a loss that falls."""

import numpy as np
import torch

from avatargen.config.places import ROOT
from avatargen.config.prompts import read_list
from avatargen.headworld.appearance import EXPRESSION
from avatargen.headworld.attributes import held_out
from avatargen.headworld.phrases import described
from avatargen.priors.expression_reader import ReaderNetwork
from avatargen.priors.gradient_histograms import gradient_histograms
from avatargen.training.train_expressions import (
    ACTIONS,
    TABLE,
    ExpressionLoss,
    Faces,
    draw_face,
    over_backgrounds,
    varied,
)


def test_faces_are_drawn_without_held_out_combinations():
    rng = np.random.default_rng(3)
    drawn = [draw_face(rng) for _ in range(200)]
    counts = [sum(head.expression == name for head in drawn) for name in EXPRESSION]
    assert not any(any(held_out(head)) for head in drawn)
    assert min(counts) > 20  # of 40 expected
    prompts = [item for name in ("embedded", "extreme", "study") for item in read_list(ROOT / f"prompts/{name}.tsv")]
    assert not {described(item.prompt, item.tags) for item in prompts} & set(drawn)


def test_the_table_holds_each_expressions_actions():
    jaw = ACTIONS.index("jawOpen")
    assert TABLE[list(EXPRESSION).index("open mouth"), jaw] == EXPRESSION["open mouth"]["jawOpen"]
    assert not TABLE[list(EXPRESSION).index("neutral")].any()


def test_faces_over_backgrounds_keep_their_colours():
    images = np.zeros((1, 2, 2, 4), np.uint8)
    images[0, 0, 0] = (10, 20, 30, 255)
    seen = over_backgrounds(Faces(images, np.zeros(1, int), ["a man"]), np.random.default_rng(0))
    assert seen[0, :, 0, 0].tolist() == [10, 20, 30]
    assert torch.equal(seen[0, :, 0, 1], seen[0, :, 1, 1]) and seen[0, :, 1, 1].sum() > 0


def test_varied_faces_differ_and_stay_images():
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    made = varied(images, torch.Generator().manual_seed(1))
    assert made.min() >= 0 and made.max() <= 1 and not torch.equal(made, images)
    assert torch.equal(made, varied(images, torch.Generator().manual_seed(1)))


def test_a_network_learns_what_histograms_tell():
    """Five gratings stand for the five expressions."""
    waves = torch.arange(128.0)
    made = [torch.sin(waves[:, None] * np.sin(a) + waves * np.cos(a)) for a in np.linspace(0, 2.5, len(EXPRESSION))]
    seen = gradient_histograms(torch.stack(made)[:, None].expand(-1, 3, -1, -1) / 2 + 0.5)
    torch.manual_seed(0)
    network = ReaderNetwork(TABLE)
    loss = ExpressionLoss(seen, torch.arange(len(EXPRESSION)), 0, 10)
    optimiser, first = torch.optim.Adam(network.parameters(), 2e-3), loss(network, 0).item()
    for step in range(25):
        optimiser.zero_grad()
        value = loss(network, step)
        value.backward()
        optimiser.step()
    assert value.item() < 0.7 * first
    assert torch.equal(loss(network.eval(), 7), loss(network, 7))
