"""Comparisons of runs: what compares, what the differences are, what the page shows."""

import json
import re

import numpy as np
import pytest

from avatargen.config.errors import InputError
from avatargen.io.atomic import read_json
from eval.compare_page import bar, entries, write_page
from eval.compare_runs import compare_runs
from eval.compare_text import as_text
from eval.metrics import METRICS
from eval.results_file import NAME
from tests.eval.small_runs import PROMPTS, draw_views, write_run


@pytest.fixture
def folder(tmp_path):
    """Where runs lie; two of them are written: `b` has a method more, and its ranks of `full` differ."""
    write_run(tmp_path / "results/a", {"full": [1, 2, 4, 1]})
    write_run(tmp_path / "results/b", {"full": [2, 2, 1, 0], "other": [1, 1, 1, 1]}, mm=3.0, guidance=25.0)
    return tmp_path / "results"


def refused(*arguments, **options):
    with pytest.raises(InputError) as error:
        compare_runs(*map(str, arguments), **options)
    return str(error.value)


def found(comparison, metric, pair=0):
    return next(row for row in comparison.pairs[pair].differences if row.metric.name == metric)


def test_differences_are_b_minus_a_over_prompts(folder):
    comparison = compare_runs(f"{folder}/a", f"{folder}/b")
    assert [pair.name for pair in comparison.pairs] == ["full"]
    rank = found(comparison, "mean_rank")  # 2, 2, 1 and 9 for the failure, less 1, 2, 4 and 1
    assert (rank.n, rank.differ, rank.a, rank.b) == (4, 3, 2.0, 3.5)
    assert rank.difference == 1.5 and rank.low <= 1.5 <= rank.high
    first = found(comparison, "r_at_1")
    assert (first.a, first.b, first.difference) == (0.5, 0.25, -0.25)
    assert found(comparison, "margin").n == 4  # a failure has -1
    assert found(comparison, "geometry_mm").difference == pytest.approx(1.0)
    assert found(comparison, "geometry_mm").judge == "truth"


def test_metrics_without_a_column_are_left_out(folder):
    names = {row.metric.name for row in compare_runs(f"{folder}/a", f"{folder}/b").pairs[0].differences}
    assert names == {"mrr", "r_at_1", "mean_rank", "margin", "clip_score", "geometry_mm", "colour_error"}


def test_swapped_runs_swap_the_signs(folder):
    there, back = compare_runs(f"{folder}/a", f"{folder}/b"), compare_runs(f"{folder}/b", f"{folder}/a")
    for one, other in zip(there.pairs[0].differences, back.pairs[0].differences, strict=True):
        assert one.difference == -other.difference and one.p == other.p and one.q == other.q


def test_too_few_prompts_that_differ_are_untestable(folder):
    comparison = compare_runs(f"{folder}/a", f"{folder}/b")
    assert {row.verdict for row in comparison.pairs[0].differences} == {"untestable", "same"}
    many = tuple(f"head {index}" for index in range(12))
    write_run(folder / "c", {"full": [1] * 12, "worse": [3] * 12}, prompts=many)
    worse = compare_runs(f"{folder}/c:full", f"{folder}/c:worse")
    assert found(worse, "mean_rank").verdict == found(worse, "clip_score").verdict == "A better"
    assert found(worse, "mean_rank").p == pytest.approx(2 / 2**12)
    assert found(worse, "geometry_mm").verdict == "same"


def test_q_values_are_over_all_rows_of_the_comparison(folder):
    many = tuple(f"head {index}" for index in range(12))
    for name, ranks in (("c", [1, 1]), ("d", [3, 1])):
        write_run(folder / name, dict(zip(("one", "two"), ([rank] * 12 for rank in ranks), strict=True)), prompts=many)
    rows = [row for pair in compare_runs(f"{folder}/c", f"{folder}/d").pairs for row in pair.differences]
    p = np.array([row.p for row in rows])
    expected = [min(min(1.0, q * len(p) / (p <= q).sum()) for q in p[p >= value]) for value in p]
    assert len(rows) == 14 and np.allclose([row.q for row in rows], expected)
    assert 0 < rows[0].p < rows[0].q < 0.05


def test_seeds_of_a_prompt_are_averaged(folder):
    write_run(folder / "c", {"full": [1, 1, 1, 1], "two": [3, 1, 1, 1]}, seeds=(0, 1))
    rank = found(compare_runs(f"{folder}/c:full", f"{folder}/c:two"), "mean_rank")
    assert (rank.n, rank.differ, rank.difference) == (4, 1, 0.5)


