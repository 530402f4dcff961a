"""Avatars that another experiment has made: found by fingerprint, taken over whole, and independent from then on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatargen.config.prompts import PromptItem
from avatargen.io.atomic import read_json, write_json, write_text
from avatargen.io.avatar_file import load_avatar
from avatargen.io.whole_files import is_whole
from avatargen.runtime import sharing
from avatargen.runtime.generate_chunk import make_chunk, tasks_of
from avatargen.runtime.sharing import Donors, take_over
from avatargen.runtime.task import is_done
from avatargen.runtime.worker_pool import ExecutionSettings

SERIAL = ExecutionSettings("serial", threads=1, spec="tests.workflow.fake_generator:FakeGenerator")
RESULTS = Path("results")


def items(*prompts, name="list"):
    return [PromptItem(name, f"p{n}", prompt) for n, prompt in enumerate(prompts)]


def avatars_of(experiment, name="list", method="full"):
    return RESULTS / experiment / name / method / "avatars"


def make(run, asked, experiment, name="list", share=True):
    avatars = avatars_of(experiment, name, run.method_name)
    return make_chunk(run, asked, avatars, SERIAL, results=RESULTS if share else None)


def steps(experiment, name="list", method="full"):
    log = avatars_of(experiment, name, method) / "steps.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def first(workplace, make_run):
    """Rows of an experiment with two finished avatars, rendered and measured."""
    rows = make(make_run(), items("a man", "a woman"), "first")
    for row in rows:
        folder = Path(row.folder)
        np.savez(folder / "views.npz", texture=np.zeros(3))
        write_json(folder / "render.json", {"fingerprint": "r", "files": ["views.npz"]})
        write_json(folder / "diagnostics" / "flicker.json", {"fingerprint": "d"})
    return rows


@pytest.fixture(params=["links", "copies"])
def either(request, monkeypatch):
    """Both kinds of file systems: with hard links, and without."""
    if request.param == "copies":

        def refuse(*_):
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", refuse)


def test_avatars_are_not_made_again(first, make_run, either, capsys):
    rows = make(make_run(), items("a man", "a woman", "a child"), "second")
    assert steps("second") == make_run().method.steps  # of the child alone
    assert [row.taken_from for row in rows] == ["first", "first", ""]
    assert [row.fingerprint for row in rows[:2]] == [row.fingerprint for row in first]
    assert all(Path(row.folder).is_relative_to(RESULTS / "second") for row in rows)
    assert rows[0].seconds == first[0].seconds
    assert "full: 2 of 3 avatars taken over from 'first'" in capsys.readouterr().out
    assert make(make_run(), items("a man", "a woman", "a child"), "second") == rows


def test_everything_in_the_folder_comes_along(first, make_run, either):
    rows = make(make_run(), items("a man"), "second")
    folder, source = Path(rows[0].folder), Path(first[0].folder)
    names = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    assert {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} == names
    assert (folder / "diagnostics/flicker.json").read_bytes() == (source / "diagnostics/flicker.json").read_bytes()
    assert load_avatar(folder).id == load_avatar(source).id


def test_experiments_do_not_break_each_other(first, make_run, either):
    rows = make(make_run(), items("a man"), "second")
    folder, source = Path(rows[0].folder), Path(first[0].folder)
    before = (folder / "render.json").read_bytes()
    write_json(source / "render.json", {"fingerprint": "another protocol"})
    assert (folder / "render.json").read_bytes() == before
    shutil.rmtree(RESULTS / "first")
    assert load_avatar(folder).status == "ok"
    assert make(make_run(), items("a man"), "second") == rows


def test_links_take_no_space(first, make_run):
    rows = make(make_run(), items("a man"), "second")
    name = "avatar.safetensors"
    assert (Path(rows[0].folder) / name).samefile(Path(first[0].folder) / name)


def test_lists_share_avatars_too(first, make_run):
    rows = make(make_run(), items("a woman", name="other"), "first", name="other")
    assert (rows[0].list, rows[0].taken_from) == ("other", "first")
    assert steps("first", "other") == 0


def test_other_settings_and_methods_share_nothing(first, make_run):
    changed = make(make_run(phase1_steps=3), items("a man"), "second")
    other = make(make_run("other"), items("a man"), "third")
    assert [rows[0].taken_from for rows in (changed, other)] == ["", ""]


def test_failed_avatars_are_not_shared(workplace, make_run):
    asked = items("diverge", "explode", "a man")
    make(make_run(), asked, "first")
    rows = make(make_run(), asked, "second")
    assert [(row.status, row.taken_from) for row in rows] == [("diverged", ""), ("error", ""), ("ok", "first")]


def test_the_first_experiment_of_the_alphabet_gives(first, make_run):
    make(make_run(), items("a man"), "earlier", share=False)
    rows = make(make_run(), items("a man", "a woman"), "second")
    assert [row.taken_from for row in rows] == ["earlier", "first"]


def test_the_experiment_that_made_it_is_named(first, make_run):
    make(make_run(), items("a man"), "a-middle")
    rows = make(make_run(), items("a man"), "second")
    assert rows[0].taken_from == "first"  # although 'a-middle' gave it


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize("name", ["avatar.safetensors", "avatar.json", "texture.png", "done.json"])
def test_damaged_avatars_are_made_again(first, make_run, name):
    damage(Path(first[0].folder) / name)
    rows = make(make_run(), items("a man", "a woman"), "second")
    assert [row.taken_from for row in rows] == ["", "first"]
    assert load_avatar(Path(rows[0].folder)).status == "ok"


def test_an_avatar_of_another_fingerprint_is_not_taken(first, make_run):
    """Such as one that the experiment was making again when it was killed."""
    file = Path(first[0].folder) / "avatar.json"
    facts = read_json(file)
    facts["provenance"]["fingerprint"] = "older"
    write_json(file, facts)
    assert make(make_run(), items("a man"), "second")[0].taken_from == ""


def test_another_place_helps_where_the_first_is_damaged(first, make_run):
    make(make_run(), items("a man"), "other", share=False)
    damage(Path(first[0].folder) / "avatar.safetensors")
    assert make(make_run(), items("a man"), "second")[0].taken_from == "other"


def test_damaged_renders_are_left_behind(first, make_run):
    damage(Path(first[0].folder) / "views.npz")
    folder = Path(make(make_run(), items("a man"), "second")[0].folder)
    assert not (folder / "views.npz").exists() and (folder / "render.json").is_file()


def test_an_interrupted_transfer_is_no_finished_avatar(first, make_run, monkeypatch):
    run, asked = make_run(), items("a man")
    tasks = tasks_of(run, asked, avatars_of("second"))
    link, linked = sharing._link, []

    def stop_at_the_third(source, target):
        if len(linked) == 2:
            raise KeyboardInterrupt
        linked.append(target)
        link(source, target)

    monkeypatch.setattr(sharing, "_link", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        take_over(tasks, Donors.find(RESULTS, "full", avatars_of("second")))
    assert linked[0].is_file() and not is_done(tasks[0])
    monkeypatch.setattr(sharing, "_link", link)
    shutil.copytree(RESULTS / "second", RESULTS / "third")
    assert make(run, asked, "second")[0].taken_from == "first"
    shutil.rmtree(RESULTS / "first"), shutil.rmtree(RESULTS / "second")
    assert make(run, asked, "third")[0].status == "ok"


def test_checkpoints_of_an_interrupted_run_go(first, make_run):
    task = tasks_of(make_run(), items("a man"), avatars_of("second"))[0]
    write_text(task.folder / "work.json", json.dumps({"fingerprint": task.fingerprint}))
    write_text(task.folder / "checkpoint.json", '{"step": 1}')
    assert make(make_run(), items("a man"), "second")[0].taken_from == "first"
    assert not (task.folder / "checkpoint.json").exists()


def test_a_long_list_opens_few_files(first, make_run, monkeypatch):
    """Only the files of avatars whose folder has the right name are opened."""
    asked, opened = items("a man", *(f"head {k}" for k in range(2000))), []
    monkeypatch.setattr(sharing, "read_json", lambda path: opened.append(path) or read_json(path))
    donors = Donors.find(RESULTS, "full", avatars_of("second"))
    found = [donor for task in tasks_of(make_run(), asked, avatars_of("second")) for donor in donors.of(task)]
    assert len(found) == 1 and len(opened) == 1


def test_whole_files_are_told_from_cut_ones(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    np.savez(tmp_path / "a.npz", x=np.arange(9))
    write_json(tmp_path / "a.json", {"x": 1})
    (tmp_path / "a.mp4").write_bytes(b"x")
    for name in ("a.png", "a.npz", "a.json"):
        assert is_whole(tmp_path / name)
        damage(tmp_path / name)
        assert not is_whole(tmp_path / name)
    assert is_whole(tmp_path / "a.mp4") and not is_whole(tmp_path / "none.mp4")
    (tmp_path / "a.mp4").write_bytes(b"")
    assert not is_whole(tmp_path / "a.mp4")
