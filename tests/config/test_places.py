"""Where things lie: in a clone, in an installation, and without a home."""

from pathlib import Path

from avatargen.config.loading import load_priors
from avatargen.config.places import SHARE, cache_folder, config_folders, located, shipped


def test_installation_finds_what_it_ships(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site" / SHARE / "workflow/config").mkdir(parents=True)
    assert config_folders(tmp_path / "site") == (tmp_path / "site" / SHARE / "workflow/config",)
    (tmp_path / "workflow/config").mkdir(parents=True)
    assert config_folders(tmp_path / "site")[0] == Path("workflow/config")
    assert shipped("Snakefile", tmp_path / "clone") == tmp_path / "clone/Snakefile"


def test_path_in_the_working_directory_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "root/both").mkdir(parents=True)
    (tmp_path / "both").mkdir()
    assert located("mine", tmp_path / "root") == str(tmp_path / "mine")
    assert [located(path, tmp_path / "root") for path in ("both", "hub/name")] == ["both", "hub/name"]


def test_every_file_of_a_prior_may_lie_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow/config").mkdir(parents=True)
    names = ("unet.safetensors", "config", "vae", "lora.safetensors", "reader.safetensors")
    for name in names:
        (tmp_path / name).touch()
    stanza = "own: {reason: ours, path: unet.safetensors, config: config, vae: vae, lora: [{path: lora.safetensors}], "
    (tmp_path / "workflow/config/priors.yaml").write_text(stanza + "reader: {path: reader.safetensors}}\n")
    prior = load_priors()["own"]
    assert prior.reader is not None
    found = (prior.path, prior.config, prior.vae, prior.lora[0].path, prior.reader.path)
    assert found == tuple(str(tmp_path / name) for name in names)


def test_cache_has_a_place_without_a_home(monkeypatch):
    monkeypatch.delenv("AVATARGEN_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert cache_folder().name == "avatargen-cache"
    monkeypatch.setenv("AVATARGEN_CACHE", "/somewhere")
    assert cache_folder() == Path("/somewhere")
