"""What is said of PyTorch3D when it cannot be imported."""

import subprocess
import sys

import pytest

from avatargen.config import packages
from avatargen.config.packages import WHEEL, WHEEL_TORCH, WHEEL_VERSION, pytorch3d_failure, pytorch3d_problem
from avatargen.config.places import ROOT


def state(monkeypatch, found=True, **versions):
    monkeypatch.setattr(packages, "_version", {"torch": "", WHEEL: "", "pytorch3d": "", **versions}.__getitem__)
    monkeypatch.setattr(packages, "find_spec", lambda name: object() if found else None)


def test_absent_package_names_torch_and_what_to_install(monkeypatch):
    state(monkeypatch, found=False, torch="2.13.0")
    problem = pytorch3d_problem()
    assert problem.startswith("PyTorch3D is not installed, torch is 2.13.0; expected easypytorch3d==0.7.9.post1")
    assert "pip install" in problem and "2.11 or 2.12" in problem


@pytest.mark.parametrize(("torch", "fits"), [("2.10.0", False), ("2.11.1+cu126", True), ("2.12.1", True)])
def test_wheel_fits_some_versions_of_torch(monkeypatch, torch, fits):
    state(monkeypatch, torch=torch, **{WHEEL: WHEEL_VERSION})
    assert (pytorch3d_problem() is None) == fits


def test_own_build_takes_the_wheels_place(monkeypatch):
    state(monkeypatch, torch="2.15.0", pytorch3d="0.7.9", **{WHEEL: WHEEL_VERSION})
    assert pytorch3d_problem() is None
    failure = pytorch3d_failure(ImportError("_C.so: undefined symbol: _ZN3c10"))
    assert "torch 2.15.0 (_C.so: undefined symbol: _ZN3c10)" in failure


def test_failing_import_is_an_input_error(tmp_path):
    """Import the renderer where `pytorch3d` raises what a library for another torch raises."""
    (tmp_path / "pytorch3d").mkdir()
    (tmp_path / "pytorch3d/__init__.py").write_text("raise ImportError('_C.so: undefined symbol: x')")
    code = f"""
import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]
from avatargen.config.errors import InputError
from avatargen.config.plugins import RENDERERS, load_class
try:
    load_class("renderer", "pytorch3d", RENDERERS)
except InputError as error:
    print(*error.problems)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "undefined symbol: x" in said and WHEEL_TORCH[-1] in said and "renderer: warp" in said
