"""Renders on a GPU make no host wait, and equal those of the CPU; on a pretended GPU."""

import pytest
import torch

from avatargen.render import warp
from avatargen.render.warp import WarpRenderer
from tests.host_syncs import host_syncs
from tests.pretend_gpu import is_marked, pretended_gpu
from tests.render.conftest import make_cameras

SIZE = 24  # pixels
CASES = {
    "texture and coverage": {"texture": True, "samples": 2, "normals": False, "interior": "none"},
    "one sample": {"texture": True, "samples": 1},
    "everything": {"texture": True, "samples": 2},
    "attributes": {"attributes": True, "samples": 3, "interior": "normals"},
    "coverage alone": {"gradients": False, "normals": False},
    "silhouette": {},
}


@pytest.fixture
def scene(sphere):
    """Two spheres of different shape, one of them crumpled; with texture and attributes."""
    vertices, topology = sphere
    generator = torch.Generator().manual_seed(0)
    crumpled = vertices * (1 + 0.2 * torch.sin(30 * vertices[..., :1]))
    pair = torch.cat((vertices * torch.tensor([1.2, 0.8, 1.0]), crumpled))
    tables = {
        "texture": torch.rand(2, 3, 8, 8, generator=generator),
        "attributes": torch.rand(*pair.shape[:2], 2, generator=generator),
    }
    return topology, pair, make_cameras([0.0, 70.0], [0.0, 20.0], batch=2), tables


def prepare(scene, case, device):
    """Return a function that renders a case on a device and returns outputs and gradients."""
    topology, vertices, cameras, tables = scene
    renderer, cameras = WarpRenderer(topology.to(device)), cameras.to(device)
    leaves = [tensor.to(device).requires_grad_() for tensor in (vertices, *tables.values())]
    named = dict(zip(tables, leaves[1:], strict=True))
    options = {name: named.get(name, value) for name, value in CASES[case].items()}

    def step():
        if case == "silhouette":
            outputs = [renderer.silhouette(leaves[0], cameras, SIZE)]
        else:
            seen = renderer.render(leaves[0], cameras, SIZE, **options)
            outputs = [seen.coverage, seen.features, seen.depth, seen.normals]
        sums = [output.square().sum() for output in outputs if output.requires_grad]
        gradients = torch.autograd.grad(sums, leaves, allow_unused=True) if sums else ()
        return [tensor.detach() for tensor in (*outputs, *gradients) if tensor is not None]

    return step


def assert_close(left, right):
    assert left.shape == right.shape and (left - right).norm() <= 1e-5 * left.norm()


@pytest.mark.parametrize("case", CASES)
def test_renders_on_a_gpu_wait_for_nothing(scene, case, monkeypatch):
    """The first call may wait: it builds hierarchies, edges, rings and constants, which stay."""
    with pretended_gpu(monkeypatch):
        step = prepare(scene, case, torch.device("cuda", 0))
        step()
        with host_syncs() as found:
            tensors = step()
        assert all(map(is_marked, tensors))
    assert found.syncs == []
    assert found.operations.total() > 10 and found.kernels.total() >= 1  # something ran on the device


@pytest.mark.parametrize("case", CASES)
def test_samples_that_miss_change_nothing_on_a_gpu(scene, case, monkeypatch):
    """A GPU shades all samples, the CPU those that hit; outputs and gradients agree."""
    expected = prepare(scene, case, torch.device("cpu"))()
    with pretended_gpu(monkeypatch):
        made = [tensor.cpu() for tensor in prepare(scene, case, torch.device("cuda", 0))()]
    assert expected[0].any() and not expected[0].all()
    for left, right in zip(expected, made, strict=True):
        assert_close(left, right)


def test_meshes_of_nan_stay_alone_on_a_gpu(scene, monkeypatch):
    """An avatar that diverged is empty and gives its texture no gradient; its mate is as without it."""
    topology, vertices, cameras, tables = scene
    broken = vertices.clone()
    broken[0] = torch.nan
    expected = prepare(scene, "everything", torch.device("cpu"))()
    with pretended_gpu(monkeypatch):
        step = prepare((topology, broken, cameras, tables), "everything", torch.device("cuda", 0))
        made = [tensor.cpu() for tensor in step()]
    for left, right in zip(expected, made, strict=True):
        assert_close(left[1], right[1])
    coverage, features, *_, texture = made
    assert not (coverage[0].any() or features[0].any() or texture[0].any())


def test_large_images_shade_only_samples_that_hit_on_a_gpu(scene, monkeypatch):
    """They would need too much memory otherwise; each call waits once, for the number of samples that hit."""
    expected = prepare(scene, "everything", torch.device("cpu"))()
    monkeypatch.setattr(warp, "LARGE", 1000)
    with pretended_gpu(monkeypatch):
        step = prepare(scene, "everything", torch.device("cuda", 0))
        step()
        with host_syncs() as found:
            made = step()
        made = [tensor.cpu() for tensor in made]
    assert [line.split(":")[0] for line in found.syncs] == ["nonzero"]
    for left, right in zip(expected, made, strict=True):
        assert_close(left, right)
