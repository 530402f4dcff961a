"""The numbers at the top of a report are the baseline's, on as many prompts as it shares with floor and ceiling."""

import pandas as pd
import pytest

from avatargen.config.settings import MethodSettings
from eval.key_numbers import judge_lines, key_numbers

METHODS = {
    "bare": MethodSettings(),
    "full": MethodSettings(),
    "template": MethodSettings(source="template"),
    "oracle": MethodSettings(source="oracle"),
}
SHARES = {"full": 0.5, "template": 0.0, "oracle": 0.75, "bare": 0.25}


@pytest.fixture
def tables(tmp_path):
    """Sixteen heads of `full`; eight that floor and ceiling have, too; four that an ablation has, too."""
    parts = {"all": ["full"], "8x1": ["full", "template", "oracle"], "4x1": [*SHARES]}
    lines = [
        {"method": method, "judge": "tiny", "track": track, "subset": subset, "n": n, "pool": 24, "chance": 1 / 24}
        | {"r_at_1": SHARES[method], "r_at_1_low": 0.0, "r_at_1_high": 1.0, "ceiling_inverted": False}
        for (subset, methods), n in zip(parts.items(), (16, 8, 4), strict=True)
        for method in methods
        for track in ("texture", "geometry")
    ]
    pd.DataFrame(lines).to_csv(tmp_path / "clip_r.csv", index=False)
    distances = {"16": 3.0, "8": 4.0, "4": 5.0}
    truth = [
        {"method": line["method"], "subset": line["subset"]}
        | {f"geometry_mm_{end}": distances[str(line["n"])] for end in ("mean", "low", "high")}
        for line in lines[::2]
    ]
    pd.DataFrame(truth).to_csv(tmp_path / "truth.csv", index=False)
    return tmp_path


def test_an_ablation_on_fewer_prompts_does_not_make_the_numbers_fewer(tables):
    colour, shape, distance = key_numbers("full", METHODS, tables)
    assert "of 4 of 8 avatars of full first among 24" in colour.text and "ground-truth heads 75 %" in shape.text
    assert distance.value == "4.0 mm" and "is 4.0 mm away" in distance.text


def test_without_controls_all_avatars_count(tables):
    alone = {"full": METHODS["full"], "bare": METHODS["bare"]}
    colour, _, distance = key_numbers("full", alone, tables)
    assert "of 8 of 16 avatars of full" in colour.text and "ground-truth" not in colour.text
    assert distance.value == "3.0 mm"


def test_a_larger_subset_without_the_baseline_has_no_say(tables):
    """Ceiling and floor on prompts that the baseline was not asked for, as with meshes of another system."""
    scores = pd.read_csv(tables / "clip_r.csv")
    other = scores[(scores["subset"] == "8x1") & (scores["method"] != "full")].assign(subset="9x1", n=9)
    rest = scores[(scores["subset"] == "8x1") & (scores["method"] != "oracle")]
    pd.concat([other, rest]).to_csv(tables / "clip_r.csv", index=False)
    colour, *_ = key_numbers("full", METHODS, tables)
    assert "of 4 of 8 avatars of full" in colour.text


def test_judges_are_shown_with_their_ceilings(tables):
    tracks, (line,) = judge_lines({"tiny": "a/model"}, {"tiny": "a `small` judge"}, "full", METHODS, tables)
    assert tracks == ["texture", "geometry"] and line.reason == "a small judge" and line.ceilings == ["75 %", "75 %"]