def test_a_method_of_each_run_can_be_named(folder):
    comparison = compare_runs(f"{folder}/a:full", f"{folder}/b:other")
    assert comparison.pairs[0].name == "full → other"
    assert ("prior.guidance", "12.0", "25.0") in comparison.pairs[0].settings
    assert found(comparison, "r_at_1").b == 1.0
    assert compare_runs(f"{folder}/a", f"{folder}/b:full").pairs[0].name == "full"


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("none", "b", "none: no such folder; expected results/EXPERIMENT of a finished run (`avatargen run none`"),
        ("a:ful", "b", "unknown method 'ful'; did you mean 'full'?"),
        ("a", "b:othr", "unknown method 'othr'; did you mean 'other'?"),
        ("a", "b:other", "unknown method 'other'"),
        ("a", "a", "got one run twice; name two of its methods"),
        ("a:full", "a:full", "got method 'full' twice"),
    ],
)
def test_runs_that_cannot_be_read_are_refused(folder, a, b, said):
    assert said in refused(folder / a, folder / b)


def test_problems_of_both_runs_are_reported_at_once(folder):
    said = refused(folder / "c", folder / "d")
    assert "c: no such folder" in said and "d: no such folder" in said


def test_missing_tables_name_the_command_that_makes_them(folder):
    (folder / "c").mkdir()
    assert "c: got no tables" in refused(folder / "a", folder / "c")
    assert "`avatargen run c` makes it" in refused(folder / "a", folder / "c")


@pytest.mark.parametrize("change", ["missing", "older", "damaged"])
def test_tables_of_another_version_are_refused(folder, change):
    path = folder / "b" / NAME
    content = read_json(path)
    path.unlink()
    if change != "missing":
        path.write_text(json.dumps({**content, "schema": 0}) if change == "older" else "{")
    said = refused(folder / "a", folder / "b")
    assert "b: made by another version" in said and "`avatargen run b` makes its tables again" in said


def test_runs_without_a_method_in_common_name_those_of_both(folder):
    write_run(folder / "c", {"mine": [1, 1, 1, 1]})
    said = refused(folder / "a", folder / "c")
    assert "no method is in both runs" in said and "a has full" in said and "c has mine" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"views": {"size": 64}}, "size: got 128 and 64"),
        ({"views": {"numbers": "bfloat16"}}, "number format: got float32 and bfloat16"),
        ({"content": "w2"}, "judge's weights: got judge:w1 and judge:w2"),
        ({"rivals": ("a third head",)}, "pool of captions: differs for 4 of 4 prompts in common"),
        ({"prompts": tuple("wxyz")}, "prompts and seeds: got 4 prompts and 4 prompts, none in common"),
        ({"seeds": (0, 1)}, "got 4 prompts and 4 prompts with 8 seeds, 4 in common"),
    ],
)
def test_another_protocol_is_refused_and_the_difference_named(folder, changes, said):
    write_run(folder / "c", {"full": [1, 1, 1, 1]}, **changes)
    assert said in refused(folder / "a", folder / "c")
    if "seeds" not in changes:
        assert said in refused(folder / "a", folder / "c", common=True)


def test_all_differences_of_protocols_are_reported_at_once(folder):
    write_run(folder / "c", {"full": [1, 1, 1, 1]}, content="w2", views={"size": 64})
    said = refused(folder / "a", folder / "c")
    assert "3 problems" in said and "size: got 128 and 64" in said and "judge's weights" in said


def test_runs_of_another_limit_compare_on_common_prompts_if_asked(folder):
    write_run(folder / "c", {"full": [2, 2]}, prompts=PROMPTS[:2])
    said = refused(folder / "a", folder / "c")
    assert "4 prompts and 2 prompts, 2 in common" in said and "--common" in said and "an old woman" in said
    comparison = compare_runs(f"{folder}/a", f"{folder}/c", common=True)
    rank = found(comparison, "mean_rank")
    assert (rank.n, rank.a, rank.b) == (2, 1.5, 2.0)
    assert found(comparison, "geometry_mm").n == 2
    assert "compared on the 2 prompts that both have, of 4 prompts and 2 prompts" in comparison.notes


def test_methods_on_parts_of_an_experiment_compare_on_the_shared_part(folder):
    """`full` was asked for all four prompts, and counts under the protocol of the first two as well."""
    import pandas as pd

    write_run(folder / "c", {"few": [2, 2]}, prompts=PROMPTS[:2])
    tables = folder / "c/tables"
    small = pd.read_csv(tables / "records.csv").assign(subset="2x1")
    both = pd.read_csv(folder / "a/tables/records.csv")
    here = both["prompt"].isin(PROMPTS[:2])
    both["subset"] = np.where(here, "all 2x1", "all")
    both["protocol"] = np.where(here, both["protocol"] + " " + small["protocol"][0], both["protocol"])
    protocols = {**read_json(folder / "a/tables/protocols.json"), **read_json(tables / "protocols.json")}
    pd.concat([both, small]).to_csv(tables / "records.csv", index=False)
    (tables / "protocols.json").write_text(json.dumps(protocols))
    comparison = compare_runs(f"{folder}/c:full", f"{folder}/c:few")
    assert found(comparison, "mean_rank").n == 2
    assert "full and few are compared on subset 2x1, which both have" in comparison.notes


