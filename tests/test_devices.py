"""Nothing mixes the devices of a GPU machine: all of it runs here on a pretended GPU."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import warp as wp
from diffusers import AutoencoderTiny

from avatargen.config.experiment import EvaluationSettings, RunConfig
from avatargen.config.places import ROOT
from avatargen.config.prompts import PromptItem
from avatargen.config.settings import MethodSettings, PriorSettings
from avatargen.exchange.gltf_export import to_glb
from avatargen.headworld.attributes import sample_training
from avatargen.headworld.phrases import caption, worded
from avatargen.io.avatar_file import load_avatar, save_avatar
from avatargen.method.generator import Generator
from avatargen.priors import stable_diffusion
from avatargen.priors.base import load_prior
from avatargen.training import (
    judge_batches,
    measures,
    parts,
    prior_loss,
    tokens,
    train_judge,
    train_prior,
    train_reader,
    train_text,
    train_vae,
)
from avatargen.training.dataset import WORDS, Renders
from avatargen.training.measures import Judge, attribute_accuracy
from avatargen.training.pictures import Pictures, ddim, decoded
from avatargen.training.trainer import Budget
from eval.turntable import render_avatar
from eval.views import RenderTools
from tests.pretend_gpu import MixedDevicesError, is_marked, pretended_gpu
from tests.small_prior import write_pipeline

MAN = PromptItem("test", "a", "a man with green skin")
FAST = {"phase1_steps": 2, "phase2_steps": 2, "views": 2, "mask_views": 2, "mask_period": 1}
SHORT = Budget(steps=2, batch=8, lr=1e-3)


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(stable_diffusion, "network_dtype", lambda _: torch.float32)  # autocast cannot be pretended
    for module in (judge_batches, measures, prior_loss, train_judge, train_reader, train_text, train_vae):
        monkeypatch.setattr(module, "fast_math", nullcontext)
    with pretended_gpu(monkeypatch):
        yield torch.device("cuda", 0)


def test_mixed_devices_are_refused_as_on_a_gpu(gpu):
    here, there = torch.ones(3), torch.ones(3, device=gpu)
    assert not is_marked(here) and is_marked(there) and is_marked(here.to(gpu)) and not is_marked((there + 1).cpu())
    mixes = (
        lambda: here + there,
        lambda: torch.cat([here, there]),
        lambda: torch.stack([there[0], here[0]]),
        lambda: here[0].add_(there[0]),
        lambda: here[there.long() * 0],
        lambda: there.numpy(),
        lambda: torch.randn(3, device=gpu, generator=torch.Generator()),
        lambda: wp.launch(_double, dim=3, inputs=[wp.from_torch(here), wp.from_torch(there)]),
    )
    for mix in mixes:
        with pytest.raises(MixedDevicesError):
            mix()
    assert is_marked(there * torch.tensor(2.0)) and is_marked(there[here.long() * 0])  # torch allows these
    assert not is_marked(here[there.long().argmin()]) and not is_marked(torch.tensor([there[0]]))


@wp.kernel
def _double(first: wp.array(dtype=float), second: wp.array(dtype=float)):
    i = wp.tid()
    second[i] = 2.0 * first[i]


def test_avatars_are_made_rendered_and_exported(gpu, tmp_path):
    torch.manual_seed(0)
    folder = write_pipeline(tmp_path / "prior", prediction="epsilon")
    prior = PriorSettings(path=str(folder), guidance=5.0, latent_size=16, texture_size=32, samples=2, adam_eps=1e-8)
    generator = Generator.load("anny", "warp", prior, threads=1)
    assert is_marked(generator.head.shape_template) and is_marked(generator.prior.alphas_cumprod)
    tools = RenderTools.load("anny", "warp", prior, ROOT)
    small = {"views": 2, "size": 32, "turntable_frames": 2, "turntable_size": 32}
    evaluation = EvaluationSettings().model_copy(update=small)
    for name, settings in {"full": FAST, "oracle": {"source": "oracle"}}.items():
        run = RunConfig(
            method_name=name,
            method=MethodSettings(**settings),
            prior_name="small",
            prior=prior,
            head="anny",
            renderer="warp",
            batch_size=1,
            threads=1,
        )
        (tmp_path / name).mkdir()
        for avatar in generator.run(run, [MAN], [tmp_path / name]):
            save_avatar(tmp_path / name, avatar)
        avatar = load_avatar(tmp_path / name)
        assert avatar.status == "ok" and not is_marked(avatar.shape)
        render_avatar(avatar, tools, evaluation, tmp_path / name, "fingerprint")
        assert to_glb(avatar, tools.head)


def test_prior_and_judge_are_trained_and_measured(gpu, tmp_path, monkeypatch):
    shorten(monkeypatch)
    monkeypatch.setattr(parts, "data", lambda name, work: some_renders())
    parts.train_the_prior(tmp_path, tmp_path / "prior")
    seen, through = [], judge_batches.through
    monkeypatch.setattr(judge_batches, "through", lambda vae, *rest: seen.append(on_gpu(vae)) or through(vae, *rest))
    parts.train_a_judge("judge", tmp_path, tmp_path / "prior", tmp_path / "judge")
    assert seen == [True] * SHORT.steps
    heads = [sample_training(np.random.default_rng(seed)) for seed in range(2)]
    prior, judge = load_prior(PriorSettings(path=str(tmp_path / "prior"))), Judge(tmp_path / "judge")
    assert is_marked(prior.alphas_cumprod) and on_gpu(judge.model)
    made = ddim(prior, [caption(head) for head in heads], guidance=4.0, steps=4)
    again = decoded(prior, Pictures(made, np.arange(2)), noise=0.1)
    assert "hair" in attribute_accuracy(judge, again, heads)  # an untrained judge may pick anything
    vae = AutoencoderTiny.from_pretrained(tmp_path / "prior", subfolder="vae", dtype=torch.float32)
    monkeypatch.setattr(train_vae, "fast_math", lambda: encoding.append(on_gpu(vae)) or nullcontext())
    encoding: list[bool] = []
    assert train_vae.reconstruct(vae, made).shape == made.shape and encoding == [True] and not on_gpu(vae)


def on_gpu(module: torch.nn.Module) -> bool:
    """Return whether a module's first parameter is on the pretended GPU."""
    return is_marked(next(module.parameters()))


