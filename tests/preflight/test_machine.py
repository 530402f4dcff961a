"""What this machine lacks for an experiment: GPUs, models of the hub."""

import socket

import pytest

from avatargen.config.loading import load_experiment, load_library
from avatargen.config.places import ROOT
from avatargen.preflight import machine
from avatargen.preflight.machine import HubModel, gpu_problems, hub_models, hub_problems, machine_problems
from tests.small_weights import WEIGHTS

SMI = """#!/bin/sh
echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'
echo 'GPU 1: NVIDIA H100 (UUID: GPU-2)'
"""


@pytest.fixture
def paper():
    return load_experiment("paper")


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    """A machine whose nvidia-smi lists two GPUs."""
    (tmp_path / "nvidia-smi").write_text(SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache, and a hub that answers; returns a function that puts a model into the cache."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    server = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")

    def store(hub_id, part, name, revision="main"):
        folder = tmp_path / "hub" / f"models--{hub_id.replace('/', '--')}"
        place = folder / "snapshots" / "abc" / part
        place.mkdir(parents=True)
        (place / name).write_bytes(WEIGHTS)
        (folder / "refs").mkdir()
        (folder / "refs" / revision).write_text("abc")

    yield store
    server.close()


def test_missing_gpu_is_reported_once_unless_on_a_cluster(paper, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (line,) = gpu_problems(paper)
    assert line.startswith("paper: gpus_per_worker: got 1; nvidia-smi finds 0 GPUs on this machine; expected")
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert gpu_problems(paper) == []
    assert gpu_problems(load_experiment("embedded")) == []


def test_gpus_of_the_machine_are_counted(paper, two_gpus, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert gpu_problems(paper) == []
    assert "got 4; nvidia-smi finds 2 GPUs" in gpu_problems(paper.model_copy(update={"gpus_per_worker": 4.0}))[0]


def test_hub_models_of_an_experiment_are_found(paper):
    found = [(model.where, model.id) for model in hub_models(paper, load_library(), ROOT)]
    assert found == [
        ("prior 'sd15'", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
        ("judge 'b32'", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("judge 'b16'", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K"),
        ("judge 'l14'", "laion/CLIP-ViT-L-14-laion2B-s32B-b82K"),
    ]
    assert hub_models(load_experiment("embedded"), load_library(), ROOT) == []


def test_every_prior_and_its_autoencoder_are_looked_for(paper):
    library = load_library()
    sdxl = library.priors["sdxl"].model_copy(update={"vae": "OWNER/VAE", "revision": "v1"})
    library.priors["sdxl"] = sdxl
    crossed = paper.model_copy(update={"priors": ("sdxl", "kandinsky22", "unknown"), "judges": ()})
    found = [(model.id, model.revision) for model in hub_models(crossed, library, ROOT)]
    assert found == [
        (sdxl.path, "v1"),
        ("OWNER/VAE", None),
        ("kandinsky-community/kandinsky-2-2-decoder", None),
        ("kandinsky-community/kandinsky-2-2-prior", None),
    ]


def test_clip_that_guides_is_looked_for_where_a_method_asks_for_it(paper):
    asked = paper.model_copy(update={"judges": ("b16",), "clip_guide": "b32", "priors": ()})
    guided = asked.model_copy(update={"methods": ("clip_guided",)})
    names = [[model.where for model in hub_models(each, load_library(), ROOT)] for each in (asked, guided)]
    assert names == [["judge 'b16'"], ["judge 'b16'", "judge 'b32'"]]
    library = load_library()
    library.methods["mirror"] = library.methods["clip_guided"].model_copy(update={"clip_guide": "l14"})
    both = guided.model_copy(update={"methods": ("clip_guided", "mirror")})
    names = [model.where for model in hub_models(both, library, ROOT)]
    assert names == ["judge 'b16'", "judge 'b32'", "judge 'l14'"]


def test_models_that_can_be_downloaded_are_no_problem(hub):
    assert hub_problems([HubModel("judge 'a'", "o/a")]) == []


def test_missing_models_are_problems_offline_and_cached_ones_are_not(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    models = [HubModel("prior 'a'", "o/a"), HubModel("judge 'b'", "o/b"), HubModel("prior 'c'", "o/c", "v1")]
    assert len(hub_problems(models)) == 3
    hub("o/a", "unet", "diffusion_pytorch_model.safetensors")
    hub("o/b", ".", "open_clip_model.safetensors")
    hub("o/c", ".", "config.json", revision="v1")  # a download that broke off before the weights
    (line,) = hub_problems(models)
    assert line.startswith("prior 'c': o/c: got no copy in ") and "HF_HUB_OFFLINE forbids downloads" in line


def test_a_hub_that_does_not_answer_is_named(hub, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    (line,) = hub_problems([HubModel("judge 'b'", "o/b")])
    assert "nothing answers at 127.0.0.1" in line and f"download http://127.0.0.1:{port}/o/b elsewhere" in line


def test_gpu_and_hub_are_reported_together(paper, hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(machine, "count_gpus", lambda: 0)
    assert len(machine_problems(paper, load_library(), ROOT)) == 5


def test_a_download_that_broke_off_is_a_problem(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub("o/a", "vae", "diffusion_pytorch_model.safetensors")
    folder = tmp_path / "hub/models--o--a/snapshots/abc"
    (folder / "model_index.json").write_text('{"unet": ["a", "b"], "vae": ["a", "b"]}')
    (folder / "unet").mkdir()
    unet, model = folder / "unet/diffusion_pytorch_model.safetensors", HubModel("prior 'a'", "o/a")
    unet.symlink_to("blob")
    assert "o/a: got no weights of unet in " in hub_problems([model])[0]
    unet.unlink()
    unet.write_bytes(WEIGHTS[:-1])
    assert "got a damaged copy in " in hub_problems([model])[0]
    unet.write_bytes(WEIGHTS)
    assert hub_problems([model]) == []
