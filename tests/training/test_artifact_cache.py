"""Artifacts are used again until their facts or their code change."""

from dataclasses import replace

import numpy as np
import pytest

from avatargen.io.code_hash import closure
from avatargen.training import artifact_cache, dataset
from avatargen.training.artifact_cache import cached_artifact, code
from avatargen.training.dataset import Renders, facts_of, read_renders, write_renders
from avatargen.training.recipe import Recipe


def some_renders(recipe):
    """Return images whose pixels are the recipe's seed."""
    shape = (recipe.heads, 2, 2, 4)
    angles, points = np.zeros(recipe.heads), np.zeros((recipe.heads, 1, 2))
    images, texts = np.full(shape, recipe.seed, np.uint8), (["a man"] * recipe.heads, ["front view"] * recipe.heads)
    return Renders(images, *texts, angles, np.arange(recipe.heads), points, points)


def cached(path, recipe, make):
    return cached_artifact(path, facts_of(recipe), lambda: make(recipe), read_renders, write_renders)


def test_renders_are_cached_until_recipe_or_code_change(tmp_path, monkeypatch, capsys):
    path, made = tmp_path / "prior.npz", []

    def seed_of(recipe):
        return int(cached(path, recipe, lambda asked: made.append(asked) or some_renders(asked)).images[0, 0, 0, 0])

    assert seed_of(Recipe(heads=2, seed=1)) == seed_of(Recipe(heads=2, seed=1)) == 1 and len(made) == 1
    assert capsys.readouterr().out == ""
    assert seed_of(Recipe(heads=2, seed=2)) == 2 and "recipe.seed was 1, is 2" in capsys.readouterr().out
    monkeypatch.setattr(dataset, "code", lambda *_: "another")
    assert seed_of(Recipe(heads=2, seed=2)) == 2 and len(made) == 3
    path.with_name("prior.npz.json").unlink()
    assert seed_of(Recipe(heads=2, seed=3)) == 2 and "prior.npz: used as it is" in capsys.readouterr().out


def test_unfinished_renders_leave_the_old_ones(tmp_path, monkeypatch):
    path, recipe = tmp_path / "prior.npz", Recipe(heads=2, seed=1)
    cached(path, recipe, some_renders)

    def full(file, **_):
        file.write(b"half of it")
        raise OSError("no space left")

    monkeypatch.setattr(dataset.np, "savez", full)
    with pytest.raises(OSError):
        cached(path, replace(recipe, seed=2), some_renders)
    assert [found.name for found in sorted(tmp_path.iterdir())] == ["prior.npz", "prior.npz.json"]
    assert cached(path, recipe, some_renders).images.max() == 1


def test_code_is_hashed_without_the_length_of_a_training(monkeypatch):
    assert code("training.train_vae") != code("training.train_prior")
    everything = code("training.train_vae")
    monkeypatch.setattr(artifact_cache, "SCHEDULE", ())
    assert code("training.train_vae") != everything  # it has a BUDGET


def test_renders_depend_on_code_of_heads_and_renderer(monkeypatch):
    """And not on that of what is trained on them."""
    seen = []
    monkeypatch.setattr(artifact_cache, "code_hash", lambda modules, without: seen.extend(closure((*modules,))) or "")
    facts_of(Recipe(heads=2, seed=1))
    assert {"training.rendering", "heads.anny.head", "render.visibility", "headworld.phrases"} <= {
        name.removeprefix("avatargen.") for name in seen
    }
    assert "avatargen.training.train_judge" not in seen and "avatargen.training.train_vae" not in seen
