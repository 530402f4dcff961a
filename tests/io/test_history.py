"""What an avatar's history keeps."""

import numpy as np
import pytest

from avatargen.io.history import SNAPSHOTS, History
from avatargen.preflight import disk_estimate

IMAGE = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(("steps", "taken"), [(360, 9), (5_000, 12), (20, 1)])
def test_long_runs_keep_as_many_snapshots_as_short_ones(steps, taken):
    history = History()
    for step in [*range(40, steps, 40), steps]:  # checkpoints
        if history.is_due(step, steps):
            history.snapshots.append((step, IMAGE))
    assert len(history.snapshots) == taken and history.snapshots[-1][0] == steps
    assert taken <= SNAPSHOTS + 1 == disk_estimate.SNAPSHOTS


def test_damaged_history_reads_as_empty(tmp_path):
    History([(10, {"distillation": 1.0})], [(10, IMAGE)]).save(tmp_path)
    file = tmp_path / "history.npz"
    assert len(History.load(tmp_path).snapshots) == 1
    file.write_bytes(file.read_bytes()[:100])
    assert History.load(tmp_path) == History()
