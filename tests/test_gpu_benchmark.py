"""The GPU benchmark runs as a whole, at a reduced size."""

import json
import os
import subprocess
import sys

import pytest

from avatargen.config.places import ROOT


@pytest.mark.slow
def test_the_benchmark_measures_every_part(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), "--small", "--out", str(tmp_path / "out")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "AVATARGEN_"))}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    facts = json.loads((tmp_path / "out/gpu.json").read_text())
    assert [row["batch"] for row in facts["steps"]] == [1, 2]
    assert all(row["avatars_an_hour"] > 0 and row["peak_gib"] > 0 for row in facts["steps"])
    assert facts["breakdown"]["phase 2"]["UNet"] > 0 and facts["embedded"][0]["unet"] > 0
    assert facts["renderers"]["warp"]["both"] > facts["renderers"]["warp"]["forward"] > 0
    assert facts["workflow"]["returncode"] == 0, done.stdout[-3000:]
    assert facts["workflow"]["statuses"] == ["ok", "ok"] and facts["workflow"]["batches"] == [6]
    report = (tmp_path / "out/gpu.md").read_text()
    assert "reduced size" in report and "The real workflow" in report
