"""The avatar file: equal avatars are equal files, damage is named."""

import json
from dataclasses import replace

import pytest
import torch

from avatargen.io.avatar_file import Avatar, AvatarFileError, load_avatar, save_avatar

AVATAR = Avatar(
    id="a-man",
    prompt="a man",
    seed=0,
    method="full",
    head_id="anny",
    prior_id="mini",
    shape=torch.arange(3.0),
    expression=torch.zeros(52),
    joints=torch.zeros(4, 3),
    offsets=torch.ones(5, 3),
    latent_texture=None,
    baked_texture=torch.full((3, 4, 4), 0.25),
    config={"b": 1, "a": [2]},
    cost={"seconds": 1.5},
)


def test_avatar_round_trip(tmp_path):
    latent = replace(AVATAR, latent_texture=torch.randn(4, 8, 8), message="über")
    save_avatar(tmp_path, latent)
    loaded = load_avatar(tmp_path)
    for name in Avatar.__dataclass_fields__:
        ours, theirs = getattr(latent, name), getattr(loaded, name)
        assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs, name


def test_avatar_is_as_readable_as_its_folder(tmp_path):
    tmp_path.chmod(0o750)
    save_avatar(tmp_path, AVATAR)
    assert (tmp_path / "avatar.safetensors").stat().st_mode & 0o777 == 0o640


def test_equal_avatars_are_equal_files(tmp_path):
    for n in range(8):
        save_avatar(tmp_path / str(n), AVATAR)
    for name in ("avatar.safetensors", "avatar.json"):
        assert len({(tmp_path / str(n) / name).read_bytes() for n in range(8)}) == 1, name


@pytest.mark.parametrize(
    "name, content, says",
    [
        ("avatar.json", json.dumps({"version": 99}), "avatar file of version 99; expected 1"),
        ("avatar.json", "{", "not a readable avatar"),
        ("avatar.safetensors", "short", "not a readable avatar"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, says):
    save_avatar(tmp_path, AVATAR)
    (tmp_path / name).write_text(content)
    with pytest.raises(AvatarFileError, match=says):
        load_avatar(tmp_path)
