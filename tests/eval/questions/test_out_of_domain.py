"""How scores fall with unknown words: slopes by head, what is the judge's reading, lists without variants."""

from __future__ import annotations

import pandas as pd
import pytest

from eval.columns import UNIT
from eval.questions.out_of_domain import answer, slopes, words_of
from tests.eval.questions.runs import verdicts

VARIANTS = ("plain.0", "added.1", "added.2", "added.4", "swapped.1", "swapped.2", "swapped.4")
HEADS = tuple("abcdefgh")
ITEMS = tuple(f"{head}.{variant}" for head in HEADS for variant in VARIANTS)


def words(item):
    return " ".join("word" for _ in range(int(item[-1])))


def number_of(prompt, kind):
    """Return the number of words of a prompt if it is of this kind, else 0."""
    item = ITEMS[prompt]
    return int(item[-1]) if kind in item else 0


def wobble(prompt):
    """Return a number that differs by head and variant, so that slopes differ."""
    return 1e-4 * ((7 * prompt) % 5)


@pytest.fixture
def make(make_evidence):
    def made(**values):
        return answer(make_evidence("out_of_domain", ITEMS, words=words, **values))

    return made


def test_slopes_are_those_of_a_line_through_each_head():
    index = [("a", f"{head}.{kind}", 0) for head in "xy" for kind in ("plain.0", "added.1", "added.2", "swapped.4")]
    values = pd.Series([1.0, 2.0, 3.0, 9.0, 4.0, 4.0, 4.0, 0.0], index=pd.MultiIndex.from_tuples(index, names=UNIT))
    assert slopes(values, "added").tolist() == [1.0, 0.0]
    assert slopes(values, "swapped").tolist() == [2.0, -1.0]
    assert slopes(values, "added").index.tolist() == [("a", "x", 0), ("a", "y", 0)]


def test_ids_without_variants_have_no_slope():
    index = pd.MultiIndex.from_tuples([("a", "x", 0), ("a", "y.added.no", 0)], names=UNIT)
    assert slopes(pd.Series([1.0, 2.0], index=index), "added").empty


def test_losses_are_told_by_kind(make):
    """Every swapped word costs `full` 0.01 of margin and 1 mm; added ones cost nothing that all heads share."""

    def margin(method, prompt):
        return 0.1 + wobble(prompt) - (0.01 * number_of(prompt, "swapped") if method == "full" else 0)

    found = make(margin=margin, mm=lambda method, prompt: 4.0 + wobble(prompt) + number_of(prompt, "swapped"))
    said = verdicts(found)
    assert said["unknown words for known ones lower the texture margin of `full`"] == "holds"
    assert said["unknown words for known ones raise the geometry error of `full`"] == "holds"
    assert said["unknown words beside the others lower the texture margin of `full`"] == "not shown"
    assert "lower the texture margin of the ground-truth heads" in list(said)[-2]
    assert list(said.values())[-2] == "not shown"
    added, _, swapped = found.answer.partition("Other words for what is known make worse: ")
    assert added.startswith("Words that say nothing of the head make worse: nothing, as far as shown; not shown for: ")
    assert swapped.startswith("geometry error by 1.00 mm (1.00 to 1.00) a word, texture margin by -0.0100 (")
    assert "On the ground-truth heads, where the judge's reading alone changes: texture margin by " in swapped


def test_the_judges_reading_is_told_apart(make):
    found = make(margin=lambda method, prompt: 0.1 + wobble(prompt) - 0.02 * number_of(prompt, "added"))
    said = verdicts(found)
    assert (
        said["unknown words beside the others lower the texture margin of the ground-truth heads: the judge's reading"]
        == "holds"
    )


def test_the_table_has_means_by_kind_and_number(make):
    table = make(mm=lambda method, prompt: 4.0 + number_of(prompt, "swapped")).tables[0].table
    own = table[(table["method"] == "full") & (table["kind"] == "swapped")]
    assert own["words"].tolist() == [1, 2, 4] and own["n"].tolist() == [8, 8, 8]
    assert own["geometry_mm"].tolist() == [5.0, 6.0, 8.0]
    assert len(table) == 3 * 7


def test_the_plot_has_a_line_for_each_kind(make):
    figure, _ = make().plots["by_words"]
    assert [line.get_label() for line in figure.axes[0].containers[:2]] == ["full, added", "full, swapped"]


def test_other_lists_have_means_alone(make_evidence):
    found = answer(make_evidence("out_of_domain", tuple("abcd"), words=lambda item: "x" if item > "b" else ""))
    assert found.answer == "No head has variants with and without unknown words by 'full': not measured."
    assert found.tables[0].table["words"].tolist()[:2] == [0, 1]


def test_missing_methods_are_said_to_be_missing(make_evidence):
    found = answer(make_evidence("out_of_domain", ITEMS, words=words, without=["oracle"]))
    assert [one.figure for one in found.statements if "ground-truth" in one.text] == ["not measured: oracle"] * 4


def test_nothing_at_all_is_no_error(make_evidence):
    assert "not measured" in answer(make_evidence("out_of_domain", without=["full", "oracle", "template"])).answer


def test_words_are_counted():
    records = pd.DataFrame({"list": "l", "item": ["a.plain.0", "b"], "unknown_words": ["", "jolly lad"]})
    assert words_of(records) == {("l", "a.plain.0"): ("plain", 0), ("l", "b"): ("", 2)}
