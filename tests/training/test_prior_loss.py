"""The prior's batches and loss: weights of latent pixels, pairs of captions, timesteps."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from avatargen.training.prior_batches import EDIT_FROM, PAIRED, UNCONDITIONAL, Samples
from avatargen.training.prior_loss import CHANGE, DIFFERENCE, PriorLoss
from avatargen.training.train_prior import BACKGROUND, DETAIL, loss_weights, relatives
from avatargen.training.trainer import batch_indices
from tests.small_prior import write_pipeline


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


def test_landmarks_off_the_image_weigh_nothing():
    landmarks = np.array([[(1.2, 0.0), (1.0, 0.0), (0.0, -1.5), (-3.0, 4.0)], [(0.97, 0.0)] * 4], np.float32)
    weights = loss_weights(np.zeros((2, 128, 128), np.uint8), 32, landmarks)
    assert (weights[0] == BACKGROUND).all()
    assert weights[1, 0, 16, 31] > BACKGROUND  # within the last column


def test_relatives_are_the_others_of_a_family_in_the_same_copy():
    families = np.array([1, 0, 1, 0, 0, 1])
    found = relatives(families, variants=2)
    assert found.shape == (12, 2)
    for row, others in enumerate(found.tolist()):
        assert {o // 6 for o in others} == {row // 6} and row not in others and len(set(others)) == 2
        assert {families[o % 6] for o in others} == {families[row % 6]}


def seen_by(pipeline, loss, steps):
    """Return noisy latents, timesteps, tokens and losses of some steps, as the networks are given them."""
    seen, asked = [], []
    pipeline.unet.register_forward_pre_hook(lambda module, given: seen.append(given))
    pipeline.text_encoder.register_forward_pre_hook(lambda module, given: asked.append(given[0]))
    with torch.no_grad():
        losses = [loss(pipeline.unet, pipeline.text_encoder, step) for step in range(steps)]
    noisy, times, _ = (torch.stack(part) for part in zip(*seen, strict=True))
    return noisy, times, torch.stack(asked), torch.stack(losses)


def test_timesteps_are_spread_and_those_of_pairs_are_noisy(tmp_path):
    pipeline = StableDiffusionPipeline.from_pretrained(write_pipeline(tmp_path, "v_prediction"))
    latents, weights = torch.zeros(2, 4, 4, 4).half(), torch.ones(2, 1, 4, 4).half()
    samples = Samples(latents, weights, torch.tensor([[1], [0]]), ["", ""])
    loss = PriorLoss(samples, torch.zeros(2, 8).long(), torch.ones(8).long(), seed=0, batch=512)
    _, times, tokens, losses = seen_by(pipeline, loss, 16)
    pairs = round(PAIRED * 256)
    for part, expected in ((times[:, : 2 * pairs], (0.23, 0.83, 1.0)), (times[:, 2 * pairs :], (0.2, 0.6, 1.0))):
        share = [(part < end).float().mean().item() for end in (200, 600, 1000)]
        assert share == pytest.approx(expected, abs=0.03)
    assert times[:, : 2 * pairs].min() >= EDIT_FROM > times[:, 2 * pairs :].min()
    assert losses.isfinite().all()
    untold = (tokens == 1).all(-1)
    assert untold.float().mean() == pytest.approx(UNCONDITIONAL, abs=0.03) and not untold[:, : 2 * pairs].any()


def test_a_pair_is_one_image_under_two_captions(tmp_path, monkeypatch):
    pipeline = StableDiffusionPipeline.from_pretrained(write_pipeline(tmp_path, "v_prediction"))
    latents = torch.full((2, 4, 4, 4), 0.25).half() * torch.tensor([-1, 1]).view(2, 1, 1, 1)
    weights, tokens = torch.ones(2, 1, 4, 4).half(), torch.tensor([[3], [4]]).expand(2, 8)
    samples = Samples(latents, weights, torch.tensor([[1], [0]]), ["", ""])
    loss = PriorLoss(samples, tokens, torch.ones(8).long(), seed=0, batch=256)
    noisy, times, asked, _ = seen_by(pipeline, loss, 1)
    pairs = round(PAIRED * 128)
    for given in (noisy[0], times[0]):
        assert torch.equal(given[:pairs], given[pairs : 2 * pairs])
    a = loss.batches.signal[times[0]]
    shown = noisy[0].mean((1, 2, 3)) / a.sqrt()  # the noise's mean is small
    sure = (a > 0.9) & (asked[0, :, 0] > 2)
    told = torch.arange(256) < pairs
    alone = torch.from_numpy(batch_indices(0, 0, 256 - 2 * pairs, 2)) * 2.0 - 1
    named = torch.cat([(asked[0, : 2 * pairs, 0] - 3.5).sign(), alone])
    assert torch.equal(asked[0, sure, 0], (named[sure].long() + 7) // 2)
    assert torch.equal(shown[sure].sign(), torch.where(told, -named, named)[sure]) and sure[told].any()

    def right(noisy, t, text):  # what the caption says of the latents, whatever is shown
        clean, signal = 0.25 * named.view(-1, 1, 1, 1), loss.batches.signal[t].view(-1, 1, 1, 1)
        return SimpleNamespace(sample=(signal.sqrt() * noisy - clean) / (1 - signal).sqrt())

    monkeypatch.setattr(pipeline.unet, "forward", right)
    assert loss(pipeline.unet, pipeline.text_encoder, 0) < 1e-6


def test_changes_weigh_alike_and_invisible_ones_are_not_shown(tmp_path, monkeypatch):
    pipeline = StableDiffusionPipeline.from_pretrained(write_pipeline(tmp_path, "v_prediction"))
    latents = torch.zeros(3, 4, 8, 8).half()
    latents[1, :, 0, 0], latents[2, :, :4] = 0.75, 1.0  # differ from the first in a pixel, and in half of all
    tokens, none = torch.tensor([[3], [4], [5]]).expand(3, 8), torch.zeros(3, 1, 8, 8).half()
    samples = Samples(latents, none, torch.tensor([[1, 2], [0, 0], [0, 0]]), [""] * 3)
    loss = PriorLoss(samples, tokens, torch.ones(8).long(), seed=0, batch=64)
    steps = loss.batches.cumulative.diff(prepend=torch.zeros(1).double()).view(3, 2)
    assert steps[0, 0] / steps[0, 1] == pytest.approx(32**0.5, rel=0.01)

    def lazy(noisy, t, text):  # leaves all as it is shown
        signal = loss.batches.signal[t].view(-1, 1, 1, 1)
        noise = torch.cat([drawn[0][:pairs], drawn[0]])
        clean = (noisy - (1 - signal).sqrt() * noise) / signal.sqrt()
        return SimpleNamespace(sample=(signal.sqrt() * noisy - clean) / (1 - signal).sqrt())

    drawn, randn, pairs = [], torch.randn, round(PAIRED * 32)

    def noise(*shape, generator):
        drawn.append(randn(*shape, generator=generator))
        return drawn[-1]

    monkeypatch.setattr(torch, "randn", noise)
    monkeypatch.setattr(pipeline.unet, "forward", lazy)
    left = loss(pipeline.unet, pipeline.text_encoder, 0)  # alone, and as a difference that captions do not make
    assert left == pytest.approx((1 + DIFFERENCE) * CHANGE * pairs / 64, rel=0.01)
    latents[1, :, 0, 0] = 0.0
    loss = PriorLoss(samples, tokens, torch.ones(8).long(), seed=0, batch=64)
    steps = loss.batches.cumulative.diff(prepend=torch.zeros(1).double()).view(3, 2)
    assert steps[0, 0] < 1e-5 and steps[1].max() < 1e-5
