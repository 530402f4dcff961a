"""``avatargen compare``: what it prints, its exit status and its page."""

import os
import subprocess
import sys

import pytest

from avatargen.cli.main import main
from avatargen.config.places import ROOT
from tests.eval.small_runs import write_run


@pytest.fixture
def runs(workplace):
    write_run(workplace / "results/a", {"full": [1, 2, 4, 1]})
    write_run(workplace / "results/b", {"full": [2, 2, 1, 1]}, guidance=25.0)
    write_run(workplace / "results/few", {"full": [2, 2]}, prompts=("a bald man", "an old woman"))
    return workplace / "results"


def test_differences_are_printed_and_the_page_is_written(runs, capfd):
    assert main(["compare", "results/a", "results/b", "--page", "out/page.html"]) == 0
    said = capfd.readouterr().out
    assert "prior.guidance: 12.0 → 25.0" in said and "mean rank" in said and "Page: out/page.html" in said
    assert "an old woman" in (runs.parent / "out/page.html").read_text(encoding="utf-8")


def test_only_the_named_tracks_are_compared(runs, capfd):
    assert main(["compare", "results/a", "results/b", "--tracks", "texture"]) == 0
    assert "texture" in capfd.readouterr().out
    assert main(["compare", "results/a", "results/b", "--tracks", "geometry"]) == 2  # which these runs have not
    assert "geometry" in capfd.readouterr().err


def test_runs_that_do_not_compare_exit_with_2_and_no_page(runs, capfd):
    assert main(["compare", "results/a", "results/few"]) == 2
    said = capfd.readouterr()
    assert "--common compares on those" in said.err and "Traceback" not in said.err and not said.out
    assert not (runs.parent / "compare.html").exists()
    assert main(["compare", "results/a", "results/few", "--common"]) == 0
    assert (runs.parent / "compare.html").is_file()


def test_a_page_that_cannot_be_written_exits_with_1(runs, capfd):
    assert main(["compare", "results/a", "results/b", "--page", "results/a/results.json/page.html"]) == 1
    assert "results.json" in capfd.readouterr().err


def test_it_works_from_any_directory_without_a_clone_on_the_path(runs, tmp_path):
    """The script finds the packages by its own place."""
    script = ROOT / "workflow/scripts/compare_runs.py"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, str(script), str(runs / "a"), str(runs / "b"), "--page", "page.html"]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "page.html").is_file()
