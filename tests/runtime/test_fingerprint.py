"""Fingerprints change with everything that shapes a result, and with nothing else."""

import shutil
from dataclasses import replace

import pytest

from avatargen.config.experiment import EvaluationSettings, JudgeSettings
from avatargen.config.places import ROOT
from avatargen.config.prompts import PromptItem
from avatargen.config.settings import ReaderSettings
from avatargen.heads.flame.files import VARIABLE
from avatargen.io import code_hash
from avatargen.io.content_hash import weights_id
from avatargen.runtime import fingerprint
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
    assert code_hash.source_hash(SOURCE) == code_hash.source_hash(same) == code_hash.source_hash(documented)


@pytest.mark.parametrize(("old", "new"), [(b"3.14159", b"3.1416"), (b"r * r", b"r ** 2"), (b"area", b"disc")])
def test_code_counts(old, new):
    assert code_hash.source_hash(SOURCE) != code_hash.source_hash(SOURCE.replace(old, new))


def test_a_string_that_is_not_a_docstring_counts():
    assert code_hash.source_hash(b"x = 'a'") != code_hash.source_hash(b"x = 'b'")


@pytest.mark.parametrize("cached", [None, "{", "[1]"])
def test_remembered_modules_hash_like_parsed_ones(monkeypatch, tmp_path, cached):
    """The second time, no module is parsed; a damaged cache is as none."""
    monkeypatch.setenv("AVATARGEN_CACHE", str(tmp_path))
    modules = ("avatargen.io.manifest", "eval.collect")
    if cached:
        (tmp_path / code_hash.CACHE).write_text(cached)
    found = []
    for _ in range(2):
        clear()
        code_hash._remembered.cache_clear()
        code_hash.source_hash.cache_clear()
        found.append((code_hash.code_hash(modules), code_hash.closure(modules)))
        monkeypatch.setattr(code_hash.ast, "parse", None)
    code_hash._remembered.cache_clear()
    assert found[0] == found[1] and (tmp_path / code_hash.CACHE).is_file()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Replace this project by a small one."""
    package = tmp_path / "avatargen"
    files = {
        "method/generator.py": "from avatargen.method.step import go\nfrom avatargen.runtime import launch\n",
        "method/step.py": "def go():\n    from .lazy import x\n    return x\n",
        "method/lazy.py": "x = 1\n",
        "runtime/launch.py": "from avatargen.unrelated import y\n",
        "unrelated.py": "y = 1\n",
        "heads/anny/head.py": "vertices = 4\n",
        "method/sources.py": "",
        "render/warp.py": "",
        "priors/expression_reader.py": "",
        "priors/stable_diffusion.py": "",
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    monkeypatch.setattr(code_hash, "ROOT", tmp_path)
    clear()
    yield package
    clear()


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """Replace this project by a copy of its code."""
    for name in ("avatargen", "eval"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("weights", "__pycache__"))
    monkeypatch.setattr(code_hash, "ROOT", tmp_path)
    clear()
    yield tmp_path
    clear()


def clear():
    for function in (code_hash.closure, code_hash._source, code_hash.imports_of, code_hash._code_hash):
        function.cache_clear()


def test_editing_the_pools_changes_the_tables_hash(copied):
    """Which caption is an avatar's own in a track decides its rank, so editing that makes ``clip_r.csv`` stale."""
    before = fingerprint.table_code()
    file = copied / "eval/pools.py"
    file.write_text(file.read_text().replace('track == "geometry" else', 'track != "texture" else'))
    clear()
    assert fingerprint.table_code() != before


def test_every_module_of_evaluation_and_io_counts(copied):
    """Only whole folders that schedule work or read configuration are left out."""
    names = {name for name in code_hash.closure(("eval.collect", "eval.report")) if code_hash.steers(name)}
    assert {name.split(".")[1] if "." in name else name for name in names} <= {"avatargen", "config"}
    before = fingerprint.table_code()
    for module in ("eval/confusions.py", "avatargen/io/manifest.py"):
        file = copied / module
        file.write_text(file.read_text() + "\nEDITED = 1\n")
        clear()
        changed = fingerprint.table_code()
        assert changed != before, module
        before = changed


def test_lazy_and_plugged_modules_count_and_runtime_not(project, make_run):
    hashes = [fingerprint.generate_code(make_run())]
    for name, text in (("method/lazy.py", "x = 2\n"), ("heads/anny/head.py", "vertices = 5\n")):
        (project / name).write_text(text)
        clear()
        hashes.append(fingerprint.generate_code(make_run()))
    assert len(set(hashes)) == 3
    (project / "runtime/launch.py").write_text("from avatargen.unrelated import y, y as z\n")
    (project / "unrelated.py").write_text("y = 2\n")
    (project / "method/lazy.py").write_text("x = 2  # two\n")
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
        (make_run(batch_size="auto"), item),
        (run.model_copy(update={"threads": 2}), item),
        (run.model_copy(update={"head": "flame"}), item),
    ]
    assert len({fingerprint.of_avatar(*pair, tmp_path) for pair in other} | {base}) == len(other) + 1


def test_weights_count_by_content(tmp_path):
    folder = tmp_path / "prior"
    folder.mkdir()
    (folder / "unet.safetensors").write_bytes(b"one")
    first = weights_id("prior", tmp_path)
    (folder / "unet.safetensors").touch()
    assert weights_id("prior", tmp_path) == first
    (folder / "unet.safetensors").write_bytes(b"two")
    assert weights_id("prior", tmp_path) != first
    assert weights_id("some/hub-id", tmp_path) == "some/hub-id"


