"""The reader of latents, and how the prior learns from it."""

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import nn
from torch.nn import functional as F

from avatargen.headworld.attributes import Attributes
from avatargen.headworld.phrases import caption
from avatargen.training.dataset import Renders
from avatargen.training.prior_batches import Samples, Shown
from avatargen.training.prior_loss import MISREAD, TAKEN, WEIGHTS, PriorLoss, Reading
from avatargen.training.prior_parts import build_scheduler
from avatargen.training.train_reader import Answers, Reader, ReaderLoss, answers_of, family_loss, misread
from avatargen.training.train_text import TARGETS
from tests.small_prior import write_pipeline

SIGNAL = build_scheduler().alphas_cumprod
SIZES = [len(options) for options in TARGETS.values()]


def sure(labels, scale=20.0):
    """Return logits that name the labels (B, targets)."""
    return tuple(scale * F.one_hot(row, size).float() for row, size in zip(labels.T, SIZES, strict=True))


def test_a_reader_names_every_target_and_places_landmarks():
    reader = Reader().eval()
    logits, (places, displaced) = reader(torch.randn(3, 4, 32, 32), SIGNAL[torch.tensor([0, 50, 120])])
    assert [tuple(part.shape) for part in logits] == [(3, size) for size in SIZES]
    assert places.shape == (3, 96, 2) and displaced.shape == (3, 96, 3)
    assert sum(p.numel() for p in reader.parameters()) == pytest.approx(2.9e6, rel=0.02)


def test_families_are_told_apart_by_what_they_differ_in():
    labels = torch.zeros(4, len(TARGETS), dtype=torch.long)
    labels[1, 9], labels[2, 10] = 1, 2
    labels[3] = labels[0]  # two that look alike cannot be told apart
    right = family_loss(sure(labels), labels, 4)
    assert right == pytest.approx(np.log(2) / 2, abs=1e-5)
    nothing = tuple(torch.zeros(4, size) for size in SIZES)
    assert family_loss(nothing, labels, 4) == pytest.approx(np.log(4))
    mistaken = family_loss(sure(labels.roll(1, 0)), labels, 4)
    assert mistaken > 10
    two = family_loss(tuple(part.repeat(2, 1) for part in sure(labels)), labels.repeat(2, 1), 4)
    assert two == pytest.approx(right.item())


def test_what_the_true_image_hides_is_not_missed():
    labels = torch.zeros(1, len(TARGETS), dtype=torch.long)
    other = labels.clone()
    other[0, 9] = 1
    unseen = [*sure(labels)]
    unseen[9] = torch.zeros(1, SIZES[9])
    weights = [1.0] * len(TARGETS)
    assert misread(sure(labels), sure(labels), weights) == pytest.approx(0)
    assert misread(sure(labels), sure(other), weights) == pytest.approx(20, rel=0.01)
    assert misread(tuple(unseen), tuple(unseen), weights) == pytest.approx(0)
    weights[9] = 2.0
    assert misread(sure(labels), sure(other), weights) == pytest.approx(40, rel=0.01)


def drawn(latents, target, pairs, untold=None):
    """Return a step's batch, of which only latents, target and captions matter to a reader."""
    count = len(latents)
    untold = torch.zeros(count, dtype=torch.bool) if untold is None else untold
    t, tokens = torch.zeros(count).long(), torch.zeros(count, 8).long()
    return Shown(torch.arange(count), pairs, latents, target, latents, t, SIGNAL[t], tokens, untold)


class Colours(nn.Module):
    """Reads the expression from the first channel's mean, all else as value 0."""

    def forward(self, latents, signal):
        labels = torch.zeros(len(latents), len(TARGETS), dtype=torch.long)
        logits = [*sure(labels)]
        level = latents[:, 0].mean((1, 2))
        logits[9] = torch.stack([-10 * level, 10 * level, *[torch.full_like(level, -30.0)] * 3], 1)
        return tuple(logits), None


def test_estimates_cost_what_is_missed_and_gain_nothing_more():
    """An estimate beyond the truth costs as much as the truth."""
    target = torch.zeros(4, 4, 32, 32)
    target[:, 0] = torch.tensor([1.0, -1, -1, 1]).view(4, 1, 1)  # two pairs: told, then their own
    labels = torch.zeros(4, len(TARGETS), dtype=torch.long)
    labels[:, 9] = torch.tensor([1, 0, 0, 1])
    reading = Reading(Colours(), labels, SIGNAL, seed=0)

    def loss(estimate, **changes):
        return reading(estimate, drawn(estimate, target, 2, **changes), 0).item()

    right, wrong, beyond = loss(target), loss(-target), loss(3 * target)
    assert right == pytest.approx(0, abs=1e-3)
    share = WEIGHTS[9] / len(TARGETS)  # the expression's
    assert wrong > MISREAD * 15 * share + TAKEN * 15
    assert beyond == pytest.approx(right, abs=1e-2)
    untold = torch.ones(4, dtype=torch.bool)
    assert loss(-target, untold=untold) == pytest.approx(wrong - MISREAD * 20 * share, rel=0.05)


