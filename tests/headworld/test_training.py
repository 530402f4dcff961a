"""What the trainings of the shipped models rest on: schedule, resumption, labels, weights, hard negatives."""

import numpy as np
import pytest
import torch
from torch import nn

from avatargen.headworld.attributes import VALUES, Attributes, sample
from avatargen.headworld.phrases import caption, parse
from avatargen.headworld.pools import swaps
from avatargen.headworld.train_judge import augment, contrastive, swapped_tokens
from avatargen.headworld.train_prior import BACKGROUND, DETAIL, loss_weights
from avatargen.headworld.train_text import TARGETS, corpus
from avatargen.headworld.training import Budget, Trainer


def test_rate_rises_stays_and_falls_to_zero():
    budget = Budget(steps=1000, batch=1, lr=2.0, warmup=100)
    assert budget.rate(0) == pytest.approx(0.02)
    assert budget.rate(100) == budget.rate(750) == 2.0
    assert budget.rate(875) == pytest.approx(1.0)
    assert 0 < budget.rate(999) < 0.01


def train(folder, steps, upto):
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    trainer = Trainer("line", folder, {"model": model}, Budget(steps, 4, 0.1, warmup=2), save_every=5)

    def loss(step):
        if step == upto:
            raise KeyboardInterrupt
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        return (model(x) - x.sum(1, keepdim=True)).square().mean()

    trainer.run(loss)
    return model.weight.detach()


def test_an_interrupted_training_ends_with_the_same_bits(tmp_path):
    whole = train(tmp_path / "whole", 20, None)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", 20, 13)
    assert torch.equal(train(tmp_path / "cut", 20, None), whole)


def test_labels_of_captions_are_what_the_captions_say():
    lines, labels = corpus(200, seed=5)
    names = list(TARGETS)
    for line, row in zip(lines, labels.tolist(), strict=True):
        said = dict(zip(names, row, strict=True))
        text, view = line.rsplit(", ", 1) if line.endswith("view") else (line, "")
        head = parse(text)
        assert head is not None
        assert TARGETS["view"][said["view"]] == view
        assert {name: VALUES[name][said[name]] for name in VALUES} == {name: getattr(head, name) for name in VALUES}


def test_the_loss_weighs_the_head_and_its_rim_most():
    coverage = np.zeros((2, 128, 128), np.uint8)
    coverage[0, 40:80, 40:80] = 255
    landmarks = np.full((2, 6, 2), -1.0, np.float32)
    landmarks[0] = np.array((12.5, 17.5)) / 16 - 1  # column and row of the middle of a latent pixel
    weights = loss_weights(coverage, 32, landmarks)
    assert weights.shape == (2, 1, 32, 32)
    assert weights[0, 0, 17, 12] == 1 + DETAIL
    assert (weights[0, 0, 9:15, 9:21] == 1).all() and (weights[0, 0, 17, 15:21] == 1).all()
    assert weights[0, 0, 0, 0] == BACKGROUND and (weights[1, 0, 3:] == BACKGROUND).all()
    mirrored = loss_weights(coverage[:, :, ::-1], 32, landmarks * np.array((-1, 1), np.float32))
    assert torch.equal(mirrored[:1, ..., 1:-1], weights[:1].flip(3)[..., 1:-1])


def test_changes_of_a_shape_caption_are_of_shape():
    rng = np.random.default_rng(0)
    for _ in range(30):
        head = parse(caption(sample(rng), colours=False))
        for changed in swaps(head, rng, 3, colours=False):
            other = parse(caption(changed, colours=False))
            assert other == other.shape_only() != head


def test_changed_captions_are_worded_as_freely_as_others():
    seen = []
    own = caption(Attributes(hair="mohawk", beard="full", feature="horns", skin="green"))
    swapped_tokens([own], lambda texts: seen.extend(texts) or torch.zeros(len(texts), 4), seed=0)
    canonical = sum(text == caption(parse(text)) for text in seen)
    assert own not in seen and 0 < canonical < len(seen)


def test_an_image_is_pulled_to_its_caption_and_from_the_changed_one():
    def loss(images):
        return contrastive(images, torch.eye(4), torch.tensor(50.0), torch.tensor([[0], [1], [2], [3]]))

    assert loss(torch.eye(4)[:2]) < 1e-6
    assert loss(torch.eye(4)[:2].roll(1, 0)) > 10
    assert loss(torch.eye(4)[2:]) > 10  # each image looks like its changed caption


def test_augmented_pictures_keep_the_head_and_change_the_background():
    image = np.zeros((1, 128, 128, 4), np.uint8)
    image[:, 40:88, 40:88] = (0, 255, 0, 255)
    corners = torch.tensor([[[40.5, 40.5], [87.5, 87.5]]]) / 64 - 1  # its first pixel's centre and its last's
    pairs = [augment(image, corners, np.random.default_rng(seed)) for seed in range(6)]
    made = torch.cat([pixels for pixels, _ in pairs])
    assert made.shape == (6, 3, 128, 128) and made.min() >= 0 and made.max() <= 1
    green = (made[:, 1] > 0.8) & (made[:, 0] < 0.05) & (made[:, 2] < 0.05)
    assert ((green.sum((1, 2)) > 48**2 / 1.1**2 * 0.9) & (green.sum((1, 2)) < 48**2 / 0.75**2 * 1.1)).all()
    assert len(made[:, :, 0, 0].unique(dim=0)) == 6
    for inside, (_, moved) in zip(green, pairs, strict=True):
        rows, columns = inside.nonzero().T
        edges = torch.tensor([[columns.min(), rows.min()], [columns.max(), rows.max()]])
        assert ((moved[0] + 1) * 64 - 0.5 - edges).abs().max() < 1
