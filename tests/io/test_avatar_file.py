"""The avatar file: equal avatars are equal files, damage is named."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from avatargen.io.avatar_file import Avatar, AvatarFileError, as_stored, load_avatar, save_avatar

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
    """The baked texture to 8 bits, everything else to the bit."""
    draw = torch.Generator().manual_seed(0)
    baked = torch.rand(3, 4, 4, generator=draw)
    avatar = replace(AVATAR, latent_texture=torch.randn(4, 8, 8, generator=draw), baked_texture=baked, message="über")
    save_avatar(tmp_path, avatar)
    loaded = load_avatar(tmp_path)
    for name in Avatar.__dataclass_fields__:
        ours, theirs = getattr(avatar, name), getattr(loaded, name)
        if name == "baked_texture":
            assert 0 < (ours - theirs).abs().max() <= 0.501 / 255 and torch.equal(theirs, as_stored(ours))
        else:
            assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs, name


def test_saving_what_was_loaded_changes_nothing(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    save_avatar(first, replace(AVATAR, baked_texture=torch.rand(3, 64, 64)))
    save_avatar(second, load_avatar(first))
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes(), file.name


def test_avatars_of_version_1_are_read(tmp_path):
    """It held 32-bit floats, the baked texture among them."""
    save_avatar(tmp_path, AVATAR)
    (tmp_path / "texture.png").unlink()
    baked, offsets, latent = torch.rand(3, 4, 4), torch.randn(5, 3), torch.randn(4, 8, 8)
    tensors = {"shape": AVATAR.shape, "expression": AVATAR.expression, "joints": AVATAR.joints}
    tensors |= {"offsets": offsets, "latent_texture": latent, "baked_texture": baked}
    save_file(tensors, tmp_path / "avatar.safetensors")
    facts = json.loads((tmp_path / "avatar.json").read_text())
    (tmp_path / "avatar.json").write_text(json.dumps(facts | {"version": 1}))
    loaded = load_avatar(tmp_path)
    for name, value in tensors.items():
        assert torch.equal(getattr(loaded, name), value), name
    assert loaded.prompt == AVATAR.prompt and loaded.cost == AVATAR.cost


def test_the_texture_is_a_picture(tmp_path):
    baked = torch.zeros(3, 4, 6)
    baked[0, 0] = 1.0
    save_avatar(tmp_path, replace(AVATAR, baked_texture=baked))
    with Image.open(tmp_path / "texture.png") as image:
        assert image.size == (6, 4) and image.getpixel((5, 0)) == (255, 0, 0) and image.getpixel((5, 1)) == (0, 0, 0)


def test_avatar_is_as_readable_as_its_folder(tmp_path):
    tmp_path.chmod(0o750)
    save_avatar(tmp_path, AVATAR)
    assert (tmp_path / "avatar.safetensors").stat().st_mode & 0o777 == 0o640


def test_equal_avatars_are_equal_files(tmp_path):
    for n in range(8):
        save_avatar(tmp_path / str(n), AVATAR)
    for name in ("avatar.safetensors", "texture.png", "avatar.json"):
        assert len({(tmp_path / str(n) / name).read_bytes() for n in range(8)}) == 1, name


@pytest.mark.parametrize(
    "name, content, says",
    [
        ("avatar.json", json.dumps({"version": 99}), "avatar file of version 99; expected 1 or 2"),
        ("avatar.json", "{", "not a readable avatar"),
        ("avatar.safetensors", "short", "not a readable avatar"),
        ("texture.png", "short", "not a readable avatar"),
        ("texture.png", None, "got no texture.png"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, says):
    save_avatar(tmp_path, AVATAR)
    (tmp_path / name).write_text(content) if content else (tmp_path / name).unlink()
    with pytest.raises(AvatarFileError, match=says):
        load_avatar(tmp_path)
