"""The 3D heads beside the report."""

import base64

import pytest
import torch

from avatargen.config.plugins import HEADS, load_class
from avatargen.exchange.gltf_writer import parse
from avatargen.io.avatar_file import Avatar, save_avatar
from eval.head_files import file_name, write_heads
from eval.head_index import FOLDER, INDEX, content_of, embedded_heads, read_heads


@pytest.fixture(scope="module")
def template():
    return load_class("head", "anny", HEADS).load().template(1)


@pytest.fixture
def made(template, make_row, tmp_path):
    """Two avatars, one that failed, and one whose file is damaged."""
    rows = [make_row("a"), make_row("b"), make_row("c", status="error"), make_row("d")]
    head = load_class("head", "anny", HEADS).load()
    for row in rows:
        tensors = dict(template.first(), latent_texture=None, baked_texture=torch.full((3, 8, 8), 0.5))
        about = {"id": row.id, "prompt": row.prompt, "seed": 0, "method": "full", "head_id": head.id, "prior_id": ""}
        save_avatar(tmp_path / row.folder, Avatar(**about, **tensors, status=row.status))
    (tmp_path / rows[3].folder / "avatar.safetensors").write_bytes(b"damaged")
    return rows


def write(made, tmp_path, code="c", rows=slice(None)):
    return write_heads(
        tmp_path / "report" / INDEX, made[rows], {"full": "anny", "coarse": "anny_coarse"}, tmp_path, code
    )


def test_each_avatar_with_a_head_has_a_file(made, tmp_path):
    found = write(made, tmp_path)
    assert list(found) == [made[0].folder, made[1].folder] and read_heads(tmp_path / "report" / INDEX) == found
    one, other = found.values()
    folder = tmp_path / "report" / FOLDER
    assert one.shared == other.shared and {path.name for path in folder.iterdir()} == {one.file, other.file, one.shared}
    own, shared = (base64.b64decode(content_of(folder / name)) for name in (one.file, one.shared))
    scene, data = parse(own)
    assert scene["buffers"][0]["byteLength"] == len(data) + len(shared) and one.size == len(own) + len(shared)
    assert scene["meshes"][0]["name"] == made[0].id
    assert (folder / one.file).read_text().splitlines()[1].startswith(f'headFile("{one.file}", "')


def test_a_method_with_a_head_model_of_its_own_has_its_own_shared_part(made, make_row, tmp_path):
    head, row = load_class("head", "anny_coarse", HEADS).load(), make_row("e", method="coarse")
    tensors = dict(head.template(1).first(), latent_texture=None, baked_texture=torch.full((3, 8, 8), 0.5))
    about = {"id": row.id, "prompt": row.prompt, "seed": 0, "method": "coarse", "head_id": head.id, "prior_id": ""}
    save_avatar(tmp_path / row.folder, Avatar(**about, **tensors))
    one, other = write([made[0], row], tmp_path).values()
    assert one.shared != other.shared
    folder = tmp_path / "report" / FOLDER
    sizes = [len(base64.b64decode(content_of(folder / file.shared))) for file in (one, other)]
    assert sizes[1] < sizes[0] / 2  # a quarter of the vertices


def test_only_what_changed_is_written_again(made, tmp_path):
    folder = tmp_path / "report" / FOLDER
    first = write(made, tmp_path)

    def times():
        return {path.name: path.stat().st_mtime_ns for path in folder.glob("tiny-*")}

    before = times()
    assert write(made, tmp_path) == first and times() == before
    made[1] = made[1].model_copy(update={"fingerprint": "new"})
    write(made, tmp_path)
    assert {name for name, time in times().items() if time != before[name]} == {file_name(made[1])}
    (folder / file_name(made[0])).write_text("damaged")
    assert write(made, tmp_path) == first
    write(made, tmp_path, code="another")
    assert all(time != before[name] for name, time in times().items())


def test_files_of_avatars_that_are_not_shown_are_removed(made, tmp_path):
    write(made, tmp_path)
    write(made, tmp_path, rows=slice(1, None))
    names = {path.name for path in (tmp_path / "report" / FOLDER).glob("tiny-*")}
    assert names == {file_name(made[1])}


def test_heads_are_embedded_while_there_is_room(made, tmp_path):
    index = tmp_path / "report" / INDEX
    files = list(write(made, tmp_path).values())
    sizes = {name: (index.parent / FOLDER / name).stat().st_size for name in (files[0].file, files[0].shared)}
    assert list(embedded_heads(index, files, sum(sizes.values()))) == [files[0].shared, files[0].file]
    assert embedded_heads(index, files, sum(sizes.values()) - 1) == {}
    assert len(embedded_heads(index, files, 10**9)) == 3
    (index.parent / FOLDER / files[0].shared).unlink()
    assert embedded_heads(index, files, 10**9) == {}
