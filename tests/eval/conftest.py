"""Small worlds for the tests of eval: a sphere for a head, a resize for a prior, a tiny CLIP."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from avatargen.config.experiment import Experiment, JudgeSettings
from avatargen.config.settings import PriorSettings
from avatargen.geometry.types import HeadParameters, HeadTopology
from avatargen.heads.base import HeadModel, Rig
from avatargen.io.avatar_file import Avatar
from avatargen.io.history import History
from avatargen.io.manifest import Row
from avatargen.priors.base import Prior
from avatargen.render.warp import WarpRenderer
from eval.artifacts import RENDER_FACTS, TRUTH_FACTS, write_facts
from eval.collect import collect
from eval.embed import Judge
from eval.embed_captions import embed_captions
from eval.embeddings import NOISY, embeddings_path
from eval.findings import FINDINGS
from eval.images import KINDS, view_protocol
from eval.judge_controls import to_frame
from eval.judge_section import TABLE
from eval.pools import build_pools
from eval.tables import write_table
from eval.views import RenderTools
from tests.small_clip import write_clip

RADIUS = 0.12  # metres
EVIL = "a <script>alert('x')</script> man & \"wife\""
TRUTH = {
    "geometry_mm": 2.0,
    "geometry_mm_p95": 5.0,
    "geometry_mm_vertices": 1.5,
    "expression_error": 0.5,
    "colour_error": 0.1,
}


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
    return RenderTools(head, renderer, DistantPrior(), prior_settings, "sphere", "warp")


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


@pytest.fixture
def experiment() -> Experiment:
    return Experiment(experiment="tiny", lists=("tiny",), methods=("full", "template"), judges=("tiny",))


@pytest.fixture(scope="session")
def judge(clip_folder: Path) -> Judge:
    return Judge.load("tiny", JudgeSettings(model=clip_folder.name), clip_folder.parent)


@pytest.fixture
def rows(make_row, experiment, prior_settings, judge, tmp_path) -> list[Row]:
    """Four prompts by two methods: `full` matches its captions but for a crash; `template` is constant."""
    prompts = {"a": EVIL, "b": "head b", "c": "head c", "d": "head d"}
    vectors = dict(zip(prompts, judge.embed_texts(list(prompts.values())), strict=True))
    protocol = json.dumps(view_protocol(experiment.evaluation, prior_settings, experiment.head, experiment.renderer))
    made = []
    for method, distance in (("full", 1.0), ("template", 3.0)):
        for item, prompt in prompts.items():
            failed = (method, item) == ("full", "d")
            status = {"status": "error", "message": "<b>boom</b>"} if failed else {}
            made.append(make_row(item, method, prompt=prompt, seconds=2.0, peak_memory_mb=512.0, **status))
            folder = tmp_path / made[-1].folder
            write_facts(folder, TRUTH_FACTS, "t", score={**TRUTH, "geometry_mm": distance, "regions_mm": {"skin": 1.0}})
            if failed:
                continue
            measures = {**dict.fromkeys(FINDINGS, 0.0), "masks": None, "flicker": 0.5 if item == "a" else 0.0}
            write_facts(folder, RENDER_FACTS, "r", diagnosis=measures)
            vector = vectors[item if method == "full" else "b"]
            progress = write_history(folder, vector) if method == "full" else None
            write_embeddings(folder, {kind: np.tile(vector, (8, 1)) for kind in KINDS}, protocol, progress)
    return made


def write_embeddings(folder, kinds, protocol, progress=None):
    progress = np.zeros((0, 16), np.float32) if progress is None else progress
    noisy = {f"{kind}{NOISY}": images.mean(axis=0, keepdims=True).repeat(4, axis=0) for kind, images in kinds.items()}
    facts = {"protocol": protocol, "fingerprint": "e", "progress": progress}
    np.savez(embeddings_path(folder, "tiny"), **facts, **noisy, **kinds)


def write_history(folder, vector):
    """Write two entries and two snapshots; return the snapshots' embeddings, of which the first is zero."""
    losses = {"distillation": 1.0, "segmentation": float("nan"), "regularisation": float("nan"), "coverage": 0.3}
    image = np.zeros((4, 4, 3), np.uint8)
    History([(10, losses), (20, {**losses, "segmentation": 5.0})], [(10, image), (20, image)]).save(folder)
    return np.stack([0 * vector, vector])


@pytest.fixture
def run_collect(experiment, prior_settings, rows, judge, tmp_path):
    """A function that embeds the captions and collects the tables; returns the folder of the tables."""

    def run(judges=(judge,), negatives=(), guides=None, flat=()) -> Path:
        pools, priors = build_pools(rows, negatives), {row.method: prior_settings for row in rows}
        captions = {each.name: embed_captions(each, pools, [row.prompt for row in rows]) for each in judges}
        collect(experiment, priors, rows, pools, captions, tmp_path, tmp_path / "tables", guides, flat)
        write_table(to_frame([]), tmp_path / "tables", TABLE)
        return tmp_path / "tables"

    return run


@pytest.fixture
def tables(run_collect) -> Path:
    return run_collect(negatives=["a hard negative"])