def test_a_flame_counts_by_content(make_run, tmp_path, monkeypatch):
    run = make_run().model_copy(update={"head": "flame"})
    model = write_flame(tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    before = fingerprint.of_method(run, tmp_path)
    model = model.rename(tmp_path / "another_name.pkl")
    renamed = fingerprint.of_method(run, tmp_path)
    model.write_bytes(model.read_bytes() + b"x")
    assert before == renamed != fingerprint.of_method(run, tmp_path)


def test_a_reader_counts_by_content(make_run, tmp_path):
    run, path = make_run(), tmp_path / "reader.safetensors"
    path.write_bytes(b"a")
    reads = run.prior.model_copy(update={"reader": ReaderSettings(path=str(path))})
    before = fingerprint.of_method(run.model_copy(update={"prior": reads}), tmp_path)
    path.write_bytes(b"ab")
    assert fingerprint.of_method(run.model_copy(update={"prior": reads}), tmp_path) != before


def test_a_weights_file_of_a_clip_counts_by_content(tmp_path):
    judge = JudgeSettings(model="ViT-B-32", pretrained="clip.pt")
    seen = set()
    for weights in (b"one", b"other"):
        (tmp_path / "clip.pt").write_bytes(weights)
        seen.add(fingerprint.of_embedding("render", "judge", judge, 4, tmp_path))
    tag = judge.model_copy(update={"pretrained": "openai"})
    assert len(seen | {fingerprint.of_embedding("render", "judge", tag, 4, tmp_path)}) == 3


def test_stages_build_on_each_other(make_run):
    run, settings = make_run(), EvaluationSettings()
    render = fingerprint.of_render("a", "ok", run, settings, run.prior)
    assert render != fingerprint.of_render("b", "ok", run, settings, run.prior)
    assert render != fingerprint.of_render("a", "ok", run, settings.model_copy(update={"views": 4}), run.prior)
    assert render != fingerprint.of_render("a", "ok", run, settings, run.prior.model_copy(update={"samples": 5}))
    judge = JudgeSettings(model="ViT-B-32")
    seen = {fingerprint.of_embedding(render, name, judge, 4) for name in ("one", "two")}
    seen |= {fingerprint.of_embedding("other", "one", judge, 4), fingerprint.of_embedding(render, "one", judge, 0)}
    assert len(seen) == 4
    silent = settings.model_copy(update={"noise_draws": 0})  # noise is added to what is rendered
    assert render == fingerprint.of_render("a", "ok", run, silent, run.prior)


def test_a_diagnostic_depends_on_judges_only_where_it_shows_them_images(make_run):
    run, settings = make_run(), EvaluationSettings()
    judges = {"one": JudgeSettings(model="ViT-B-32")}

    def of(name="robustness", avatar="a", status="ok", settings=settings, prior=run.prior, judges=judges):
        return fingerprint.of_diagnostic(name, avatar, status, run, settings, prior, judges)

    silent, shown = of()
    assert silent != shown and of() == (silent, shown)
    others = {
        *of(avatar="b"),
        *of(status="error"),
        *of(settings=settings.model_copy(update={"size": 64})),
        *of(prior=run.prior.model_copy(update={"samples": 5})),
    }
    assert len(others) == 8 and not others & {silent, shown}
    again, changed = of(judges={"one": JudgeSettings(model="ViT-L-14")})
    assert again == silent and changed != shown
    assert of(settings=settings.model_copy(update={"noise_draws": 0, "turntable_frames": 8})) == (silent, shown)


def test_code_of_a_diagnostic_counts_for_it_alone(copied, make_run, monkeypatch):
    """A change of one diagnostic leaves what others measured."""
    (copied / "eval/diagnostics/other.py").write_text("from eval.diagnostics.base import Diagnostic\n")
    monkeypatch.setitem(fingerprint.DIAGNOSTICS, "other", "eval.diagnostics.other:Other")
    names = ("robustness", "other")
    before = [fingerprint.diagnostic_code(name, make_run()) for name in names]
    file = copied / "eval/diagnostics/robustness.py"
    file.write_text(file.read_text().replace("AMBIENT = 0.2", "AMBIENT = 0.3"))
    clear()
    after = [fingerprint.diagnostic_code(name, make_run()) for name in names]
    assert after[0] != before[0] and after[1] == before[1]


def test_results_of_a_failure_are_stale_once_it_is_made(make_run):
    run, settings = make_run(), EvaluationSettings()
    failed, made = (fingerprint.of_render("a", status, run, settings, run.prior) for status in ("error", "ok"))
    assert failed != made
    assert fingerprint.of_truth("a", "error", run) != fingerprint.of_truth("a", "ok", run)


def test_the_real_stages_find_their_modules(make_run):
    run = make_run()
    assert "avatargen.render.warp" in code_hash.closure(fingerprint._plugged(run))
    assert (ROOT / "eval/turntable.py").exists()
    stages = {fingerprint.render_code(run), fingerprint.embed_code(), fingerprint.table_code()}
    assert len(stages) == 3


def test_code_of_a_plugged_in_source_counts(project, make_run, monkeypatch):
    monkeypatch.setitem(fingerprint.SOURCES, "template", "avatargen.method.other:Other")
    (project / "method/other.py").write_text("class Other: pass\n")
    clear()
    hashes = [fingerprint.generate_code(make_run(source="template"))]
    (project / "method/other.py").write_text("class Other: floor = 1\n")
    clear()
    hashes.append(fingerprint.generate_code(make_run(source="template")))
    assert len(set(hashes)) == 2
