"""Fitting a sphere to silhouettes alone."""

import torch

from avatargen.render.warp import WarpRenderer


def overlap(first, second):
    return (torch.minimum(first, second).sum() / torch.maximum(first, second).sum()).item()


def test_sphere_is_fitted_to_silhouettes(sphere, cameras):
    """A sphere becomes an egg with a chin in six views; displacements are sums of wide bumps."""
    vertices, topology = sphere
    x, y, z = vertices.unbind(-1)
    chin = 0.03 * torch.exp(-((y + 0.12) ** 2 + (z - 0.05) ** 2) / 0.05**2)
    goal = torch.stack((0.8 * x, 1.15 * y, 0.95 * z + chin), dim=-1)
    view = cameras([0.0, 45, 90, 135, 180, 270], [0.0, 20, 0, -20, 10, 0])
    renderer = WarpRenderer(topology)
    target = renderer.render(goal, view, 32, samples=2, normals=False).coverage
    centres = vertices[0, ::16]
    bumps = torch.exp(-torch.cdist(vertices[0], centres).square() / 0.05**2)
    weights = torch.zeros(len(centres), 3, requires_grad=True)
    optimiser = torch.optim.Adam([weights], lr=2e-3)
    losses, overlaps = [], []
    for _ in range(40):
        moved = vertices + (bumps @ weights)[None]
        coverage = renderer.render(moved, view, 32, samples=2, normals=False).coverage
        loss = (coverage - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        overlaps.append(overlap(coverage.detach(), target))
    assert overlaps[0] < 0.85
    assert overlaps[-1] > 0.98
    assert losses[-1] < 0.05 * losses[0]
