"""What the gallery sorts by."""

import pandas as pd
import pytest

from eval.avatar_scores import scores_of
from eval.tables import write_table


def test_avatars_are_sorted_by_the_same_judge(tmp_path):
    """A method that the first judge guided has no score by it, and none of another judge stands for it."""
    asked = [("mini", "full", 0.3), ("guide", "full", 0.1), ("guide", "guided", 0.2)]
    records = pd.DataFrame(asked, columns=["judge", "method", "margin"]).assign(
        **{"list": "few", "item": "a", "seed": 0, "track": "texture", "rank": 1, "pool_size": 4, "taken_for": ""}
    )
    units = pd.DataFrame({"method": ["full", "guided"], "list": "few", "item": "a", "seed": 0})
    write_table(records, tmp_path, "records", readable=False)
    write_table(units.assign(geometry_mm=4.5), tmp_path, "truth_records", readable=False)
    write_table(units.assign(findings=""), tmp_path, "diagnosis_records", readable=False)
    found = scores_of(tmp_path)
    unit = ("few", "a", 0)
    assert found["full", unit].keys["rank, texture"] == 1 and "margin, texture" in found["full", unit].keys
    assert found["guided", unit].keys == {"mm": pytest.approx(4.5)}
