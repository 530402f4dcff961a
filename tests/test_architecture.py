"""The rooms and their doors, read from the imports (avatargen/fingerprint.py reads the same ones)."""

import ast
import re
import subprocess
import sys

import pytest

from avatargen.config import ROOT

FILES = sorted(path for folder in ("avatargen", "eval", "workflow/scripts") for path in (ROOT / folder).rglob("*.py"))
PACKAGES = [path for path in FILES if path.is_relative_to(ROOT / "avatargen") or path.is_relative_to(ROOT / "eval")]
LIGHT = ("config", "settings", "prompts", "errors", "plugins", "fingerprint", "validate", "launch", "disk", "weights")
EVAL_MAY_IMPORT = {
    *(
        "avatar_file",
        "bake",
        "cameras",
        "config",
        "errors",
        "fingerprint",
        "heads",
        "headworld",
        "history",
        "mesh",
        "plugins",
        "priors",
    ),
    *("prompts", "render", "segmentation", "settings", "types", "uv_map", "export"),
}


def name_of(path):
    return str(path.relative_to(ROOT))


def imported(path, top_level_only=False):
    """Full names of what a file imports."""
    tree = ast.parse(path.read_bytes())
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def roots(path):
    return {name.split(".")[0] for name in imported(path)}


def test_there_is_something_to_read():
    assert len(FILES) > 30 and {"avatargen", "ray"} <= {root for path in FILES for root in roots(path)}


@pytest.mark.parametrize("path", PACKAGES, ids=name_of)
def test_the_doors_are_kept(path):
    here, found = name_of(path), roots(path)
    if here.startswith("avatargen/"):
        assert "eval" not in found
        assert "ray" not in found or here in ("avatargen/crew.py", "avatargen/rayhead.py")
    else:
        inside = {name.split(".")[1] for name in imported(path) if name.startswith("avatargen.")}
        assert inside <= EVAL_MAY_IMPORT
    assert "snakemake" not in found and "workflow" not in found and "tests" not in found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_house_rules(path):
    text = path.read_text(encoding="utf-8")
    assert "eval" not in {name for name in imported(path) if "." not in name} or "from eval" in text
    assert not re.search(r"^\s*import eval\b", text, re.M)
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert "hasattr(" not in text
    assert not re.search(r"[\"'](/work/|/home/|/root/)", text)


@pytest.mark.parametrize("name", LIGHT)
def test_what_the_snakefile_imports_is_light(name):
    heavy = {"torch", "numpy", "pandas", "ray", "eval"}
    assert not heavy & {root.split(".")[0] for root in imported(ROOT / f"avatargen/{name}.py", top_level_only=True)}


def test_parsing_the_snakefile_imports_nothing_heavy():
    code = "import sys; from avatargen import launch; print({'torch', 'pandas', 'ray'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["generate", "render", "embed"])
def test_jobs_that_workers_do_the_work_of_import_nothing_heavy(name):
    """Each of them would take seconds more, at every chunk."""
    modules = {module for module in imported(ROOT / f"workflow/scripts/{name}.py") if "." in module}
    modules = sorted(module for module in modules if (ROOT / f"{module.replace('.', '/')}.py").is_file())
    assert "avatargen.plan" in modules and "avatargen.crew" in modules
    heavy = "{'torch', 'pandas', 'ray', 'open_clip', 'PIL'}"
    code = f"import sys, {', '.join(modules)}; print({heavy} & {{*sys.modules}})"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_sizes(path):
    tree = ast.parse(path.read_bytes())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [node.name for node in functions if node.end_lineno - node.lineno >= 60]
    assert not long and len(path.read_text(encoding="utf-8").splitlines()) < 400
