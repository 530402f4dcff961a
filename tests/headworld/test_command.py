"""The command ``python -m avatargen.headworld`` writes pools, and says what is wrong with its input."""

from shutil import copy

import pytest

from avatargen.config.places import ROOT
from avatargen.headworld.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pools", "no/such.tsv"], "no/such.tsv: not readable"),
        (["lists", "no/such"], "lists: got no/such; expected an existing folder"),
    ],
)
def test_wrong_input_is_reported_in_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    problems = capsys.readouterr().err.splitlines()[1:]
    assert len(problems) == 1 and message in problems[0]


def test_pools_are_written_as_they_are_committed(tmp_path):
    copy(ROOT / "prompts" / "extreme.tsv", tmp_path)
    assert main(["pools", str(tmp_path / "extreme.tsv")]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"extreme.tsv", "extreme.pools.tsv"}
    assert (tmp_path / "extreme.pools.tsv").read_bytes() == (ROOT / "prompts" / "extreme.pools.tsv").read_bytes()
