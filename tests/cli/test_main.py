"""The ``avatargen`` command: help, versions, lists, checks, and what is passed to Snakemake."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import avatargen
from avatargen.cli import listing, run
from avatargen.cli.main import build_parser, main
from avatargen.config.loading import load_methods
from avatargen.config.places import ROOT, shipped


def parsed(*arguments):
    options, rest = build_parser().parse_known_args(arguments)
    options.rest = rest
    return options


def test_help_shows_examples_and_is_quick_to_import():
    """Nothing heavy is imported: a shell that completes calls it often."""
    code = "import sys; from avatargen.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print({'torch', 'pandas', 'ray', 'snakemake'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "examples:" in found and found.splitlines()[-1] == "set()"
    for name in ("make", "run", "compare", "list", "check", "export", "train"):
        assert f"    {name} " in found


@pytest.mark.parametrize("name", ["make", "run", "compare", "list", "check", "export", "train"])
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0 and f"usage: avatargen {name}" in capsys.readouterr().out


def test_arguments_reach_the_command_that_trains(capsys, tmp_path):
    """Without them it would train everything, and replace the shipped weights."""
    assert main(["train", "judge", "--output", str(tmp_path / "mine")]) == 2
    assert f"got no prior at {tmp_path / 'mine'}" in capsys.readouterr().err


def test_version_is_the_packages(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"avatargen {avatargen.__version__}\n"


def test_unknown_options_are_refused_where_nothing_takes_them(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["list", "methods", "--verbose"])
    assert ended.value.code == 2 and "unrecognized arguments: --verbose" in capsys.readouterr().err


def test_methods_are_listed_with_their_reasons(capsys, workplace):
    assert main(["list", "methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(load_methods())
    assert lines[0].split(maxsplit=1)[1].strip() == load_methods()["full"].reason


@pytest.mark.parametrize("kind", sorted(listing.KINDS))
def test_every_name_that_ships_has_a_line(kind):
    found = listing.KINDS[kind]()
    assert found and all(line.strip() for line in found.values())


def test_an_interrupt_ends_with_130(capsys, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setitem(listing.KINDS, "methods", interrupted)
    assert main(["list", "methods"]) == 130 and "Interrupted" in capsys.readouterr().err


def test_own_lists_are_listed_beside_the_shipped_ones(capsys, workplace):
    (workplace / "prompts").mkdir()
    (workplace / "prompts/mine.txt").write_text("a man\na woman\n")
    assert main(["list", "lists"]) == 0
    said = capsys.readouterr().out
    assert "mine " in said and "2 prompts, such as 'a man'" in said and "embedded-study" in said


def test_run_passes_fields_and_other_options_to_snakemake(workplace):
    options = parsed("run", "study", "--limit", "2", "--methods", "full,oracle", "--config", "views=4", "-n", "--quiet")
    command = run.command(options)
    assert command[:3] == [sys.executable, "-m", "snakemake"]
    assert command[command.index("--snakefile") + 1] == str(shipped("Snakefile"))
    start = command.index("--config") + 1
    assert command[start : start + 4] == ["experiment=study", "limit=2", "methods=full,oracle", "views=4"]
    assert command[-2:] == ["-n", "--quiet"] and command[command.index("--cores") + 1] == "all"


def test_every_field_with_an_option_reaches_snakemake(workplace):
    given = {"limit": "2", "methods": "full", "lists": "extreme", "seeds": "0-3", "name": "mine"}
    options = [text for name, value in given.items() for text in (f"--{name}", value)]
    command = run.command(parsed("run", "study", *options, "--cores", "2"))
    fields = command[command.index("--config") + 1 : command.index("--cores")]
    assert {*fields} == {"experiment=study", *(f"{name}={value}" for name, value in given.items())}
    assert command[command.index("--cores") + 1] == "2" and given.keys() == {*run.FIELDS}


def test_fields_with_an_option_change_what_is_checked(capsys, workplace):
    asked = ["check", "embedded", "--limit", "2", "--methods", "template", "--lists", "extreme", "--seeds", "0-3"]
    assert main(asked) == 0
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert said["avatars"] == "8 to make, 0 finished" and said["prompts"].startswith("2 prompts of 'extreme'")


def test_run_passes_targets_and_repeated_config_to_snakemake(workplace):
    options = parsed("run", "embedded", "results/embedded/tables/clip_r.csv", "--config", "views=4", "--config", "a=1")
    command = run.command(options)
    start, end = command.index("--config") + 1, command.index("--cores")
    assert command[start:end] == ["experiment=embedded", "views=4", "a=1"]
    assert command[-1] == "results/embedded/tables/clip_r.csv"


def test_snakemakes_own_options_are_not_taken_for_ours(workplace):
    options = parsed("run", "embedded", "--list")
    assert options.lists is None and options.rest == ["--list"]


def test_a_cache_that_cannot_be_written_lies_in_the_run(tmp_path):
    """A file stands where a folder would be made: so it is for root, too, who may write everywhere."""
    (tmp_path / "file").write_text("")
    for environment, hub in (
        ({"HOME": str(tmp_path / "file")}, tmp_path / "file/.cache/huggingface"),
        (
            {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "file/cache"), "HF_HOME": "/models"},
            Path("/models"),
        ),
    ):
        own = str(tmp_path / ".snakemake/cache")
        wanted = {"XDG_CACHE_HOME": own, "HF_HOME": str(hub), "MPLCONFIGDIR": f"{own}/matplotlib"}
        assert run.writable_cache(environment, tmp_path) == wanted
    assert run.writable_cache({"HOME": str(tmp_path)}, tmp_path) == {}


@pytest.mark.slow
def test_dry_run_from_an_empty_directory(workplace):
    command = [sys.executable, "-m", "avatargen", "run", "--limit", "1", "--methods", "template", "-n"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "embed" in found.stdout and not (workplace / "results").exists()


def test_check_says_what_a_run_costs(capsys, workplace):
    assert main(["check", "embedded", "--limit", "2", "--methods", "full,template,oracle"]) == 0
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert said["avatars"] == "6 to make, 0 finished"
    assert said["prompts"].startswith("2 prompts of 'embedded'")
    assert "`avatargen run embedded --limit 1`" in said["time"] and "needed" in said["disk"]


def test_check_under_another_name_says_how_to_learn_the_time(capsys, workplace):
    assert main(["check", "embedded", "--limit", "2", "--methods", "full", "--name", "mine"]) == 0
    assert "`avatargen run embedded --name mine --limit 1` tells" in capsys.readouterr().out


def test_check_reports_all_problems_at_once(capsys, workplace):
    assert main(["check", "embedded", "--methods", "ful,oracl", "--config", "batch_size=0"]) == 2
    said = capsys.readouterr().err
    assert "did you mean 'full'?" in said and "did you mean 'oracle'?" in said and "batch_size" in said


def test_config_without_a_value_is_refused(capsys):
    assert main(["check", "embedded", "--config", "batch_size"]) == 2
    assert "--config: got 'batch_size'; expected KEY=VALUE" in capsys.readouterr().err


def test_field_that_is_stated_twice_is_refused(capsys):
    assert main(["check", "embedded", "--limit", "3", "--config", "limit=2", "experiment=study"]) == 2
    said = capsys.readouterr().err
    assert "got limit twice" in said and "got experiment twice" in said


def test_run_reports_wrong_input_before_snakemake_starts(capsys, workplace):
    assert main(["run", "embeded", "-n"]) == 2
    assert "did you mean 'embedded'?" in capsys.readouterr().err


def test_folder_that_cannot_be_written_is_named(capsys, workplace):
    (workplace / "file").touch()
    assert main(["make", "a bald man", "--method", "template", "--out", "file", "--no-show"]) == 1
    assert "file" in capsys.readouterr().err


def test_export_of_no_avatar_is_refused(capsys, workplace):
    assert main(["export", "nowhere"]) == 2
    assert "nowhere: got no avatar.json; expected a folder of an avatar" in capsys.readouterr().err


def test_out_takes_one_folder(capsys):
    assert main(["export", "a", "b", "--out", "c.glb"]) == 2
    assert "--out: got 2 folders; expected one" in capsys.readouterr().err
