"""Smooth vertex normals, computed only at the visible vertices.

A vertex normal is the normalised sum of the area-weighted normals of the faces around the vertex (Gouraud, "Continuous
Shading of Curved Surfaces", 1971, with area weights). A Warp kernel visits the ring of faces of each visible vertex,
and the backward kernel visits the same rings. For one 64 x 64 view of 37,000 faces this is an order of magnitude
cheaper than all vertex normals.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import warp as wp
from jaxtyping import Bool, Float, Int
from torch import Tensor

from avatargen.render.launch import launch

LEAST = 1.0e-20  # square metres; makes the normal of a vertex without area (nearly) zero


@wp.func
@no_type_check
def ring_sum(
    points: wp.array(dtype=wp.vec3, ndim=2),
    starts: wp.array(dtype=wp.int32),
    ring: wp.array(dtype=wp.int32, ndim=2),
    b: wp.int32,
    n: wp.int32,
):
    """Return the sum of the normals of the faces around vertex n, each twice as long as the face's area."""
    centre = points[b, n]
    total = wp.vec3(0.0, 0.0, 0.0)
    for k in range(starts[n], starts[n + 1]):
        total += wp.cross(points[b, ring[k, 0]] - centre, points[b, ring[k, 1]] - centre)
    return total


@wp.kernel(enable_backward=False)
@no_type_check
def _normals(
    points: wp.array(dtype=wp.vec3, ndim=2),
    starts: wp.array(dtype=wp.int32),
    ring: wp.array(dtype=wp.int32, ndim=2),
    needed: wp.array(dtype=wp.bool, ndim=2),
    least: wp.float32,
    normals: wp.array(dtype=wp.vec3, ndim=2),
):
    """Write the unit normals of the needed vertices."""
    b, n = wp.tid()
    if needed[b, n]:
        total = ring_sum(points, starts, ring, b, n)
        normals[b, n] = total / wp.max(wp.length(total), least)


@wp.kernel(enable_backward=False)
@no_type_check
def _normals_backward(
    points: wp.array(dtype=wp.vec3, ndim=2),
    starts: wp.array(dtype=wp.int32),
    ring: wp.array(dtype=wp.int32, ndim=2),
    needed: wp.array(dtype=wp.bool, ndim=2),
    least: wp.float32,
    incoming: wp.array(dtype=wp.vec3, ndim=2),
    outgoing: wp.array(dtype=wp.vec3, ndim=2),
):
    """Add the gradient of the vertices to `outgoing`, given that of the normals."""
    b, n = wp.tid()
    if needed[b, n]:
        total = ring_sum(points, starts, ring, b, n)
        length = wp.max(wp.length(total), least)
        unit = total / length
        slope = (incoming[b, n] - unit * wp.dot(unit, incoming[b, n])) / length
        centre = points[b, n]
        own = wp.vec3(0.0, 0.0, 0.0)
        for k in range(starts[n], starts[n + 1]):
            first = wp.cross(points[b, ring[k, 1]] - centre, slope)
            second = wp.cross(slope, points[b, ring[k, 0]] - centre)
            wp.atomic_add(outgoing, b, ring[k, 0], first)
            wp.atomic_add(outgoing, b, ring[k, 1], second)
            own -= first + second
        wp.atomic_add(outgoing, b, n, own)


class VertexRings:
    """The other two corners, in order, of each face around each vertex; built once for a topology."""

    def __init__(self, faces: Int[Tensor, "F 3"], vertices: int):
        wp.init()
        self.device = wp.device_from_torch(faces.device)
        order = torch.argsort(faces.flatten(), stable=True)
        ring = torch.stack((faces.roll(-1, dims=1), faces.roll(-2, dims=1)), dim=-1).reshape(-1, 2)[order]
        counts = torch.bincount(faces.flatten(), minlength=vertices)
        starts = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
        self.arrays = [wp.from_torch(starts.int()), wp.from_torch(ring.int().contiguous())]


class _VertexNormals(torch.autograd.Function):
    """`vertex_normals` with its gradient."""

    @staticmethod
    def forward(ctx, vertices, needed, rings):
        normals = torch.zeros_like(vertices, memory_format=torch.contiguous_format)
        _launch(_normals, vertices, needed, rings, normals)
        ctx.save_for_backward(vertices, needed)
        ctx.rings = rings
        return normals

    @staticmethod
    def backward(ctx, incoming):
        vertices, needed = ctx.saved_tensors
        outgoing = torch.zeros_like(incoming, memory_format=torch.contiguous_format)
        _launch(_normals_backward, vertices, needed, ctx.rings, incoming.contiguous(), outgoing)
        return outgoing, None, None


def _launch(kernel, vertices, needed, rings, *vectors):
    """Run a kernel over the needed vertices; it writes to the last of `vectors`."""
    points, *vectors = (wp.from_torch(tensor, dtype=wp.vec3) for tensor in (vertices.detach(), *vectors))
    inputs = [points, *rings.arrays, wp.from_torch(needed), LEAST, *vectors]
    launch(kernel, needed.shape, inputs, rings.device)


def vertex_normals(
    vertices: Float[Tensor, "B N 3"], needed: Bool[Tensor, "B N"], rings: VertexRings
) -> Float[Tensor, "B N 3"]:
    """Return the unit normals of the needed vertices, zero for the others; differentiable in the vertices.

    Args:
        vertices: any unit.
        needed: vertices whose normals are computed.
        rings: of the topology.

    Example:
        >>> faces, corners = torch.tensor([[0, 1, 2]]), torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
        >>> needed = torch.tensor([[True, False, False]])
        >>> vertex_normals(corners, needed, VertexRings(faces, 3))[0, :2].tolist()
        [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    return _VertexNormals.apply(vertices.contiguous(), needed, rings)
