"""Small worlds for the tests of eval: a sphere for a head, a resize for a prior, a tiny CLIP."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from avatargen.config.settings import PriorSettings
from avatargen.geometry.types import HeadParameters, HeadTopology
from avatargen.heads.base import HeadModel, Rig
from avatargen.io.avatar_file import Avatar
from avatargen.io.manifest import Row
from avatargen.priors.base import Prior
from avatargen.render.warp import WarpRenderer
from eval.views import RenderTools
from tests.small_clip import write_clip

RADIUS = 0.12  # metres


def uv_sphere(rows: int = 24, columns: int = 48) -> tuple[Tensor, HeadTopology]:
    """Vertices of a sphere, and its topology with texture coordinates by longitude and latitude."""
    v, u = torch.meshgrid(torch.linspace(0.02, 0.98, rows), torch.linspace(0, 1, columns + 1), indexing="ij")
    theta, phi = v.flatten() * torch.pi, u.flatten() * 2 * torch.pi
    vertices = RADIUS * torch.stack((theta.sin() * phi.sin(), theta.cos(), theta.sin() * phi.cos()), dim=-1)
    index = torch.arange(rows * (columns + 1)).view(rows, columns + 1)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = torch.cat((torch.stack((a, b, c), -1).view(-1, 3), torch.stack((a, c, d), -1).view(-1, 3)))
    uvs = torch.stack((u.flatten(), 1 - v.flatten()), dim=-1)
    regions = {"skin": vertices[:, 1] < 0, "scalp": vertices[:, 1] >= 0, "teeth": vertices[:, 1] < -2}
    return vertices, HeadTopology(faces, uvs, faces, regions)


class SphereHead(HeadModel):
    """A head that is a sphere: its shape scales it, its expression moves it along x."""

    def __init__(self) -> None:
        self.sphere, self.topology = uv_sphere()
        self.id = "sphere-1"
        self.shape_names, self.expression_names, self.joint_names = ("size",), ("shift",), ("neck",)
        self.shape_bounds = torch.tensor([[-1.0], [1.0]])
        self.expression_bounds = torch.tensor([[0.0], [1.0]])
        self.shape_template = torch.zeros(1)

    def canonical(self, shape: Float[Tensor, "B S"]) -> Float[Tensor, "B N 3"]:
        return (1 + 0.1 * shape[:, :, None]) * self.sphere

    def vertices(self, parameters: HeadParameters) -> Float[Tensor, "B N 3"]:
        shift = parameters.expression[:, :, None] * torch.tensor([0.01, 0.0, 0.0])
        return self.canonical(parameters.shape) + parameters.offsets + shift

    def rig(self, shape: Float[Tensor, " S"]) -> Rig:
        return Rig((-1,), torch.zeros(1, 3), torch.zeros(1, len(self.sphere)))

    def to(self, device: torch.device | str) -> SphereHead:
        return self


class ResizePrior(Prior):
    """A prior whose latents are RGB at a quarter of the size, in [-1, 1]."""

    id, latent_channels, downscale, prediction = "resize", 3, 4, "epsilon"
    alphas_cumprod = torch.linspace(0.999, 0.005, 100)

    def decode(self, latents: Float[Tensor, "N C h w"]) -> Float[Tensor, "N 3 H W"]:
        return (interpolate(latents, scale_factor=4, mode="bilinear") / 2 + 0.5).clamp(0, 1)

    def embed(self, prompts: list[str]) -> Float[Tensor, "N L D"]:
        return torch.zeros(len(prompts), 1, 1)

    def truncates(self, prompts: list[str]) -> list[bool]:
        return [False] * len(prompts)

    def predict(self, noisy, timesteps, condition):
        return torch.zeros_like(noisy)

    def encode(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N C h w"]:
        return 2 * avg_pool2d(images, 4) - 1


@pytest.fixture(scope="session")
def head() -> SphereHead:
    return SphereHead()


@pytest.fixture(scope="session")
def renderer(head: SphereHead) -> WarpRenderer:
    return WarpRenderer(head.topology)


@pytest.fixture(scope="session")
def resize_prior() -> ResizePrior:
    return ResizePrior()


class DistantPrior(ResizePrior):
    """The same on another device, as a prior on a GPU is: torch's meta device, whose tensors know shapes only."""

    alphas_cumprod = ResizePrior.alphas_cumprod.to("meta")

    def embed(self, prompts: list[str]) -> Float[Tensor, "N L D"]:
        return super().embed(prompts).to("meta")

    def encode(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N C h w"]:
        return super().encode(images.to("meta"))


@pytest.fixture(scope="session")
def distant_tools(head: SphereHead, renderer: WarpRenderer, prior_settings: PriorSettings) -> RenderTools:
    return RenderTools(head, renderer, DistantPrior(), prior_settings)


@pytest.fixture(scope="session")
def prior_settings() -> PriorSettings:
    return PriorSettings(path="nowhere", latent_size=16, texture_size=32, samples=2)


@pytest.fixture
def avatar(head: SphereHead) -> Avatar:
    """A sphere, red in front (towards +z) and blue behind, with a latent texture of the same colours."""
    longitude = torch.linspace(0, 1, 64)
    front = ((longitude < 0.25) | (longitude > 0.75)).float().expand(32, 64)
    texture = torch.stack((front, torch.zeros_like(front), 1 - front))
    parameters = head.template(1)
    return Avatar(
        id="red-ball-1234",
        prompt="a red ball <script>alert(1)</script>",
        seed=0,
        method="full",
        head_id=head.id,
        prior_id="resize",
        shape=parameters.shape[0],
        expression=parameters.expression[0],
        joints=parameters.joints[0],
        offsets=parameters.offsets[0],
        latent_texture=2 * texture - 1,
        baked_texture=texture,
    )


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random CLIP in open_clip's own format."""
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def make_row():
    """A factory of manifest rows."""

    def make(item: str = "a", method: str = "full", **facts) -> Row:
        base = {"id": f"{item}-0", "item": item, "prompt": f"head {item}", "list": "tiny", "method": method}
        return Row(**{**base, "folder": f"results/{method}/avatars/{item}-0", **facts})

    return make
