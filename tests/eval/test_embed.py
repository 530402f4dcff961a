"""Judges in open_clip's own format, and embeddings on disk."""

import json
import shutil

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from avatargen.config.errors import InputError
from avatargen.config.experiment import JudgeSettings
from avatargen.io.history import History
from eval.embed import Judge, add_noise, embed_avatar, judge_id
from eval.embeddings import embeddings_path, is_embedded, load_embeddings
from eval.images import KINDS

NOISE_OF_A_MAN = [[100, 101, 100], [99, 100, 99], [101, 99, 99], [100, 101, 101]]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(5, 40, 40, 3), dtype=np.uint8)


def write_views(folder, images) -> None:
    np.savez(folder / "views.npz", protocol=json.dumps({"views": 5}), **dict.fromkeys(KINDS, images))


def test_images_are_embedded_as_open_clip_would(judge, clip_folder, images):
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{clip_folder}")
    with torch.no_grad():
        naive = [model.eval().encode_image(preprocess(Image.fromarray(i))[None], normalize=True) for i in images]
    np.testing.assert_allclose(judge.embed_images(images, batch=2), torch.cat(naive).numpy(), atol=1e-5)


def test_a_judges_id_does_not_depend_on_its_place(judge, clip_folder, tmp_path):
    """Protocol hashes contain the id, so the same folder elsewhere must have the same one; other weights must not."""
    elsewhere = tmp_path / "deep" / clip_folder.name
    shutil.copytree(clip_folder, elsewhere)
    assert judge.id.startswith(f"{clip_folder.name}:")
    for model, root in ((f"deep/{clip_folder.name}", tmp_path), (str(elsewhere), tmp_path)):
        assert judge_id(JudgeSettings(model=model), root) == judge.id
    weights = next(path for path in elsewhere.iterdir() if path.suffix in (".bin", ".safetensors", ".pt"))
    weights.write_bytes(weights.read_bytes() + b"x")
    assert judge_id(JudgeSettings(model=str(elsewhere)), tmp_path) != judge.id


def test_a_judge_of_open_clip_goes_by_name_and_tag(tmp_path):
    settings = JudgeSettings(model="ViT-B-32", pretrained="laion2b_s34b_b79k")
    assert judge_id(settings, tmp_path) == "ViT-B-32:laion2b_s34b_b79k"


def test_texts_have_unit_norm_and_differ(judge):
    texts = judge.embed_texts(["a pale baby", "an old man", "a woman"], batch=2)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-5)
    assert (texts @ texts.T)[0, 1] < 0.999


def test_truncated_captions_are_those_that_embed_alike(judge):
    long = "a man " * 40
    assert judge.truncated(["a pale baby", long, long]) == [long] and judge.truncated(["a pale baby"]) == []
    same, other = judge.embed_texts([long, long + "with a beard"])
    np.testing.assert_array_equal(same, other)


def test_embeddings_are_current_until_the_fingerprint_changes(judge, images, tmp_path):
    write_views(tmp_path, images)
    path = embed_avatar(tmp_path, judge, "one", 2)
    first = path.stat().st_mtime_ns
    assert embed_avatar(tmp_path, judge, "one", 2).stat().st_mtime_ns == first
    assert not is_embedded(tmp_path, "tiny", "two")
    embed_avatar(tmp_path, judge, "two", 2)
    embeddings = load_embeddings(tmp_path, "tiny")
    assert embeddings.fingerprint == "two"
    assert embeddings.protocol == {"views": 5, "noise_draws": 2}
    assert {kind: value.shape for kind, value in embeddings.kinds.items()} == dict.fromkeys(KINDS, (5, 16))
    assert {kind: value.shape for kind, value in embeddings.noisy.items()} == dict.fromkeys(KINDS, (2, 16))
    np.testing.assert_array_equal(embeddings.kinds["geometry"], judge.embed_images(np.tile(images, (3, 1, 1, 1)))[10:])


def test_noisy_embeddings_are_means_over_noisy_views(judge, images, tmp_path):
    write_views(tmp_path, images)
    embed_avatar(tmp_path, judge, "one", 3)
    noisy = load_embeddings(tmp_path, "tiny").noisy["baked"]
    for draw, mean in enumerate(noisy):
        shown = add_noise(dict.fromkeys(KINDS, images), tmp_path.name, draw)["baked"]
        np.testing.assert_allclose(mean, judge.embed_images(shown).mean(axis=0), atol=1e-6)
    assert len({tuple(mean) for mean in noisy}) == 3


def test_noise_is_off_by_one_at_most_and_as_often_each_way():
    levels = np.repeat(np.arange(1, 255, dtype=np.uint8), 300).reshape(1, 254, 100, 3)
    change = add_noise({"baked": levels}, "a", 0)["baked"].astype(int) - levels
    assert [float((change == step).mean()) for step in (-1, 0, 1)] == pytest.approx([1 / 3] * 3, abs=0.006)
    ends = add_noise({"baked": np.array([[[[0, 255, 128]] * 90]], np.uint8)}, "a", 0)["baked"]
    assert [set(ends[..., channel].flat) for channel in range(3)] == [{0, 1}, {254, 255}, {127, 128, 129}]


def test_noise_depends_on_avatar_and_draw_alone():
    views = dict.fromkeys(KINDS, np.full((2, 16, 16, 3), 100, np.uint8))
    first = add_noise(views, "a-man-0f", 0)["texture"]
    assert first[0, 0, :4].tolist() == NOISE_OF_A_MAN  # the same on every machine
    np.testing.assert_array_equal(first, add_noise(views, "a-man-0f", 0)["texture"])
    others = [add_noise(views, "a-man-0f", 1)["texture"], add_noise(views, "a-man-1f", 0)["texture"]]
    others += [add_noise(views, "a-man-0f", 0)["baked"]]
    for other in others:
        assert 0.6 < (first != other).mean() < 0.73  # two independent draws agree in a third of the pixels


def test_snapshots_of_generation_are_embedded(judge, images, tmp_path):
    write_views(tmp_path, images)
    History([], [(10, images[0]), (20, images[3])]).save(tmp_path)
    embed_avatar(tmp_path, judge, "one", 2)
    progress = load_embeddings(tmp_path, "tiny").progress
    np.testing.assert_allclose(progress, judge.embed_images(images[[0, 3]]), atol=1e-6)


def test_damaged_embeddings_are_made_again(judge, images, tmp_path):
    write_views(tmp_path, images)
    embeddings_path(tmp_path, "tiny").write_bytes(b"PK half a file")
    assert not is_embedded(tmp_path, "tiny", "one")
    assert is_embedded(embed_avatar(tmp_path, judge, "one", 2).parent, "tiny", "one")


def test_missing_views_say_what_to_do(judge, tmp_path):
    with pytest.raises(InputError, match="render the avatar first"):
        embed_avatar(tmp_path, judge, "one", 2)


@pytest.mark.parametrize("settings", [{"model": "no-such-model"}, {"model": "ViT-B-32", "pretrained": "no-tag"}])
def test_missing_weights_are_an_input_error(settings, tmp_path):
    with pytest.raises(InputError, match=r"judge 'big': open_clip model .* cannot be loaded"):
        Judge.load("big", JudgeSettings(**settings), tmp_path)


def test_a_folder_without_weights_is_an_input_error(clip_folder, tmp_path):
    (tmp_path / "open_clip_config.json").write_bytes((clip_folder / "open_clip_config.json").read_bytes())
    with pytest.raises(InputError, match="judge 'empty': folder"):
        Judge.load("empty", JudgeSettings(model=tmp_path.name), tmp_path.parent)
