"""What an avatar's history keeps."""

import numpy as np
import pytest

from avatargen.io.history import LOSSES, SNAPSHOTS, History, snapshot
from avatargen.preflight import disk_estimate

IMAGE = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(("steps", "taken"), [(360, 9), (5_000, 12), (20, 1)])
def test_long_runs_keep_as_many_snapshots_as_short_ones(make_run, steps, taken):
    history = History()
    for step in [*range(40, steps, 40), steps]:  # checkpoints
        if history.is_due(step, steps):
            history.snapshots.append((step, IMAGE))
    assert len(history.snapshots) == taken and history.snapshots[-1][0] == steps
    run = make_run(steps=steps)
    assert taken <= SNAPSHOTS + 1 and taken == disk_estimate._snapshots(run)


def test_damaged_history_reads_as_empty(tmp_path):
    History([(10, {"distillation": 1.0})], [(10, IMAGE)]).save(tmp_path)
    file = tmp_path / "history.npz"
    assert len(History.load(tmp_path).snapshots) == 1
    file.write_bytes(file.read_bytes()[:100])
    assert History.load(tmp_path) == History()


def test_a_history_reads_as_it_was_written(tmp_path):
    draw = np.random.default_rng(0)
    shots = [(step, draw.integers(0, 256, (16, 8, 3), dtype=np.uint8)) for step in (10, 20, 30)]
    entries = [(10, dict.fromkeys(LOSSES, 0.5)), (20, dict.fromkeys(LOSSES, 0.25))]
    History(entries, shots).save(tmp_path)
    for until, kept in ((None, 3), (20, 2), (5, 0)):
        loaded = History.load(tmp_path, until)
        assert [step for step, _ in loaded.snapshots] == [10, 20, 30][:kept]
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(loaded.snapshots, shots, strict=False))
    assert History.load(tmp_path).entries == entries
    History(entries).save(tmp_path)
    assert History.load(tmp_path) == History(entries)


def test_histories_of_earlier_versions_are_read(tmp_path):
    """They held the snapshots as an array."""
    arrays = {name: np.array([0.5]) for name in LOSSES} | {"steps": np.array([10])}
    shots = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    np.savez_compressed(tmp_path / "history.npz", snapshot_steps=np.array([10, 20]), snapshots=shots, **arrays)
    loaded = History.load(tmp_path)
    assert [step for step, _ in loaded.snapshots] == [10, 20] and loaded.entries[0][1]["clip"] == 0.5
    assert all(np.array_equal(found, shot) for (_, found), shot in zip(loaded.snapshots, shots, strict=True))


def test_large_snapshots_shrink_to_the_mean():
    image = np.zeros((512, 512, 3), np.uint8)
    image[::2] = 100
    assert snapshot(image).shape == (128, 128, 3) and (snapshot(image) == 50).all()
    assert np.array_equal(snapshot(image[:64, :64]), image[:64, :64])