def test_only_tracks_that_are_asked_for_are_compared(folder):
    assert "unknown track 'textur'; did you mean 'texture'?" in refused(folder / "a", folder / "b", tracks=["textur"])
    rows = compare_runs(f"{folder}/a", f"{folder}/b", tracks=["texture"]).pairs[0].differences
    assert {row.track for row in rows} == {"texture"}  # so no distance between surfaces


def test_distances_by_other_code_are_left_out(folder):
    write_run(folder / "c", {"full": [1, 1, 1, 1]}, truth="t2")
    comparison = compare_runs(f"{folder}/a", f"{folder}/c")
    assert "truth" not in {row.judge for row in comparison.pairs[0].differences}
    assert any("distances to the ground truth are left out" in note for note in comparison.notes)


def test_notes_name_versions_that_differ(folder):
    write_run(folder / "c", {"full": [1, 1, 1, 1]}, versions={"code": "def"})
    assert "code: abc → def" in compare_runs(f"{folder}/a", f"{folder}/c").notes


def test_judges_whose_ceiling_is_inverted_are_marked(folder, tmp_path):
    content = read_json(folder / "b" / NAME)
    for result in content["results"]:
        result["ceiling_inverted"] = result["judge"] == "mini"
    assert "†" not in as_text(compare_runs(f"{folder}/a", f"{folder}/b"))
    (folder / "b" / NAME).write_text(json.dumps(content))
    comparison = compare_runs(f"{folder}/a", f"{folder}/b")
    text = as_text(comparison)
    assert "mini †" in text and "truth †" not in text and "† This judge finds fewer" in text
    write_page(tmp_path / "c.html", comparison)
    assert "judge mini †" in (tmp_path / "c.html").read_text()


def test_text_shows_settings_rows_and_notes(folder):
    text = as_text(compare_runs(f"{folder}/a", f"{folder}/b"))
    assert "prior.guidance: 12.0 → 25.0" in text
    assert re.search(r"mini +texture +mean rank +4 +3 +2\.00 +3\.50 +\+1\.50 ", text)


def test_the_prompt_that_differs_most_comes_first(folder):
    comparison = compare_runs(f"{folder}/a", f"{folder}/b")
    order = [prompt for _, prompt, *_ in entries(comparison.pairs[0])]
    assert order[0] == PROMPTS[3] and order[-1] == PROMPTS[1]  # the failure; ranks 2 and 2


def test_the_page_is_self_contained_and_escapes(folder, tmp_path):
    for run in "ab":
        for index in range(4):
            draw_views(folder / run / f"few/full/avatars/i{index}-0")
    write_page(tmp_path / "c.html", compare_runs(f"{folder}/a", f"{folder}/b"))
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:|#)", page) and "<b>& more" not in page and "<i>boom" not in page
    assert "a baby &lt;b&gt;&amp; more" in page and "error: &lt;i&gt;boom&lt;/i&gt;" in page
    assert page.count('<img src="data:image/webp') == 7  # two sides of four prompts, but for the failure
    assert "prior.guidance" in page and "25.0" in page
    for text in re.findall(r'data-sort="([^"]*)"', page):
        assert all(-1 <= value <= 1 for value in json.loads(text.replace("&#34;", '"')).values())


def test_a_copied_run_shows_its_own_pictures(folder, tmp_path):
    """Manifests hold the folders of the run that was copied."""
    draw_views(folder / "b/few/full/avatars/i0-0")
    moved = (folder / "b").rename(folder / "moved")
    write_page(tmp_path / "c.html", compare_runs(f"{folder}/a", f"{moved}"))
    assert (tmp_path / "c.html").read_text().count('<img src="data:image/webp') == 1


def test_a_bar_without_width_stays_in_the_middle(folder):
    row = found(compare_runs(f"{folder}/a", f"{folder}/b"), "colour_error")
    assert row.difference == 0 and bar(row, 0.0) == (50.0, 0.0, 50.0)


def test_metrics_have_unique_names_and_labels():
    assert len({metric.name for metric in METRICS}) == len({metric.label for metric in METRICS}) == len(METRICS)
