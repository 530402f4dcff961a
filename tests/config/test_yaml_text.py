"""YAML keeps what was typed, and no document takes long."""

import time

import pytest

from avatargen.config.loading import load_experiment, load_methods
from avatargen.config.yaml_text import read_value, read_yaml
from tests.user_folder import problems_of

BOMB = "[&a0 [x,x,x,x,x,x,x,x,x]," + ",".join(f"&a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)) + "]"
"""Nine lists in nine lists, eight times over: 43 million words."""
EXPERIMENT = "lists: {lists}\nmethods: [full]\njudges: [own]\nprior: own\n"


@pytest.mark.parametrize(
    "text", ["2024_01", "010", "0x1F", "0o17", "1:30", "no", "yes", "on", "off", "2024-01-01", "+5"]
)
def test_words_that_may_be_names_stay_text(text):
    assert read_value(text, "x") == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("12", 12), ("-3", -3), ("0", 0), ("0.5", 0.5), ("1.0e-8", 1e-8), ("true", True), ("False", False)],
        *[("~", None), ("", None), ("null", None), (".inf", float("inf")), ("9" * 5000, "9" * 5000)],
    ],
)
def test_numbers_and_truth_values_are_read(text, value):
    found = read_value(text, "x")
    assert found == value and type(found) is type(value)


def test_keys_are_names(place):
    path = place / "workflow/config/methods.yaml"
    path.write_text(
        "".join(f"{key}:\n  reason: why not\n" for key in ("no", "2024_01", "1.10", "010", "~x".strip("~")))
    )
    assert {"no", "2024_01", "1.10", "010", "x"} <= set(load_methods())


def test_stanzas_are_merged_and_keys_stand_once(tmp_path):
    (tmp_path / "a.yaml").write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}
    (tmp_path / "a.yaml").write_text("a: {}\nb:\n  x: 1\n  x: 2\n")
    assert problems_of(read_yaml, tmp_path / "a.yaml")[0].endswith("a.yaml:3: not valid YAML: duplicate key 'x'")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "holds more than 100,000 values, or is nested more than 40 deep, aliases included"),
        ("[" * 3000 + "]" * 3000, "nested more than 40 deep"),
        ("{a: " * 3000 + "1" + "}" * 3000, "nested more than 40 deep"),
        ("[&a0 [x]," + ",".join(f"&a{n} [*a{n - 1}]" for n in range(1, 3000)) + "]", "nested more than 40 deep"),
        ("&a [*a]", "an anchor holds an alias of itself"),
        ("{[a]: b}", "got a list or a mapping as a key; expected a name"),
        ("!!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("[a", "not valid YAML: "),
    ],
)
def test_hostile_documents_are_one_quick_error(text, message):
    began = time.process_time()
    (problem,) = problems_of(read_value, text, "--config: lists")
    assert problem.startswith("--config: lists: not valid YAML: ") and message in problem and len(problem) < 200
    assert time.process_time() - began < 10


def test_a_bomb_in_a_file_is_named_by_its_line(place):
    (place / "workflow/config/mine.yaml").write_text(f"# first\n{EXPERIMENT.format(lists=BOMB)}")
    (problem,) = problems_of(load_experiment, "mine")
    assert problem.startswith("workflow/config/mine.yaml:2: not valid YAML: holds more than")


def test_yaml_in_utf16_is_read(tmp_path):
    (tmp_path / "a.yaml").write_bytes("a: ä\n".encode("utf-16"))
    assert read_yaml(tmp_path / "a.yaml") == {"a": "ä"}


@pytest.mark.parametrize("lists", ["[no]", "[2024_01]", "[010]", "[2024]", "no", "2024"])
def test_names_in_files_are_text(place, lists):
    (place / "workflow/config/mine.yaml").write_text(EXPERIMENT.format(lists=lists))
    assert load_experiment("mine").lists == (lists.strip("[]"),)


@pytest.mark.parametrize(("lists", "told"), [("[1.10]", "1.1"), ("[true]", "true")])
def test_numbers_that_may_be_typed_in_several_ways_are_refused(place, lists, told):
    (place / "workflow/config/mine.yaml").write_text(EXPERIMENT.format(lists=lists))
    (problem,) = problems_of(load_experiment, "mine")
    assert f"lists.0: got {told}, which is no text; put it in quotes" in problem


@pytest.mark.parametrize(
    ("seeds", "found"),
    [("[0-3]", (0, 1, 2, 3)), ("[7, 0-2]", (7, 0, 1, 2)), ("5", (5,)), ("[-1]", (-1,)), ("2-2", (2,))],
)
def test_ranges_of_seeds_are_spelled_out(place, seeds, found):
    (place / "workflow/config/mine.yaml").write_text(EXPERIMENT.format(lists="[few]") + f"seeds: {seeds}\n")
    assert load_experiment("mine").seeds == found


@pytest.mark.parametrize(
    "seeds", ["[010]", "[1.0]", "[true]", "[3-0]", "[-3-0]", "[1_0]", "[x]", "[0-3-5]", "[{}]", "[~]"]
)
def test_seeds_are_whole_numbers_or_ranges(place, seeds):
    (place / "workflow/config/mine.yaml").write_text(EXPERIMENT.format(lists="[few]") + f"seeds: {seeds}\n")
    (problem,) = problems_of(load_experiment, "mine")
    assert "seeds: got " in problem and "expected a whole number, or a range as 0-3" in problem


def test_seeds_without_end_are_refused_at_once(place):
    (problem,) = problems_of(load_experiment, "mine", changes={"seeds": "0-99999999999"})
    assert "seeds: got more than 10,000; expected fewer" in problem


@pytest.mark.parametrize("value", ["010", "0-3", "1_0", " 5 ", "9" * 5000, True])
def test_whole_numbers_are_not_guessed(place, value):
    (problem,) = problems_of(load_experiment, "mine", changes={"limit": value})
    assert "limit: got " in problem and "expected a whole number" in problem and len(problem) < 200
