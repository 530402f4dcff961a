"""Fields on a command line are what was typed."""

import pytest

from avatargen.config.command_line import split_fields, stated_fields
from tests.user_folder import problems_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("lists=2024_01", ["2024_01"]),
        ("lists=010,no", ["010", "no"]),
        ("lists=[no, 2024_01]", ["no", "2024_01"]),
        ("methods=full, template", ["full", "template"]),
        ("seeds=0-3", ["0-3"]),
        ("prior=1.10", "1.10"),
        ("name=2024_01", "2024_01"),
        ("limit=2", 2),
        ("share=false", False),
        ("overrides={phase1_steps: 3, expression: false}", {"phase1_steps": 3, "expression": False}),
        ("reason=a=b", "a=b"),
    ],
)
def test_values_are_what_was_typed(text, value):
    assert stated_fields([text]) == {text.partition("=")[0]: value}


def test_files_are_read_as_texts_are(tmp_path):
    (tmp_path / "a.yaml").write_text("lists: [2024_01]\nlimit: 3\n")
    (tmp_path / "b.yaml").write_text("limit: 4\n")
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    assert stated_fields(["seeds=1"], files) == {"lists": ["2024_01"], "limit": 4, "seeds": ["1"]}


def test_all_problems_of_texts_come_at_once():
    texts = ["limit", "limit=1", "limit=2", "overrides={", "grid=[" + "[" * 99]
    problems = problems_of(stated_fields, texts, once=True)
    parts = ("got 'limit'; expected KEY=VALUE", "got limit twice", "--config: overrides: not valid", "40 deep")
    assert [part in line for part, line in zip(parts, problems, strict=True)] == [True] * 4


def test_the_last_of_two_counts_as_in_snakemake():
    assert stated_fields(["limit=1", "limit=2"]) == {"limit": 2}


def test_name_of_the_results_is_no_name_of_an_experiment():
    experiment, changes, bad = split_fields({"experiment": "mine", "name": "quick", "limit": 2, "lmit": 1})
    assert (experiment, changes) == ("mine", {"experiment": "quick", "limit": 2})
    assert bad == ["--config: unknown key 'lmit'; did you mean 'limit'?"]


def test_a_bad_name_of_the_results_is_called_so():
    for name in ("a/../b", "Quick", "", "x" * 42):
        _, changes, bad = split_fields({"name": name})
        assert changes == {} and bad == [
            f"--config: name: got {name!r}; expected at most 41 of a-z 0-9 _ -, a letter or digit first"
        ]
