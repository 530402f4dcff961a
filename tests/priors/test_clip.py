"""CLIP as a guide agrees with open_clip, and its gradient raises the similarity."""

import open_clip
import pytest
import torch

from avatargen.config.errors import InputError
from avatargen.config.experiment import JudgeSettings
from avatargen.priors.clip import ClipGuide, is_truncated
from tests.small_clip import write_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def guide(folder):
    return ClipGuide.load("tiny", JudgeSettings(model=folder.name), folder.parent)


def test_similarity_is_open_clips_cosine(guide, folder):
    model, _ = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    texts = guide.embed(["a man", "a girl", "a man"])
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in (model.visual.image_mean, model.visual.image_std))
    with torch.no_grad():
        expected = (model.eval().encode_image((images - mean) / std, normalize=True) * texts).sum(1)
    torch.testing.assert_close(guide.similarity(images, texts), expected, atol=1e-5, rtol=0)
    assert torch.equal(texts[0], texts[2]) and texts.norm(dim=1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def test_following_the_gradient_raises_the_similarity(guide):
    images = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(1)).requires_grad_()
    texts = guide.embed(["a man", "a girl"])
    before = guide.similarity(images, texts)
    before.sum().backward()
    step = 0.02 * images.grad / images.grad.abs().mean(dim=(1, 2, 3), keepdim=True)
    assert (guide.similarity((images + step).detach(), texts) > before + 0.001).all()
    assert all(not weights.requires_grad for weights in guide.model.parameters())


def test_long_prompt_keeps_its_view(guide):
    long = "a man with " + ", ".join(["a green beard"] * 20)
    side, back = guide.embed([f"{long}, side view", f"{long}, back view"])
    assert not torch.equal(side, back)


def test_prompts_longer_than_the_tokenizer_are_truncated(guide):
    held = 24 - 2  # its length, less start and end
    texts = ["man " * held, "man " * (held + 1), "man " * held + ", side view", ""]
    assert is_truncated(guide.tokenize, texts) == guide.truncates(texts) == [False, True, True, False]


def test_missing_guide_is_named(tmp_path):
    with pytest.raises(InputError, match="judge 'none'"):
        ClipGuide.load("none", JudgeSettings(model="no-such-model"), tmp_path)
