"""The map in CONTRIBUTING.md holds, and the house rules that can be read from the code."""

import ast
import pkgutil
import re
import subprocess
import sys

import pytest

from avatargen.config.places import ROOT
from avatargen.io.code_hash import STEERING

FILES = sorted(path for folder in ("avatargen", "eval", "workflow/scripts") for path in (ROOT / folder).rglob("*.py"))
ROW = re.compile(r"^\| `([\w/]+)` \| (.+) \| ([\w, ]*)\|$", re.MULTILINE)
MAP = {
    folder: {name.strip() for name in imports.split(",") if name.strip()}
    for folder, _, imports in ROW.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
}
LIGHT = ("config", "preflight")
NOUNS = {"A", "An", "The", "Of", "What", "How", "Whether", "Where", "Which", "Who", "All", "Those", "Each", "One"}
HEAVY = {"torch", "numpy", "pandas", "ray", "open_clip", "PIL"}


def name_of(path):
    return str(path.relative_to(ROOT))


def folder_of(path):
    """The folder of the map that a file is in: ``avatargen/io`` or ``eval``."""
    parts = path.relative_to(ROOT).parts
    return "/".join(parts[:2]) if parts[0] == "avatargen" and len(parts) > 2 else parts[0]


def imported(path):
    """Full names of what a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: a relative import, which the map does not see"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_map_names_every_folder():
    there = {folder_of(path) for path in FILES if path.parent not in (ROOT / "avatargen", ROOT / "workflow/scripts")}
    assert there == MAP.keys()


def test_the_map_has_no_cycles():
    order, left = [], {folder.rpartition("/")[2]: imports for folder, imports in MAP.items()}
    while left:
        free = [folder for folder, imports in left.items() if imports <= {*order}]
        assert free, f"cycle among {', '.join(left)}"
        order += free
        left = {folder: imports for folder, imports in left.items() if folder not in free}


@pytest.mark.parametrize("folder", sorted(MAP))
def test_folder_imports_what_the_map_says(folder):
    """Neither more nor less."""
    own, found = folder.rpartition("/")[2], set()
    for path in (ROOT / folder).rglob("*.py"):
        names = {tuple(name.split(".")) for name in imported(path)}
        found |= {parts[1] for parts in names if parts[0] == "avatargen" and len(parts) > 1}
        if folder != "eval":
            assert "eval" not in {parts[0] for parts in names}, name_of(path)
    assert found - {own, "__version__"} == MAP[folder]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_runtime_imports_ray_and_scripts_snakemake(path):
    roots = {name.split(".")[0] for name in imported(path)}
    assert "ray" not in roots or name_of(path) in ("avatargen/runtime/worker_pool.py", "avatargen/runtime/ray_head.py")
    assert not {"snakemake", "workflow", "tests"} & roots


def test_steering_folders_are_on_the_map():
    """What they decide is hashed by value; see `avatargen.io.code_hash`."""
    folders = {name.replace(".", "/") for name in STEERING} - {"avatargen/__init__", "avatargen/__main__"}
    assert folders <= MAP.keys()
    assert not any({name.rpartition("/")[2] for name in folders} & MAP[other] - {"config"} for other in ("eval",))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_house_rules(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"^\s*import eval\b", text, re.M)
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert "hasattr(" not in text
    assert not re.search(r"[\"'](/work/|/home/|/root/)", text)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_summary_lines_start_with_a_verb(path):
    """As far as a list of first words can tell; see CONTRIBUTING.md."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef) and not any("property" in ast.unparse(d) for d in node.decorator_list):
            first = (ast.get_docstring(node) or "Return").split()[0].rstrip(",:")
            assert first not in NOUNS, f"{node.name}: '{first} …'"


@pytest.mark.parametrize("folder", LIGHT)
def test_light_folders_import_nothing_heavy(folder):
    """The Snakefile imports them at every parse; each would take a second more with torch."""
    names = [name_of(path)[:-3].replace("/", ".") for path in sorted((ROOT / "avatargen" / folder).glob("[a-z]*.py"))]
    assert loaded(names) == set()


def test_parsing_the_snakefile_imports_nothing_heavy():
    assert loaded(["avatargen.runtime.launch"]) == set()


@pytest.mark.parametrize("name", ["generate", "render", "embed", "diagnose"])
def test_jobs_of_worker_pools_import_nothing_heavy(name):
    """They are thin drivers, started for every chunk."""
    modules = {module for module in imported(ROOT / f"workflow/scripts/{name}.py") if "." in module}
    modules = sorted(module for module in modules if (ROOT / f"{module.replace('.', '/')}.py").is_file())
    assert "avatargen.preflight.plan" in modules
    assert loaded(modules) == set()


def loaded(modules):
    """Heavy packages that an interpreter holds once it has imported some modules; numpy is light beside the rest."""
    code = f"import sys, {', '.join(modules)}; print(*{HEAVY - {'numpy'}} & {{*sys.modules}})"
    return {
        *subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
    }


def test_what_tests_replace_is_there():
    """A test that this machine skips would not say so."""
    replaced = re.compile(r"setattr\(\s*\"((?:avatargen|eval)\.[\w.]+)\"")
    names = {name for path in (ROOT / "tests").rglob("*.py") for name in replaced.findall(path.read_text("utf-8"))}
    assert names
    for name in sorted(names):
        pkgutil.resolve_name(name)


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=name_of)
def test_what_benchmarks_import_is_there(path):
    """Most of them run on demand alone."""
    for name in imported(path):
        if name.split(".")[0] in ("avatargen", "eval", "tests"):
            pkgutil.resolve_name(name)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_sizes(path):
    tree = ast.parse(path.read_bytes())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [node.name for node in functions if node.end_lineno - node.lineno >= 60]
    assert not long and len(path.read_text(encoding="utf-8").splitlines()) <= 350
