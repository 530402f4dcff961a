"""Masks estimated with a prior whose answer is known, and the silhouette loss."""

import pytest
import torch

from avatargen.geometry.types import RenderOutput
from avatargen.method.segmentation import Masks, estimate_masks, relative_change, silhouette_loss
from avatargen.priors.base import Prior
from avatargen.priors.foreground import Denoising

SIZE, DISC = 16, 5.0
COLOURS = torch.tensor([[0.15, 0.35, 0.95], [0.95, 0.15, 0.85], [0.25, 0.95, 0.35]])


class DiscPrior(Prior):
    """Predicts a white disc over the background of each estimate, whatever it is given."""

    id, latent_channels, downscale, prediction = "disc", 3, 1, "sample"
    alphas_cumprod = torch.linspace(0.99, 0.05, 1000)

    def __init__(self, radius: float = DISC, steps: int = 1):
        axis = torch.arange(SIZE) - (SIZE - 1) / 2
        self.disc = (axis[:, None] ** 2 + axis**2).sqrt() < radius
        self.background = iter(COLOURS.repeat_interleave(steps, 0))
        self.times = []

    def embed(self, prompts):
        return torch.zeros(len(prompts), 1, 1)

    def truncates(self, prompts):
        return [False] * len(prompts)

    def predict(self, noisy, timesteps, condition):
        self.times.append(int(timesteps[0]))
        colour = next(self.background)[:, None, None]
        return torch.where(self.disc, torch.ones(3, SIZE, SIZE), colour).expand_as(noisy)

    def decode(self, latents):
        return latents

    def encode(self, images):
        return images


def masks_of(prior: DiscPrior, steps: int = 1, own: float = 0.0) -> Masks:
    """Masks of renders that show a white disc of radius `own`."""
    axis = torch.arange(SIZE) - (SIZE - 1) / 2
    coverage = ((axis[:, None] ** 2 + axis**2).sqrt() < own).float().expand(1, 2, 1, SIZE, SIZE)
    white = coverage.expand(1, 2, 3, SIZE, SIZE).contiguous()
    seen = RenderOutput(white, coverage, coverage, white, torch.full((1, 2, SIZE, SIZE), -1))
    noise = torch.randn(1, 2, len(COLOURS), 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    condition, how = prior.embed(["a", "b"])[None], Denoising(0.5, steps, 4.0)
    return estimate_masks(prior, seen, coverage, COLOURS, noise, condition, prior.embed([""]), how)


@pytest.mark.parametrize("own", [0.0, 4.0, DISC, 7.0])
def test_mask_is_what_the_prior_sees_whatever_is_rendered(own):
    prior = DiscPrior()
    masks = masks_of(prior, own=own)
    assert masks.valid.all()
    assert torch.equal(masks.foreground[0, 0, 0] > 0.5, prior.disc)


def test_several_denoising_steps_find_the_same_mask():
    prior = DiscPrior(steps=4)
    masks = masks_of(prior, steps=4)
    assert torch.equal(masks.foreground[0, 0, 0] > 0.5, prior.disc)
    assert prior.times[:4] == [int(500 * k / 4) for k in (4, 3, 2, 1)]


@pytest.mark.parametrize("radius", [0.9, 40.0])
def test_masks_of_implausible_area_are_not_trusted(radius):
    assert not masks_of(DiscPrior(radius)).valid.any()


def test_masks_that_are_not_finite_are_not_trusted(monkeypatch):
    """The other camera's mask is, and gradients are finite."""
    prior, decode = DiscPrior(), DiscPrior.decode
    spoilt = torch.tensor([float("nan"), 1.0]).view(2, 1, 1, 1)  # of the first of two cameras
    monkeypatch.setattr(DiscPrior, "decode", lambda _, latents: decode(prior, latents) * spoilt)
    masks = masks_of(prior)
    assert masks.valid.tolist() == [[False, True]]
    coverage = torch.full(masks.foreground.shape, 0.5, requires_grad=True)
    silhouette_loss(coverage, masks).sum().backward()
    assert coverage.grad.isfinite().all() and coverage.grad[0, 1].abs().max() > 0


def test_loss_is_a_mean_over_trusted_masks_of_each_avatar():
    foreground = torch.zeros(2, 2, 1, 4, 4)
    valid = torch.tensor([[True, False], [False, False]])
    coverage = torch.full((2, 2, 1, 4, 4), 0.5)
    coverage[:, 1] = 1.0
    assert silhouette_loss(coverage, Masks(foreground, valid)).tolist() == [0.25 * 16, 0.0]


def test_change_is_a_share_of_the_heads_area():
    """It counts masks that are trusted before and after, and is 0 where there are none."""
    before, after = torch.zeros(2, 2, 1, 4, 4), torch.zeros(2, 2, 1, 4, 4)
    before[:, :, :, :2], after[:, :, :, :3] = 1, 1
    trusted = torch.tensor([[True, True], [True, False]])
    after[1, 1] = 0
    change = relative_change(Masks(before, trusted), Masks(after, torch.ones(2, 2, dtype=torch.bool)))
    assert change.tolist() == pytest.approx([4 / 12, 4 / 12])
    assert relative_change(Masks(before, ~torch.ones(2, 2, dtype=torch.bool)), Masks(after, trusted)).tolist() == [0, 0]
