"""Earlier stages of the prior, from a small history of the same layout."""

import subprocess

import pytest

from avatargen.config.errors import InputError
from avatargen.config.loading import load_priors
from avatargen.config.places import ROOT
from avatargen.training import siblings
from avatargen.training.siblings import OUTPUT, SIBLINGS, SOURCE, extract


def git(folder, *arguments):
    person = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    done = subprocess.run(["git", "-C", str(folder), *person, *arguments], check=True, capture_output=True)
    return done.stdout.decode().strip()


@pytest.fixture
def history(tmp_path, monkeypatch):
    """A repository with two stages of weights, each a byte, the first in a folder deeper."""
    git(tmp_path, "init", "-q")
    commits = {}
    for name, content in (("stage_1", b"1"), ("stage_2", b"2")):
        file = tmp_path / SOURCE / "unet" / "model.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", name)
        commits[name] = git(tmp_path, "rev-parse", "HEAD")
    monkeypatch.setattr(siblings, "SIBLINGS", commits)
    return tmp_path


def test_each_stage_has_the_files_of_its_commit(history, tmp_path):
    folders = extract(tmp_path / "out", history)
    assert [folder.name for folder in folders] == ["stage_1", "stage_2"]
    assert [(folder / "unet" / "model.bin").read_bytes() for folder in folders] == [b"1", b"2"]


def test_missing_history_names_every_commit(history, tmp_path, monkeypatch):
    monkeypatch.setattr(siblings, "SIBLINGS", {"stage_1": "0" * 40, "stage_2": "1" * 40})
    with pytest.raises(InputError) as caught:
        extract(tmp_path / "out", history)
    assert len(caught.value.problems) == 2 and "git fetch --unshallow" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_stanzas_look_where_the_command_writes():
    priors = load_priors()
    paths = {name: priors[f"mini_{name}"].path for name in SIBLINGS}
    assert paths == {name: str((OUTPUT / name).relative_to(ROOT)) for name in SIBLINGS}


def test_siblings_have_the_settings_of_the_shipped_prior():
    priors = load_priors()
    for name in SIBLINGS:
        assert priors[f"mini_{name}"].model_copy(update={"path": priors["mini"].path}) == priors["mini"].model_copy(
            update={"reason": priors[f"mini_{name}"].reason}
        )
