"""Pinned requirements agree with each other and carry no addresses."""

import yaml

from avatargen.config.places import ROOT


def test_conda_environment_has_the_same_pins():
    pins = {line.strip() for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line}
    stated = yaml.safe_load((ROOT / "workflow/envs/avatargen.yaml").read_text())["dependencies"][-1]["pip"]
    assert len(stated) > 15 and set(stated) <= pins


def test_requirements_carry_no_addresses():
    text = (ROOT / "requirements.txt").read_text()
    assert "://" not in text and "nvidia-" not in text and "triton" not in text
    assert all("==" in line for line in text.splitlines() if not line.startswith("#"))
