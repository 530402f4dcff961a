"""The shipped weights are those that the report measured, and small enough to ship."""

import re

from avatargen.io.content_hash import weights_id
from avatargen.training.command import WEIGHTS

MOST = 40e6
"""Bytes of all weights together."""


def test_weights_are_those_of_the_report():
    stated = re.findall(r"^\| `(\w+)/` \| `([0-9a-f]+)` \|", (WEIGHTS / "REPORT.md").read_text(), re.MULTILINE)
    folders = {path.parent.name for path in WEIGHTS.glob("*/*.json")}
    assert {name for name, _ in stated} == folders
    for name, digest in stated:
        assert weights_id(str(WEIGHTS / name))[:12] == digest, name


def test_weights_are_small():
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*.safetensors")) < MOST
