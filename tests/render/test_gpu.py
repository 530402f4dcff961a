"""Renders on a GPU make no host wait, equal those of the CPU, and keep the order of torch's streams."""

import pytest
import torch

from avatargen.render.warp import WarpRenderer
from tests.render.conftest import make_cameras

SIZE = 64  # pixels
ABSENT = "no GPU is visible; on a machine with one: AVATARGEN_TEST_GPU=1 python -m pytest -m gpu"

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason=ABSENT)]


class Scene:
    """Two heads with a texture, on a device, and a renderer of them."""

    def __init__(self, head, device):
        vertices, topology = head
        self.device = torch.device(device)
        pair = torch.cat((vertices, vertices * torch.tensor([1.1, 0.95, 1.0])))
        texture = torch.rand(2, 4, 128, 128, generator=torch.Generator().manual_seed(0))
        self.vertices, self.texture = (tensor.to(self.device) for tensor in (pair, texture))
        self.cameras = make_cameras([0.0, 70.0], [0.0, 20.0], batch=2).to(self.device)
        self.renderer = WarpRenderer(topology.to(self.device), vertices[0].to(self.device))

    def step(self, scale=1.0):
        """Render and differentiate everything, once; return outputs and gradients."""
        vertices, texture = (scale * self.vertices).requires_grad_(), self.texture.clone().requires_grad_()
        seen = self.renderer.render(vertices, self.cameras, SIZE, texture=texture, samples=2)
        silhouette = self.renderer.silhouette(vertices, self.cameras, SIZE)
        outputs = [seen.coverage, seen.features, seen.depth, seen.normals, silhouette]
        sum(output.square().sum() for output in outputs).backward()
        return [*(output.detach() for output in outputs), vertices.grad, texture.grad]


@pytest.fixture
def refusing():
    """Make torch refuse calls that wait, once asked to."""
    yield lambda: torch.cuda.set_sync_debug_mode("error")
    torch.cuda.set_sync_debug_mode("default")


def test_warm_steps_wait_for_nothing(head, refusing):
    scene = Scene(head, "cuda")
    scene.step()
    refusing()
    scene.step()


def test_renders_and_gradients_equal_those_of_the_cpu(head):
    """Of the few samples at borders between faces, some may see another face."""
    ours, theirs = ([tensor.cpu() for tensor in Scene(head, device).step()] for device in ("cpu", "cuda"))
    names = ("coverage", "features", "depth", "normals", "silhouette", "vertices", "texture")
    for name, left, right in zip(names, ours, theirs, strict=True):
        error = ((left - right).norm() / left.norm()).item()
        assert error < (0.05 if name == "vertices" else 0.01), f"{name}: {error}"


def test_work_on_a_side_stream_keeps_its_order(head):
    """The side stream first sleeps, so kernels on any other stream would read vertices before they are written."""
    scene = Scene(head, "cuda")
    expected = scene.step(scale=0.8)
    scene.step(scale=1.0)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        made = scene.step(scale=0.8)
    stream.synchronize()
    for left, right in zip(expected, made, strict=True):
        assert (left - right).norm() <= 1e-3 * left.norm()