def shorten(monkeypatch):
    """Make trainings last two steps, on few captions."""
    monkeypatch.setattr(train_text, "CAPTIONS", 60)
    monkeypatch.setattr(train_text, "FRESH", 10)
    monkeypatch.setattr(tokens, "CORPUS", 60)
    monkeypatch.setattr(train_prior, "READ_FROM", 0.0)
    places = {
        parts: ("train_vae", "train_reader", "train_prior"),
        train_text: ("train_words",),
        train_judge: ("train_words",),
    }
    for module, names in places.items():
        for name in names:
            monkeypatch.setattr(module, name, partial(getattr(module, name), budget=SHORT))
    judges = {name: replace(spec, budget=SHORT) for name, spec in train_judge.JUDGES.items()}
    monkeypatch.setattr(train_judge, "JUDGES", judges)


def some_renders(count: int = 8) -> Renders:
    """Return noise with captions, in families of two."""
    rng = np.random.default_rng(0)
    return Renders(
        images=rng.integers(0, 256, (count, 128, 128, 4), dtype=np.uint8),
        captions=[worded(sample_training(rng), rng, True) for _ in range(count)],
        views=[WORDS.names[k] for k in range(count)],
        azimuths=rng.uniform(-180, 180, count),
        families=np.repeat(np.arange(count // 2), 2),
        landmarks=rng.normal(0, 0.4, (count, 96, 2)).astype(np.float32),
        displaced=rng.normal(0, 0.01, (count, 96, 3)).astype(np.float32),
    )
