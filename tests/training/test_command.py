"""The command ``avatargen train``: what it asks for, and how weights are put in place."""

import pytest

from avatargen.training import command


def test_weights_are_replaced_once_all_are_trained(tmp_path, monkeypatch):
    work, output = tmp_path / "work", tmp_path / "assets"

    def write(folder, text):
        folder.mkdir(parents=True)
        (folder / text).write_text(text)

    def fail(*_):
        raise KeyboardInterrupt

    for name in ("prior", "judge", "guide"):
        write(output / name, "old")
    (output / "README.md").write_text("stays")
    monkeypatch.setattr(command, "train_the_prior", lambda _work, made: write(made, "new"))
    monkeypatch.setattr(command, "train_a_judge", fail)
    with pytest.raises(KeyboardInterrupt):
        command.train("all", work, output)
    assert [path.name for path in sorted(output.rglob("*")) if path.is_file()] == ["README.md", "old", "old", "old"]
    monkeypatch.setattr(command, "train_a_judge", lambda _name, _work, prior, made: write(made, (prior / "new").name))
    monkeypatch.setattr(command, "train_expressions", lambda _work, prior, made: made.write_text((prior / "new").name))
    monkeypatch.setattr(command, "report", lambda made, _work: (made / "REPORT.md").write_text("of the new"))
    command.train("all", work, output)
    names = sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
    assert names == ["README.md", "REPORT.md", "expressions.safetensors", "guide/new", "judge/new", "prior/new"]
    assert not list(work.iterdir())


@pytest.mark.parametrize("part", ["judge", "expressions"])
def test_a_part_without_a_prior_is_refused(tmp_path, capsys, part):
    folder = tmp_path / "empty"
    assert command.main([part, "--output", str(folder)]) == 2
    problems = capsys.readouterr().err.splitlines()[1:]
    assert len(problems) == 1 and f"{part}: got no prior at {folder / 'prior'}" in problems[0]
    assert f"avatargen train prior --output {folder}" in problems[0]


def test_a_report_names_every_missing_model(tmp_path, capsys):
    (tmp_path / "judge").mkdir()
    assert command.main(["report", "--output", str(tmp_path)]) == 2
    problems = capsys.readouterr().err.splitlines()[1:]
    assert [line.split(" at ")[0] for line in problems] == ["  - report: got no prior", "  - report: got no guide"]


def test_help_names_every_part_and_gives_examples(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    text = capsys.readouterr().out
    for part in ("all", "prior", *command.JUDGES, "expressions", "report"):
        assert f"\n  {part} " in text
    assert text.count("  avatargen train") >= 3
