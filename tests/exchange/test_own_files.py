"""Our own GLBs, read like another system's, show what our renders of the avatar show."""

import pytest
import torch

from avatargen.config.other_systems import MeshSettings
from avatargen.exchange.gltf_compact import joined, shared_part, to_compact
from avatargen.exchange.gltf_export import to_glb
from avatargen.exchange.mesh_import import TemplateSize, read_mesh
from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.truth import true_head
from avatargen.io.avatar_file import Avatar
from avatargen.render.warp import WarpRenderer
from tests.render.conftest import make_cameras


@pytest.fixture(scope="module")
def head():
    return AnnyHead.load()


@pytest.fixture(scope="module")
def avatar(head):
    """An open mouth, by expressions, and a turned jaw and eyes besides."""
    truth = true_head("a woman with purple skin and an open mouth", (), head)
    parameters = truth.parameters.first()
    joints = parameters.pop("joints").clone()
    joints[head.joint_names.index("jaw")] = torch.tensor([0.2, 0.0, 0.05])
    facts = {"id": "a-woman", "prompt": "a woman", "seed": 0, "method": "oracle", "head_id": head.id, "prior_id": ""}
    return Avatar(**facts, **parameters, joints=joints, latent_texture=None, baked_texture=truth.texture)


@pytest.mark.parametrize(("form", "colour"), [("full", 1 / 255), ("compact", None)])
def test_an_open_mouth_is_read_back(head, avatar, tmp_path, form, colour):
    """The compact form has a JPEG and positions in steps of 31 µm; so only its outline is compared."""
    data = (
        to_glb(avatar, head) if form == "full" else joined(to_compact(avatar, head, shared_part(head.topology, head)))
    )
    (tmp_path / "a.glb").write_bytes(data)
    mesh = read_mesh(tmp_path / "a.glb", MeshSettings(folder=str(tmp_path), scale=1.0), TemplateSize.of(head))
    own, cameras = head.vertices(avatar.parameters())[0], make_cameras([0.0, 40.0, -110.0], [0.0, 15.0, -10.0])
    ours = WarpRenderer(head.topology, own).render(own[None], cameras, 192, texture=avatar.baked_texture[None])
    read = WarpRenderer(mesh.topology, mesh.vertices)
    theirs = read.render(mesh.vertices[None], cameras, 192, texture=mesh.texture[None])
    covered = [shown.face_ids >= 0 for shown in (ours, theirs)]
    assert (covered[0] & covered[1]).sum() / (covered[0] | covered[1]).sum() >= 0.999
    neutral = head.vertices(avatar.parameters().neutral())[0]
    other = WarpRenderer(head.topology, neutral).render(neutral[None], cameras, 192).face_ids >= 0
    assert (covered[0] & other).sum() / (covered[0] | other).sum() < 0.99  # the pose shows
    if colour is not None:
        differences = (ours.features - theirs.features).abs().amax(2)
        assert differences[covered[0] & covered[1]].max() <= colour
