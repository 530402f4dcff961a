"""Only the study reads the list `study`: nothing is trained, tuned or compared on its heads."""

import ast
import re

import pytest
import yaml

from avatargen.config.places import ROOT
from avatargen.config.prompts import read_list
from eval.claims import CLAIMS

FOLDERS = ("avatargen", "benchmarks", "eval", "workflow")
WRITER = "avatargen/headworld/lists.py"
"""The module that writes the list; it reads none."""
FILE = re.compile(r"(?<![\w-])study(\.pools)?\.tsv")
EXPERIMENTS = ROOT / "workflow/config"
LOADERS = ("find_list", "validate_all", "study_of", "load_experiment")


def readers(root):
    """Return the sources and configurations under `root` that name the list, relative to it.

    A Python source names it by its file, by the name as a string that is joined to others or passed to `find_list`, or
    by a head of it: a prompt.
    """
    prompts = [item.prompt for item in read_list(ROOT / "prompts/study.tsv")]
    files = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*")) if path.is_file()]
    found = []
    for path in files:
        name, text = path.relative_to(root).as_posix(), ""
        if path.suffix in (".py", ".smk", ".yaml", ".md", ".txt", ".json"):
            text = path.read_text(encoding="utf-8")
        named = FILE.search(text) or any(prompt in text for prompt in prompts)
        if path.suffix == ".py":
            named = named or _passes_name(ast.parse(text))
        elif path.suffix == ".yaml":
            stated = yaml.safe_load(text)
            named = named or (isinstance(stated, dict) and "study" in (stated.get("lists") or ()))
        found += [name] if named else []
    return found


def _passes_name(tree):
    """Return whether a function that reads lists gets the bare name, or a variable or argument of lists holds it."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _called(node) in LOADERS]
    kept = [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword | ast.Assign) and _is_lists(node)]
    parts = [each for part in [*calls, *kept] for each in ast.walk(part)]
    return any(isinstance(each, ast.Constant) and each.value == "study" for each in parts)


def _called(node):
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def _is_lists(node):
    names = [node.arg] if isinstance(node, ast.keyword) else [getattr(target, "id", "") for target in node.targets]
    return any("list" in (name or "").lower() for name in names)


def test_only_the_study_reads_its_list():
    assert readers(ROOT) == [WRITER, "workflow/config/study.yaml"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("avatargen/training/tune.py", 'LIST = shipped("prompts") / "study.tsv"\n'),
        ("avatargen/training/tune.py", 'path = find_list("study", folders)\n'),
        ("benchmarks/tune.py", 'main(lists=("study", "gate"))\n'),
        ("eval/tune.py", 'TUNED_LISTS = ["study"]\n'),
        ("benchmarks/tune.py", 'PROMPT = "a man with pink hair, a long nose and red eyes"\n'),
        ("workflow/config/tune.yaml", "experiment: tune\nlists: [embedded, study]\n"),
        ("workflow/rules/tune.smk", "rule tune:\n    input: 'prompts/study.pools.tsv'\n"),
    ],
)
def test_another_reader_would_be_found(tmp_path, name, text):
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(text)
    assert readers(tmp_path) == [name]


def test_earlier_study_list_is_another_name(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/words.py").write_text(
        'LIST = ROOT / "prompts" / "embedded-study.tsv"\nwork = here / "study"\n'
    )
    assert readers(tmp_path) == []


def test_study_runs_claimed_ablations_on_all_prompts():
    study = yaml.safe_load((EXPERIMENTS / "study.yaml").read_text())
    assert study["lists"] == ["study"] and "limit" not in study
    fewer = {method for group in study["reduced"] if "prompts" in group for method in group["methods"]}
    one_seed = {method for group in study["reduced"] for method in group["methods"]}
    assert {claim.method for claim in CLAIMS} <= {*study["methods"]} - fewer
    whole = {"full", "texture_only", "template", "oracle", "true_texture", "true_shape"}
    assert {*study["methods"]} - one_seed == whole
