"""The work of the rules `render` and `embed` on one avatar."""

import os

import numpy as np
import pytest
import torch

from avatargen.config.experiment import EvaluationSettings, JudgeSettings
from avatargen.io.avatar_file import AvatarFileError, save_avatar
from eval.artifacts import RENDER_FACTS, TRUTH_FACTS, VIEW_FILES, is_current
from eval.embeddings import is_embedded
from eval.images import read_views
from eval.stages import Judges, Renders
from eval.views import RenderTools

SETTINGS = EvaluationSettings(views=2, size=64, samples=1, turntable_frames=4, turntable_size=64)


@pytest.fixture
def renders(head, renderer, resize_prior, prior_settings, monkeypatch) -> Renders:
    tools = RenderTools(head, renderer, resize_prior, prior_settings, "sphere", "warp")
    monkeypatch.setattr(RenderTools, "load", lambda *_: tools)
    return Renders("sphere", "warp", prior_settings, SETTINGS, "sphere", 1)


def test_only_results_that_are_not_current_are_made(renders, avatar, make_row, tmp_path):
    save_avatar(tmp_path, avatar)
    renders(make_row(), tmp_path, False, "r1", "t1")
    assert is_current(tmp_path, RENDER_FACTS, "r1", VIEW_FILES) and is_current(tmp_path, TRUTH_FACTS, "t1")
    rendered = (tmp_path / RENDER_FACTS).stat().st_mtime_ns
    renders(make_row(), tmp_path, False, "r1", "t2")
    assert (tmp_path / RENDER_FACTS).stat().st_mtime_ns == rendered and is_current(tmp_path, TRUTH_FACTS, "t2")
    assert torch.get_num_threads() == 1


def test_a_missing_avatar_is_an_error(renders, make_row, tmp_path):
    with pytest.raises(AvatarFileError, match=tmp_path.name):
        renders(make_row(), tmp_path, False, "r", "t")


def test_only_the_judges_that_are_needed_are_loaded(renders, avatar, make_row, clip_folder, tmp_path):
    save_avatar(tmp_path, avatar)
    renders(make_row(), tmp_path, False, "r", "t")
    judges = {"tiny": JudgeSettings(model=str(clip_folder)), "absent": JudgeSettings(model="no-such-model")}
    Judges(judges, 2, 1)(tmp_path, {"tiny": "e1"})
    assert is_embedded(tmp_path, "tiny", "e1")
    path = tmp_path / "embeddings-tiny.npz"
    half = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(half)
    partial = tmp_path / f".partial-0a-{path.name}"  # of a worker that was killed long ago
    partial.write_bytes(half)
    os.utime(partial, (0, 0))
    assert not is_embedded(tmp_path, "tiny", "e1")
    Judges(judges, 2, 1)(tmp_path, {"tiny": "e1"})
    assert is_embedded(tmp_path, "tiny", "e1") and not [*tmp_path.glob(".*")]
    with np.load(path) as seen:
        assert len(read_views(tmp_path / "views.npz")["texture"]) == len(seen["texture"]) == 2
