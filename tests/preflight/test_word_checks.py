"""Notes on words that the shipped models never read."""

import pytest

from avatargen.cli.main import build_parser, main
from avatargen.cli.make import configure
from avatargen.preflight.validate import validate_all
from avatargen.preflight.word_checks import KNOW, prompt_note, word_notes
from avatargen.runtime.launch import notes_of
from tests.user_folder import problems_of

SHIPPED = {"methods": ["full", "template"], "prior": "mini", "judges": ["mini", "own"]}


@pytest.fixture
def strange(place):
    """The working directory, with prompts and negatives in words that the shipped models never read."""
    lines = ["a man", "a merry man", "a cheerful lad with blue hair", "a monkey", "a hat", "a face"]
    (place / "prompts/few.txt").write_text("".join(f"{line}\n" for line in lines))
    (place / "prompts/few.negatives.txt").write_text("a man with blue hair\na woman with a hat\n")
    return place


@pytest.fixture
def make_options():
    """Options of ``avatargen make``."""

    def parsed(experiment: str, method: str = "full"):
        return build_parser().parse_args(["make", "any", "--experiment", experiment, "--method", method])

    return parsed


def test_prompts_and_competing_captions_are_counted(strange):
    note, known = word_notes(validate_all("mine", SHIPPED))
    assert known == KNOW
    said = "few: 4 of 6 prompts and 1 of 2 competing captions have words that prior 'mini', judge 'mini' never read: "
    assert note.startswith(said)
    assert "(merry)" in note and "(cheerful, lad)" in note and "and 1 more" in note


def test_competing_captions_alone_are_quoted(strange):
    (strange / "prompts/few.txt").write_text("a man\na woman\n")
    note, _ = word_notes(validate_all("mine", SHIPPED))
    said = "few: 1 of 2 competing captions have words that prior 'mini', judge 'mini' never read"
    assert note == f"{said}: 'a woman with a hat' (hat)"


def test_the_default_experiment_has_no_such_words():
    assert word_notes(validate_all("embedded")) == []


def test_other_models_read_free_text(strange):
    assert word_notes(validate_all("mine")) == []
    judged = word_notes(validate_all("mine", SHIPPED | {"prior": "own"}))
    assert "words that judge 'mini' never read" in judged[0]
    unused = word_notes(validate_all("mine", SHIPPED | {"methods": ["template"]}))
    assert "words that judge 'mini' never read" in unused[0], "the template takes no step"


def test_notes_are_said_before_a_run_and_by_check(strange, capsys):
    assert KNOW in notes_of(validate_all("mine", SHIPPED))
    assert main(["check", "mine", "--config", "prior=mini"]) == 0
    assert "few: 4 of 6 prompts" in capsys.readouterr().out


def test_a_single_prompt_is_noted(strange, make_options):
    run, _ = configure(make_options(experiment="embedded"))
    assert prompt_note(run, "a smiling man") is None
    assert prompt_note(run, "a Cheerful LAD") == f"prior 'mini' never read: cheerful, lad; {KNOW}"
    guided, _ = configure(make_options(experiment="embedded", method="clip_guided"))
    assert str(prompt_note(guided, "a lad")).startswith("prior 'mini', guide 'guide' never read: lad")
    other, _ = configure(make_options(experiment="mine"))
    assert prompt_note(other, "a cheerful lad") is None


def test_tags_that_describe_a_head_are_checked_with_their_line(place):
    lines = [
        "id\tprompt\ttags",
        "a\ta lad\ttruth=tags;hair=bold;hare=bun",
        "b\ta man\ttruth=tag",
        "c\ta chap\thair=bold",
    ]
    (place / "prompts/some.tsv").write_text("".join(f"{line}\n" for line in lines))
    problems = problems_of(validate_all, "mine", {"lists": ["some"]})
    parts = (":3: tag 'truth=tag': expected", ":2: tag 'hair=bold': unknown hair", ":2: tag 'hare=bun': unknown")
    assert len(problems) == 3 and all(f"some.tsv{part}" in line for part, line in zip(parts, problems, strict=True))
