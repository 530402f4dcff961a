"""Fingerprints change with what shapes a result, and with nothing else."""

from dataclasses import replace

import pytest

from avatargen import fingerprint
from avatargen.config import ROOT, EvaluationSettings, JudgeSettings
from avatargen.heads.flame_files import VARIABLE
from avatargen.prompts import PromptItem
from tests.small_flame import write_flame

SOURCE = b'''"""Module."""
def area(r):
    """Of a disc."""
    # pi is close enough
    return 3.14159 * r * r
'''


def test_comments_docstrings_and_layout_do_not_count():
    same = b"def area(r): return 3.14159*r*r\n"
    documented = SOURCE.replace(b"Of a disc.", b"Other words.").replace(b"close enough", b"fine")
    assert fingerprint.source_hash(SOURCE) == fingerprint.source_hash(same) == fingerprint.source_hash(documented)


@pytest.mark.parametrize(("old", "new"), [(b"3.14159", b"3.1416"), (b"r * r", b"r ** 2"), (b"area", b"disc")])
def test_code_counts(old, new):
    assert fingerprint.source_hash(SOURCE) != fingerprint.source_hash(SOURCE.replace(old, new))


def test_a_string_that_is_no_docstring_counts():
    assert fingerprint.source_hash(b"x = 'a'") != fingerprint.source_hash(b"x = 'b'")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A small project in place of this one."""
    package = tmp_path / "avatargen"
    (package / "heads").mkdir(parents=True)
    (package / "generator.py").write_text("from avatargen.step import go\nfrom avatargen import fanout\n")
    (package / "step.py").write_text("def go():\n    from .lazy import x\n    return x\n")
    (package / "lazy.py").write_text("x = 1\n")
    (package / "fanout.py").write_text("from avatargen.unrelated import y\n")
    (package / "unrelated.py").write_text("y = 1\n")
    (package / "heads" / "anny.py").write_text("vertices = 4\n")
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    clear()
    yield package
    clear()


def clear():
    for function in (fingerprint._closure, fingerprint._source, fingerprint.imports_of):
        function.cache_clear()


def test_lazy_imports_and_plugged_modules_count_and_steering_does_not(project, make_run):
    hashes = [fingerprint.generate_code(make_run())]
    for name, text in (("lazy.py", "x = 2\n"), ("heads/anny.py", "vertices = 5\n")):
        (project / name).write_text(text)
        clear()
        hashes.append(fingerprint.generate_code(make_run()))
    assert len(set(hashes)) == 3
    (project / "fanout.py").write_text("from avatargen.unrelated import y, y as z\n")
    (project / "unrelated.py").write_text("y = 2\n")
    (project / "lazy.py").write_text("x = 2  # two\n")
    clear()
    assert fingerprint.generate_code(make_run()) == hashes[-1]


def test_what_an_avatar_depends_on(make_run, tmp_path):
    run, item = make_run(), PromptItem("list", "a", "a man", ("age=old",), "a head", 0)
    base = fingerprint.of_avatar(run, item, tmp_path)
    same = [
        (run, replace(item, list="other")),
        (run, replace(item, item="b")),
        (run, replace(item, geometry="c")),
    ]
    assert {fingerprint.of_avatar(*pair, tmp_path) for pair in same} == {base}
    other = [
        (run, replace(item, prompt="a woman")),
        (run, replace(item, seed=1)),
        (run, replace(item, tags=())),
        (make_run(steps=3), item),
        (make_run(batch_size=3), item),
        (run.model_copy(update={"threads": 2}), item),
        (run.model_copy(update={"head": "flame"}), item),
    ]
    assert len({fingerprint.of_avatar(*pair, tmp_path) for pair in other} | {base}) == len(other) + 1


def test_weights_count_by_content(tmp_path):
    folder = tmp_path / "prior"
    folder.mkdir()
    (folder / "unet.safetensors").write_bytes(b"one")
    first = fingerprint.weights_id("prior", tmp_path)
    (folder / "unet.safetensors").touch()
    assert fingerprint.weights_id("prior", tmp_path) == first
    (folder / "unet.safetensors").write_bytes(b"two")
    assert fingerprint.weights_id("prior", tmp_path) != first
    assert fingerprint.weights_id("some/hub-id", tmp_path) == "some/hub-id"


def test_a_flame_counts_by_content(make_run, tmp_path, monkeypatch):
    run = make_run().model_copy(update={"head": "flame"})
    model = write_flame(tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    before = fingerprint.of_method(run, tmp_path)
    model = model.rename(tmp_path / "another_name.pkl")
    renamed = fingerprint.of_method(run, tmp_path)
    model.write_bytes(model.read_bytes() + b"x")
    assert before == renamed != fingerprint.of_method(run, tmp_path)


def test_weights_of_a_clip_in_a_file_of_their_own_count_by_content(tmp_path):
    judge = JudgeSettings(model="ViT-B-32", pretrained="clip.pt")
    seen = set()
    for weights in (b"one", b"other"):
        (tmp_path / "clip.pt").write_bytes(weights)
        seen.add(fingerprint.of_embedding("render", "judge", judge, tmp_path))
    tag = judge.model_copy(update={"pretrained": "openai"})
    assert len(seen | {fingerprint.of_embedding("render", "judge", tag, tmp_path)}) == 3


def test_stages_build_on_each_other(make_run):
    run, settings = make_run(), EvaluationSettings()
    render = fingerprint.of_render("a", "ok", run, settings, run.prior)
    assert render != fingerprint.of_render("b", "ok", run, settings, run.prior)
    assert render != fingerprint.of_render("a", "ok", run, settings.model_copy(update={"views": 4}), run.prior)
    assert render != fingerprint.of_render("a", "ok", run, settings, run.prior.model_copy(update={"samples": 5}))
    judge = JudgeSettings(model="ViT-B-32")
    seen = {fingerprint.of_embedding(render, name, judge) for name in ("one", "two")}
    assert len(seen | {fingerprint.of_embedding("other", "one", judge)}) == 3


def test_what_was_made_of_a_failure_does_not_stand_for_the_avatar_that_is_made_after_all(make_run):
    run, settings = make_run(), EvaluationSettings()
    failed, made = (fingerprint.of_render("a", status, run, settings, run.prior) for status in ("error", "ok"))
    assert failed != made
    assert fingerprint.of_truth("a", "error", run) != fingerprint.of_truth("a", "ok", run)


def test_the_real_stages_find_their_modules(make_run):
    run = make_run()
    assert "avatargen.render.warp" in fingerprint._closure(fingerprint._plugged(run))
    assert (ROOT / "eval/turntable.py").exists()
    stages = {fingerprint.render_code(run), fingerprint.embed_code(), fingerprint.table_code()}
    assert len(stages) == 3
