"""Clipping of gradients for each avatar."""

import torch

from avatargen.method.updates import clip_rows


def test_clipping_limits_each_avatars_joint_norm():
    """An avatar within the limit keeps its gradient; the others keep their direction."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([10.0, 0.01, 3.0])
    before = [torch.randn(3, *shape, generator=generator) * scales.view(3, 1, 1) for shape in ((4, 2), (5, 1))]
    after = [grad.clone() for grad in before]
    clip_rows(after, limit=1.0)
    joint = [torch.cat([grad.flatten(1) for grad in grads], dim=1) for grads in (before, after)]
    assert torch.allclose(joint[1].norm(dim=1), joint[0].norm(dim=1).clamp(max=1.0))
    assert torch.allclose(torch.nn.functional.cosine_similarity(*joint), torch.ones(3))
    assert torch.equal(joint[0][1], joint[1][1]) and joint[0].norm(dim=1)[2] > 1


def test_clipping_of_one_avatar_does_not_depend_on_mates():
    gradient = torch.randn(2, 6, generator=torch.Generator().manual_seed(1)) * torch.tensor([[5.0], [50.0]])
    alone, together = gradient[:1].clone(), gradient.clone()
    clip_rows([alone], limit=2.0)
    clip_rows([together], limit=2.0)
    assert torch.equal(alone[0], together[0])
