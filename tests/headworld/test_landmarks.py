"""Landmarks cover the skin, more densely where shapes are small."""

import torch

from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.landmarks import COUNT, DENSE, landmark_vertices


def test_landmarks_cover_the_skin_and_are_denser_on_small_parts():
    head = AnnyHead.load()
    chosen, regions = landmark_vertices(head), head.topology.regions
    assert len(set(chosen.tolist())) == COUNT and regions["skin"][chosen].all()
    points = head.vertices(head.template(1))[0]
    nearest = torch.cdist(points, points[chosen]).amin(dim=1)
    small = torch.stack([regions[name] for name in DENSE]).any(dim=0) & regions["skin"]
    assert 2 * nearest[small].max() < nearest[regions["skin"] & ~small].max() < 0.05  # metres