def test_reading_moves_an_estimate_to_its_caption():
    target = torch.zeros(2, 4, 32, 32)
    target[:, 0] = torch.tensor([1.0, -1]).view(2, 1, 1)
    labels = torch.zeros(2, len(TARGETS), dtype=torch.long)
    labels[0, 9] = 1
    estimate = torch.zeros(2, 4, 32, 32, requires_grad=True)
    Reading(Colours(), labels, SIGNAL, seed=0)(estimate, drawn(estimate.detach(), target, 1), 0).backward()
    assert (estimate.grad[0, 0] < 0).all() and (estimate.grad[1, 0] > 0).all()
    assert not estimate.grad[:, 1:].any()


def test_answers_are_mirrored_with_each_copy():
    points = np.array([[[0.5, 0.1]], [[-0.2, 0.3]]], np.float32)
    moved = np.array([[[0.0, 0.0, 1.0]], [[0.0, 0.0, 3.0]]], np.float32)
    texts = [caption(Attributes(expression="angry")), caption(Attributes(hair="bun"))]
    views, angles = ["close 45 left view", "back view"], np.array([45.0, 180.0])
    renders = Renders(np.zeros((2, 2, 2, 4), np.uint8), texts, views, angles, np.arange(2), points, moved)
    answers = answers_of(renders, [False, True])
    names = list(TARGETS)
    assert [TARGETS["expression"][k] for k in answers.labels[:, names.index("expression")]] == ["angry", "neutral"] * 2
    said = [TARGETS["view"][k] for k in answers.labels[:, names.index("view")]]
    assert said == [*views, "close 45 right view", "back view"]
    assert answers.landmarks[2, 0].tolist() == pytest.approx([-0.5, 0.1])
    assert answers.azimuths.tolist() == [45.0, 180.0] * 2
    assert answers.mirrored.tolist() == [False, False, True, True]


def test_a_step_reads_whole_families_keyed_by_its_number():
    families, size = 6, 4
    latents = torch.arange(families * size).view(-1, 1, 1, 1).expand(-1, 4, 32, 32).half()
    others = torch.tensor([[k - k % size + j for j in range(size) if j != k % size] for k in range(families * size)])
    count = families * size
    zeros = torch.zeros(count, len(TARGETS), dtype=torch.long)
    places, flips = torch.zeros(count, 96, 2), torch.arange(count) < size  # one family is mirrored
    answers = Answers(zeros, places, torch.zeros(count, 96, 3), torch.zeros(count), flips)
    loss = ReaderLoss(latents, others, answers, SIGNAL, seed=0, batch=8)
    rows = loss._families(torch.Generator().manual_seed(0)).view(-1, size)
    assert rows.shape == (2, size)
    assert (rows // size == rows[:, :1] // size).all() and all(len(set(row)) == size for row in rows.tolist())
    reader = Reader().eval()
    first, again, other = (loss(reader, step) for step in (0, 0, 1))
    assert first == again != other and first.isfinite()
    places[:size] = 5.0
    assert (loss(reader, 0), loss(reader, 1)) == (first, other)  # another side's are not learnt
    flips[:] = True
    assert loss(reader, 0).isfinite() and loss(reader, 0) < first
    flips[:] = False
    assert max(loss(reader, step) for step in range(4)) > max(first, other) + 1


def test_a_reader_is_used_from_the_set_step_on(tmp_path):
    pipeline = StableDiffusionPipeline.from_pretrained(write_pipeline(tmp_path, "v_prediction"))
    latents, weights = torch.randn(2, 4, 32, 32).half(), torch.ones(2, 1, 32, 32).half()
    samples = Samples(latents, weights, torch.tensor([[1], [0]]), ["", ""])
    labels = torch.zeros(2, len(TARGETS), dtype=torch.long)
    labels[1, 9] = 1
    tokens, empty = torch.zeros(2, 8).long(), torch.ones(8).long()
    asked = []

    def reading(estimate, shown, step):
        asked.append(step)
        assert estimate.shape == shown.target.shape and estimate.requires_grad
        return Reading(Colours(), labels, SIGNAL, seed=0)(estimate, shown, step)

    plain = PriorLoss(samples, tokens, empty, seed=0, batch=4)
    loss = PriorLoss(samples, tokens, empty, 0, 4, read_from=1)
    loss.reading = reading
    networks = pipeline.unet, pipeline.text_encoder
    assert loss(*networks, 0) == plain(*networks, 0) and not asked
    assert loss(*networks, 1) > plain(*networks, 1) and asked == [1]
