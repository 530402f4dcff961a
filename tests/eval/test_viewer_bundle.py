"""The bundled script of the viewer is what the sources and the pinned packages make."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from avatargen.config.places import ROOT
from eval.page import TEMPLATES

SOURCE, BUNDLE = ROOT / "eval/viewer", TEMPLATES / "viewer.bundle.js"
LARGEST = 700_000
"""Bytes of the bundle, which is a part of every report."""


@pytest.fixture(scope="module")
def facts():
    return json.loads((TEMPLATES / "viewer.bundle.json").read_text())


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_bundle_is_the_recorded_one(facts):
    assert sha256(BUNDLE) == facts["sha256"] and BUNDLE.stat().st_size == facts["bytes"] <= LARGEST


def test_the_bundle_was_built_from_these_sources(facts):
    """Where this fails, `make viewer` builds it anew."""
    assert sha256(SOURCE / "main.js") == facts["source"] and sha256(SOURCE / "package-lock.json") == facts["lock"]


def test_versions_are_pinned_and_recorded(facts):
    wanted = json.loads((SOURCE / "package.json").read_text())
    locked = json.loads((SOURCE / "package-lock.json").read_text())["packages"]
    assert facts["packages"] == wanted["dependencies"] and facts["esbuild"] == wanted["devDependencies"]["esbuild"]
    for name, version in (wanted["dependencies"] | wanted["devDependencies"]).items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert locked[f"node_modules/{name}"]["version"] == version and locked[f"node_modules/{name}"]["integrity"]


def test_the_bundle_states_versions_and_licences(facts):
    banner = BUNDLE.read_text(encoding="utf-8").partition("*/")[0]
    assert all(f"{name} {version}" in banner for name, version in facts["packages"].items())
    assert "The MIT License" in banner and "three.js authors" in banner and "Arseny Kapoulkine" in banner


def test_the_bundle_cannot_end_a_script_or_reach_out():
    text = BUNDLE.read_text(encoding="utf-8")
    assert "</script" not in text and "<!--" not in text
    assert set(re.findall(r"https?://[\w./]+", text)) == {"http://www.w3.org/1999/xhtml"}  # a name, not an address


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("npm"), reason="needs npm")
def test_building_again_gives_the_same_bytes(facts, tmp_path):
    """Needs the registry of npm, too; without it the packages that are there are used, or nothing is tested."""
    copy = tmp_path / "eval/viewer"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("node_modules"))
    (tmp_path / "eval/templates").mkdir()
    environment = {**os.environ, "npm_config_cache": str(tmp_path / "cache")}
    got = subprocess.run(["npm", "ci"], cwd=copy, env=environment, capture_output=True, text=True)
    if got.returncode:
        pytest.skip(f"npm ci: {got.stderr[-300:]}")
    subprocess.run(["npm", "run", "build"], cwd=copy, env=environment, check=True, capture_output=True)
    assert json.loads((tmp_path / "eval/templates/viewer.bundle.json").read_text()) == facts
    assert (tmp_path / "eval/templates/viewer.bundle.js").read_bytes() == BUNDLE.read_bytes()
