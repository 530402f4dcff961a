"""The work of the rule `diagnose` on one avatar, and the files that it leaves."""

import errno

import numpy as np
import pytest
from PIL import Image

from avatargen.config.errors import InputError
from avatargen.config.experiment import EvaluationSettings, JudgeSettings
from avatargen.config.plugins import DIAGNOSTICS
from avatargen.io.avatar_file import save_avatar
from eval.diagnostics.base import Measure, Measured
from eval.diagnostics.files import (
    FOLDER,
    DiagnoseRow,
    Found,
    Products,
    TooManyErrorsError,
    check_errors,
    read_embeddings,
    read_found,
    write_found,
)
from eval.diagnostics.stage import Diagnoses, check_measured
from eval.on_disk import lacking_measures, to_measure
from eval.views import RenderTools
from tests.eval.diagnostics import small_diagnostics

BOTH = ("measured", "judged")


@pytest.fixture
def diagnoses(head, renderer, resize_prior, prior_settings, clip_folder, monkeypatch) -> Diagnoses:
    tools = RenderTools(head, renderer, resize_prior, prior_settings, "sphere", "warp")
    monkeypatch.setattr(RenderTools, "load", lambda *_: tools)
    for name in ("small", "silent"):
        monkeypatch.setitem(DIAGNOSTICS, name, f"tests.eval.diagnostics.small_diagnostics:{name.capitalize()}")
    monkeypatch.setattr(small_diagnostics, "FAILING", {})
    monkeypatch.setattr(small_diagnostics, "CALLS", [])
    judges = {"tiny": JudgeSettings(model=str(clip_folder))}
    return Diagnoses("sphere", "warp", prior_settings, EvaluationSettings(views=2, size=32, samples=1), judges, 1)


def test_files_hold_what_was_found(diagnoses, avatar, make_row, judge, tmp_path):
    save_avatar(tmp_path, avatar)
    diagnoses(make_row(), tmp_path, {"small": BOTH, "silent": BOTH})
    found = read_found(tmp_path, "small")
    (_, name, red), (_, _, unknown) = found.measures
    assert name == "red" and red == pytest.approx(float(avatar.baked_texture[0].mean())) and np.isnan(unknown)
    assert found.shown == [("dark", 2), ("light", 2)] and found.error == ""
    assert read_found(tmp_path, "silent") == Found([("", "seed", 0.0)], [], ())
    with Image.open(tmp_path / FOLDER / found.pictures[0]) as picture:
        assert picture.size == (8, 8)
    views = [np.full((2, 16, 16, 3), level, np.uint8) for level in (40, 200)]
    expected = np.concatenate([judge.embed_images(some) for some in views])
    assert np.allclose(read_embeddings(tmp_path, "small", "tiny"), expected, atol=1e-6)


def test_judges_count_only_where_something_is_shown(diagnoses, avatar, make_row, tmp_path):
    """A judge that changes makes only diagnostics stale that show it images."""
    save_avatar(tmp_path, avatar)
    diagnoses(make_row(), tmp_path, {"small": BOTH, "silent": BOTH})
    assert lacking_measures(tmp_path, {"silent": ("measured", "another judge's"), "small": BOTH}) == ""
    for name, both in {"small": ("measured", "another judge's"), "silent": ("other", "other's")}.items():
        assert lacking_measures(tmp_path, {name: both}) == f"diagnostics/{name}.json is missing or out of date"


def test_what_is_current_is_not_measured_again(diagnoses, avatar, make_row, tmp_path):
    save_avatar(tmp_path, avatar)
    for _ in range(2):
        diagnoses(make_row(), tmp_path, {"small": BOTH})
    assert len(small_diagnostics.CALLS) == 1
    (tmp_path / FOLDER / "small.npz").unlink()
    diagnoses(make_row(), tmp_path, {"small": BOTH})
    assert len(small_diagnostics.CALLS) == 2 and (tmp_path / FOLDER / "small.npz").is_file()


def test_an_error_leaves_its_message_and_is_tried_again(diagnoses, avatar, make_row, tmp_path):
    save_avatar(tmp_path, avatar)
    small_diagnostics.FAILING["a-0"] = ValueError("no ears")
    diagnoses(make_row(), tmp_path, {"small": BOTH, "silent": BOTH})
    assert read_found(tmp_path, "small") == Found([], [], (), "ValueError: no ears")
    assert lacking_measures(tmp_path, {"small": BOTH}) == ""
    assert to_measure(tmp_path, {"silent": BOTH, "small": BOTH}) == {"small": BOTH}
    small_diagnostics.FAILING.clear()
    diagnoses(make_row(), tmp_path, {"small": BOTH})
    assert read_found(tmp_path, "small").error == "" and not to_measure(tmp_path, {"small": BOTH})


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), RuntimeError("CUDA error: misaligned address")])
def test_a_full_disk_or_a_lost_gpu_is_no_finding(diagnoses, avatar, make_row, tmp_path, error):
    save_avatar(tmp_path, avatar)
    small_diagnostics.FAILING["a-0"] = error
    with pytest.raises(type(error)):
        diagnoses(make_row(), tmp_path, {"small": BOTH})
    assert not (tmp_path / FOLDER / "small.json").exists()


def test_pictures_of_an_earlier_run_are_removed(tmp_path):
    picture = Image.new("RGB", (4, 4))
    write_found(tmp_path, "small", "f", Found(), Products({"old": picture, "kept": picture.convert("L")}), 0.1)
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {"small.json", "small-old.jpg", "small-kept.png"}
    write_found(tmp_path, "small", "f", Found(), Products({"kept": picture}), 0.1)
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {"small.json", "small-kept.jpg"}
    assert read_found(tmp_path, "small").pictures == ("small-kept.jpg",)


def test_faulty_findings_are_refused():
    one, views = Measure("", "red", 1.0), np.zeros((0, 4, 4, 3), np.uint8)
    faulty = Measured((one, one), {"dark": views}, {"../up": Image.new("RGB", (1, 1))})
    with pytest.raises(ValueError, match=r"duplicate measures .*'red'.* without views .*dark.* pictures .*up"):
        check_measured(faulty)


def test_what_was_not_measured_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="measure the avatar again"):
        read_found(tmp_path, "small")
    write_found(tmp_path, "small", "f", Found(shown=[("dark", 1)]), Products(), 0.1)
    with pytest.raises(InputError, match="judge 'tiny'"):
        read_embeddings(tmp_path, "small", "tiny")


def test_a_diagnostic_that_fails_on_most_avatars_is_an_error(tmp_path):
    rows = []
    for place, error in enumerate(["ValueError: no ears", "ValueError: no ears", ""]):
        folder = tmp_path / str(place)
        write_found(folder, "small", "f", Found(error=error), Products(), 0.1)
        rows.append(DiagnoseRow(id=f"a-{place}", folder=str(folder), fingerprints={"small": BOTH}))
    rows.append(DiagnoseRow(id="failed", folder=str(tmp_path / "none"), fingerprints={}))
    (line,) = check_errors(rows, 0.7)
    assert line.startswith("diagnostic 'small': got errors on 2 of 3 avatars: a-0: ValueError: no ears; a-1")
    assert check_errors(rows[2:], 0.0) == []
    with pytest.raises(TooManyErrorsError, match=r"2 of 3 avatars(.|\n)*at most a fraction of 0\.5"):
        check_errors(rows, 0.5)
