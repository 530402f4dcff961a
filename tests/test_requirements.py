"""Pinned requirements agree with each other and carry no addresses."""

import hashlib
import re
import tomllib
from base64 import urlsafe_b64encode
from importlib.metadata import PackageNotFoundError, distribution

import pytest
import yaml

from avatargen.config.packages import WHEEL, WHEEL_VERSION
from avatargen.config.places import ROOT

EXTENSIONS = {"pytorch3d/_C.cpython-311-x86_64-linux-gnu.so": "eyRBr9R9zobwqqQgRe4-RuY95tltOKJpx-5hBYTHp1k"}
"""SHA-256 (as RECORD files state it) of the compiled part of wheels of PyTorch3D."""


def test_conda_environment_has_the_same_pins():
    pins = {line.strip() for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line}
    stated = yaml.safe_load((ROOT / "workflow/envs/avatargen.yaml").read_text())["dependencies"][-1]["pip"]
    assert len(stated) > 15 and set(stated) <= pins


def test_requirements_carry_no_addresses():
    text = (ROOT / "requirements.txt").read_text()
    assert "://" not in text and "nvidia-" not in text and "triton" not in text
    assert all("==" in line for line in text.splitlines() if not line.startswith("#"))


def test_pytorch3d_is_pinned_alike_everywhere():
    pin = f"{WHEEL}=={WHEEL_VERSION}"
    hashed = (ROOT / "workflow/envs/pytorch3d.txt").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    hashes = re.findall(r"sha256:([0-9a-f]{64})\b", hashed)
    assert pin in hashed and extras["pytorch3d"] == [pin] and len(set(hashes)) == len(hashes) == 9
    notice = (ROOT / "NOTICE").read_text()
    assert hashes[0] in notice and f"`{WHEEL}` {WHEEL_VERSION}" in notice


def test_installed_pytorch3d_is_the_pinned_one():
    """Where the wheel is installed: the compiled file, byte for byte, on the platform of `EXTENSIONS`."""
    try:
        wheel = distribution(WHEEL)
    except PackageNotFoundError:
        pytest.skip("PyTorch3D is absent or a build of one's own")
    assert wheel.version == WHEEL_VERSION
    for file in [file for file in wheel.files or () if str(file) in EXTENSIONS]:
        with open(file.locate(), "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").digest()
        assert urlsafe_b64encode(digest).decode().rstrip("=") == EXTENSIONS[str(file)]
