"""A head with two faces."""

from dataclasses import replace

import torch

from avatargen.geometry.types import HeadTopology
from avatargen.heads.mesh_head import MESH
from avatargen.io.avatar_file import Avatar
from eval.views import RenderTools


def two_faced(avatar: Avatar, tools: RenderTools) -> Avatar:
    """Return a mesh whose back is its front: the front half of an avatar, and the same turned by 180 degrees."""
    vertices = tools.head.vertices(avatar.parameters())[0]
    middle = (vertices[:, 2].max() + vertices[:, 2].min()) / 2
    turned = torch.stack((-vertices[:, 0], vertices[:, 1], 2 * middle - vertices[:, 2]), dim=1)
    topology = tools.head.topology
    ahead = (vertices[topology.faces][..., 2] > middle).all(1)
    faces, face_uvs = topology.faces[ahead], topology.face_uvs[ahead]
    both = HeadTopology(torch.cat([faces, faces + len(vertices)]), topology.uvs, face_uvs.repeat(2, 1), {})
    nothing = {"shape": torch.zeros(0), "expression": torch.zeros(0), "joints": torch.zeros(0, 3)}
    return replace(
        avatar, head_id=MESH, topology=both, offsets=torch.cat([vertices, turned]), latent_texture=None, **nothing
    )
