"""The judge's batches and loss: which renders are seen, how they are augmented, hard negatives."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import nn

from avatargen.headworld.attributes import Attributes, sample
from avatargen.headworld.phrases import caption, parse
from avatargen.headworld.pools import known, swaps
from avatargen.training.command import WEIGHTS
from avatargen.training.dataset import Renders
from avatargen.training.judge_batches import (
    BEARDS,
    CAMOUFLAGED,
    DECODED,
    STATUES,
    TWO_COLOURS,
    WORN,
    Batches,
    augment,
    swapped,
    through,
)
from avatargen.training.train_judge import JUDGES, Learner, contrastive
from avatargen.training.train_vae import build_vae


def test_heads_that_judges_confuse_are_seen_more_often():
    """Beards, most of all of another colour than the hair; statues; hair of nearly the skin's colour."""
    bearded, green = Attributes(skin="green", beard="full"), Attributes(skin="green", hair_colour="green")
    heads = [Attributes(skin="green"), bearded, replace(bearded, beard_colour="white")]
    heads += [Attributes(material="gold", beard="full"), green, replace(green, hair="bald")]
    heads += [replace(green, beard="full", beard_colour="green"), Attributes(skin="pale", hair_colour="white")]
    captions = [*map(caption, heads), caption(heads[2], colours=False)]
    count = len(captions)
    nothing = np.zeros((count, 1, 3), np.float32)
    images, alone = np.zeros((count, 2, 2, 4), np.uint8), np.arange(count)
    renders = Renders(images, captions, ["front view"] * count, nothing, alone, nothing[..., :2], nothing)
    batches = Batches(renders, lambda texts: torch.zeros(len(texts), 4), build_vae(), seed=0, size=2)
    shares = np.diff(batches.cumulative, prepend=0)
    hidden = CAMOUFLAGED
    expected = [1, BEARDS, BEARDS * TWO_COLOURS, STATUES, hidden, 1, BEARDS * hidden**2, hidden, 1]
    assert shares / shares[0] == pytest.approx(expected)


def test_landmarks_of_mirrored_pictures_are_not_learnt():
    image = np.zeros((1, 64, 64, 4), np.uint8)
    image[..., 3], image[..., 32:, :3] = 255, 255  # bright on the right
    points, displaced = np.zeros((1, 96, 2), np.float32), np.zeros((1, 96, 3), np.float32)
    renders = Renders(image, [caption(Attributes())], ["front view"], np.zeros(1), np.zeros(1, int), points, displaced)
    renders.displaced[0, 0] = 1.0
    batch = Batches(renders, lambda texts: torch.zeros(len(texts), 4), build_vae(), seed=0, size=16)(0)
    seen = slice(0, 16 - int(DECODED * 16))  # as an untrained autoencoder decodes, there is nothing to see
    right = batch.pixels[seen, ..., 40:].mean((1, 2, 3)) > batch.pixels[seen, ..., :24].mean((1, 2, 3))
    assert (right == ~batch.mirrored[seen]).all() and 2 < batch.mirrored.sum() < 14
    assert (renders.images[0, :, 32:, :3] == 255).all()

    class Tower(nn.Module):
        visual = nn.Sequential(nn.Identity())
        logit_scale = torch.zeros(())

        def encode_image(self, pixels):
            self.visual(torch.ones(16, 384, 4, 4))
            return torch.ones(16, 80)

        def encode_text(self, tokens, normalize):
            return torch.ones(len(tokens), 80)

    guide = JUDGES["guide"]
    learner = Learner(Tower(), replace(guide, last=("0", 384)))
    wrong = batch.landmarks + 5 * batch.mirrored.view(-1, 1, 1)
    assert learner(batch) == learner(replace(batch, landmarks=wrong))
    assert learner(batch) < learner(replace(batch, landmarks=batch.landmarks + 5))


def test_negatives_of_a_shape_caption_differ_in_shape():
    rng = np.random.default_rng(0)
    for _ in range(30):
        head = parse(caption(sample(rng), colours=False))
        for changed in swaps(head, rng, 3, colours=False):
            other = parse(caption(changed, colours=False))
            assert other == other.shape_only() != head


def test_changed_captions_are_worded_freely():
    own = caption(Attributes(hair="mohawk", beard="full", feature="horns", skin="green"))
    seen = swapped([known(own)] * 8, np.random.default_rng(0))
    canonical = sum(text == caption(parse(text)) for text in seen)
    assert own not in seen and 0 < canonical < len(seen)


def test_an_image_is_pulled_to_its_caption_alone():
    def loss(images):
        return contrastive(images, torch.eye(4), torch.tensor(50.0), torch.tensor([[0], [1], [2], [3]]))

    assert loss(torch.eye(4)[:2]) < 1e-6
    assert loss(torch.eye(4)[:2].roll(1, 0)) > 10
    assert loss(torch.eye(4)[2:]) > 10  # each image looks like its changed caption


def test_a_share_of_the_augmented_pictures_is_degraded():
    stripes = np.zeros((8, 128, 128, 4), np.uint8)
    stripes[:, :, ::16], stripes[..., 3] = 255, 255
    made, _ = augment(stripes, torch.zeros(8, 1, 2), np.random.default_rng(3))
    down = made[:, 0, 30:98, 30:98].diff(dim=1).abs().amax((1, 2))  # along a stripe nothing changes but by noise
    worn = int(WORN * 8)
    assert (down[:worn] > 0.02).all() and (down[worn:] < 0.01).all()
    assert made.min() >= 0 and made.max() <= 1


def test_decoded_pictures_mostly_have_noise_in_their_latents():
    """And without it they are the autoencoder's reconstructions."""
    pipeline = StableDiffusionPipeline.from_pretrained(WEIGHTS / "prior", safety_checker=None)
    pixels = torch.full((40, 3, 32, 32), 0.5)
    pixels[:, :, 8:24, 8:24] = torch.tensor([0.9, 0.3, 0.1]).view(3, 1, 1)
    made = through(pipeline.vae, pixels, np.random.default_rng(0))
    assert made.shape == pixels.shape and made.min() >= 0 and made.max() <= 1
    unrest = (made - made.median(0).values).abs().mean((1, 2, 3))
    clean = unrest < 2 * unrest.min() + 1e-4
    assert 0.1 < clean.float().mean() < 0.5  # CLEAN of them
    assert (made[clean] - pixels[clean]).abs().mean() < 0.03
    assert unrest.max() > 0.02


def test_augmentation_keeps_the_head_not_the_background():
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
