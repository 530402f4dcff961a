"""Checkpoints of a wrong family, incomplete ones and wrong files are named before the first job."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from avatargen.config.loading import load_library
from avatargen.config.settings import PriorSettings
from avatargen.preflight.validate import validate_all
from avatargen.preflight.weight_checks import prior_notes, prior_problems
from tests.small_weights import WEIGHTS
from tests.user_folder import notes_beside_pools, problems_of, write_yaml

CLIP, CLIP2 = ["transformers", "CLIPTextModel"], ["transformers", "CLIPTextModelWithProjection"]
UNET, VAE = ["diffusers", "UNet2DConditionModel"], ["diffusers", "AutoencoderKL"]
SD = {"unet": UNET, "vae": VAE, "text_encoder": CLIP, "tokenizer": ["transformers", "CLIPTokenizer"]}
XL = {**SD, "text_encoder_2": CLIP2, "tokenizer_2": SD["tokenizer"]}
TIMES = {"addition_embed_type": "text_time", "cross_attention_dim": 2048, "sample_size": 128}


def write_folder(folder: Path, pipeline: str, index: dict, unet: dict, scheduler: dict | None = None) -> Path:
    """Write what is read of a diffusers folder: configuration, and weights of one byte."""
    for part in index:
        (folder / part).mkdir(parents=True, exist_ok=True)
        if part.startswith("tokenizer"):
            (folder / part / "vocab.json").write_text("{}")
            continue
        (folder / part / "config.json").write_text(json.dumps({"_class_name": index[part][-1]}))
        (folder / part / "model.safetensors").write_bytes(WEIGHTS)
    if unet:
        config = {"_class_name": "UNet2DConditionModel", "in_channels": 4, "sample_size": 64, **unet}
        (folder / "unet/config.json").write_text(json.dumps(config))
    (folder / "scheduler").mkdir(parents=True, exist_ok=True)
    stated = {"_class_name": "PNDMScheduler", "prediction_type": "epsilon"} if scheduler is None else scheduler
    if stated:
        (folder / "scheduler/scheduler_config.json").write_text(json.dumps(stated))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline, **index}))
    return folder


def found(prior: PriorSettings, root: Path) -> tuple[list[str], list[str]]:
    """Return problems and notes of a prior named `own`."""
    library = replace(load_library(), priors={"own": prior})
    return prior_problems("own", library, root), prior_notes("own", library, root)


def settings(path: Path | str, kind: str = "stable_diffusion", **changes) -> PriorSettings:
    return PriorSettings(path=str(path), kind=kind, **changes)


FINE = [
    ("stable_diffusion", "StableDiffusionPipeline", SD, {"cross_attention_dim": 768}),
    ("stable_diffusion", "StableDiffusionImg2ImgPipeline", SD, {"cross_attention_dim": 1024}),
    ("sdxl", "StableDiffusionXLPipeline", XL, TIMES),
]


@pytest.mark.parametrize(("kind", "pipeline", "index", "unet"), FINE)
def test_right_families_have_no_problem(tmp_path, kind, pipeline, index, unet):
    """A text-to-image model that an image-to-image pipeline saved is one nevertheless."""
    folder = write_folder(tmp_path / "model", pipeline, index, unet)
    size = 128 if kind == "sdxl" else 64
    assert found(settings(folder, kind, latent_size=size), tmp_path) == ([], [])


FLOW, EDM = {"_class_name": "FlowMatchEulerDiscreteScheduler"}, {"_class_name": "EDMDPMSolverMultistepScheduler"}
DIT = {"transformer": ["diffusers", "SD3Transformer2DModel"], "vae": VAE}
PRIOR = {"prior": ["diffusers", "PriorTransformer"], "text_encoder": CLIP2}
IMAGE = {"encoder_hid_dim_type": "image_proj"}
VIDEO = {"unet": ["diffusers", "UNet3DConditionModel"], "vae": VAE, "text_encoder": CLIP}
IF = {**SD, "text_encoder": ["transformers", "T5EncoderModel"]}
WRONG = [
    ("StableDiffusionXLPipeline", XL, TIMES, None, "is Stable Diffusion XL; .* expected kind: sdxl"),
    ("KandinskyV22Pipeline", {"unet": UNET, "movq": VAE}, IMAGE, None, "is Kandinsky 2.2; .* expected kind: kandinsky"),
    ("KandinskyV22PriorPipeline", PRIOR, {}, None, "embeds texts for Kandinsky's decoder; .* docs/priors.md"),
    ("KandinskyPipeline", SD, {"encoder_hid_dim_type": "text_image_proj"}, None, "Kandinsky 2.1"),
    ("StableDiffusionInpaintPipeline", SD, {"in_channels": 9}, None, "an inpainting model"),
    ("StableDiffusionDepth2ImgPipeline", SD, {"in_channels": 5}, None, "a depth-to-image model"),
    (
        "StableDiffusionInstructPix2PixPipeline",
        SD,
        {"in_channels": 8},
        None,
        "an image-editing or image-to-video model",
    ),
    ("StableDiffusionUpscalePipeline", SD, {"in_channels": 7}, None, "an upscaler"),
    ("StableDiffusion3Pipeline", DIT, {}, FLOW, "StableDiffusion3Pipeline, a diffusion transformer"),
    ("FluxPipeline", DIT, {}, FLOW, "FluxPipeline, a diffusion transformer"),
    (
        "StableDiffusionXLImg2ImgPipeline",
        {"unet": UNET, "vae": VAE, "text_encoder_2": CLIP2},
        TIMES,
        None,
        "the refiner of Stable Diffusion XL",
    ),
    (
        "TextToVideoSDPipeline",
        VIDEO,
        {"_class_name": "UNet3DConditionModel"},
        None,
        "network is a UNet3DConditionModel",
    ),
    ("StableDiffusionImageVariationPipeline", {"unet": UNET, "vae": VAE}, {}, None, "a model that takes no text"),
    ("IFPipeline", IF, {"encoder_hid_dim_type": "text_proj"}, None, "conditions of type text_proj"),
    ("AltDiffusionPipeline", IF, {}, None, "text encoder is a T5EncoderModel"),
    ("LatentConsistencyModelPipeline", SD, {"time_cond_proj_dim": 256}, None, "a latent consistency model"),
    ("StableDiffusionPipeline", SD, {}, FLOW, "trained by flow matching"),
    ("StableDiffusionXLPipeline", XL, TIMES, EDM, "trained in EDM's formulation"),
    ("StableUnCLIPPipeline", SD, {"class_embed_type": "projection"}, None, "takes classes or images beside the text"),
]


@pytest.mark.parametrize(("pipeline", "index", "unet", "scheduler", "message"), WRONG)
def test_wrong_family_is_named(tmp_path, pipeline, index, unet, scheduler, message):
    folder = write_folder(tmp_path / "model", pipeline, index, unet, scheduler)
    (problem,), _ = found(settings(folder), tmp_path)
    assert re.search(message, problem) and problem.startswith("priors.yaml: own: ")


def test_sd_folder_under_sdxl_is_named(tmp_path):
    folder = write_folder(tmp_path / "model", "StableDiffusionPipeline", SD, {"cross_attention_dim": 768})
    (problem,), _ = found(settings(folder, "sdxl"), tmp_path)
    assert problem.endswith("is Stable Diffusion 1.x; got kind: sdxl; expected kind: stable_diffusion")


def test_cached_hub_model_is_looked_into(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    place = tmp_path / "models--OWNER--NAME"
    write_folder(place / "snapshots/abc", "StableDiffusionXLPipeline", XL, TIMES)
    (place / "snapshots/abc/text_encoder_2/model.safetensors").unlink()
    (place / "refs").mkdir()
    (place / "refs/main").write_text("abc")
    (problem,), _ = found(settings("OWNER/NAME"), tmp_path)
    assert "OWNER/NAME is Stable Diffusion XL" in problem
    assert found(settings("OWNER/NAME", "sdxl", latent_size=128), tmp_path)[0] == []  # the hub has what is missing
    assert found(settings("OWNER/NAME", revision="other"), tmp_path) == ([], [])
    (place / "snapshots/abc/unet/config.json").unlink()  # then nothing tells what it is
    assert found(settings("OWNER/NAME"), tmp_path) == ([], [])


def test_other_latent_size_is_noted(tmp_path):
    folder = write_folder(tmp_path / "model", "StableDiffusionXLPipeline", XL, TIMES)
    problems, (note,) = found(settings(folder, "sdxl", latent_size=64), tmp_path)
    assert problems == [] and "latent_size: got 64; the weights are made for 128" in note


def test_variant_that_is_not_there_is_reported(tmp_path):
    folder = write_folder(tmp_path / "model", "StableDiffusionPipeline", SD, {})
    (problem,), _ = found(settings(folder, variant="fp16"), tmp_path)
    assert "variant: got 'fp16'" in problem and "the usual one" in problem
    for part in ("unet", "vae", "text_encoder"):
        (folder / part / "model.safetensors").rename(folder / part / "diffusion_pytorch_model.fp16.safetensors")
    problems, notes = found(settings(folder), tmp_path)
    assert problems == [] and len(notes) == 3 and "unet: loads the fp16 weights" in notes[0]
    assert found(settings(folder, variant="fp16"), tmp_path) == ([], [])


def test_missing_scheduler_is_the_familys_unless_that_is_ambiguous(tmp_path):
    one = write_folder(tmp_path / "one", "StableDiffusionPipeline", SD, {"cross_attention_dim": 768}, {})
    problems, (note,) = found(settings(one), tmp_path)
    assert problems == [] and "no scheduler file" in note and "Stable Diffusion 1.x's" in note
    two = write_folder(tmp_path / "two", "StableDiffusionPipeline", SD, {"cross_attention_dim": 1024}, {})
    (problem,), _ = found(settings(two), tmp_path)
    assert "two/scheduler: missing; expected it, or `prediction: epsilon` or `v_prediction`" in problem
    assert found(settings(two, prediction="epsilon"), tmp_path)[0] == []


def test_missing_parts_are_reported_and_unused_ones_are_not(tmp_path):
    index = {**SD, "safety_checker": ["stable_diffusion", "X"], "feature_extractor": ["transformers", "Y"]}
    folder = write_folder(tmp_path / "model", "StableDiffusionPipeline", index, {})
    for part in ("safety_checker", "feature_extractor"):
        for file in (folder / part).iterdir():
            file.unlink()
        (folder / part).rmdir()
    assert found(settings(folder), tmp_path) == ([], [])
    (folder / "unet/config.json").write_text("{")
    (folder / "tokenizer/vocab.json").unlink()
    (folder / "vae/model.safetensors").unlink()
    problems, _ = found(settings(folder), tmp_path)
    assert [re.search(r"model/(\S+?):? ", line)[1] for line in problems] == ["unet/config.json", "vae", "tokenizer"]


U = "model.diffusion_model."
ATTENTION = f"{U}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
FIRST = {f"{U}input_blocks.0.0.weight": (320, 4, 3, 3), ATTENTION: (320, 768)}
AE = {"first_stage_model.decoder.conv_in.weight": (8,)}
TEXT1 = {"cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": (77, 768)}
TEXT2 = {"cond_stage_model.model.positional_embedding": (77, 1024)}
TEXTXL = {"conditioner.embedders.0.transformer.x": (1,), "conditioner.embedders.1.model.positional_embedding": (77, 8)}
FILES = [
    ({**FIRST, **AE, **TEXT1}, "stable_diffusion", {}, None),
    ({**FIRST, **AE, **TEXT2}, "stable_diffusion", {"prediction": "v_prediction", "latent_size": 96}, None),
    ({**FIRST, **AE, **TEXTXL}, "sdxl", {"latent_size": 128}, None),
    ({**FIRST, **AE, **TEXT2}, "stable_diffusion", {}, "prediction: missing; .* expected v_prediction"),
    ({**FIRST, **AE, **TEXTXL}, "stable_diffusion", {}, "is Stable Diffusion XL; .* expected kind: sdxl"),
    ({**FIRST, **AE, **TEXT1}, "sdxl", {}, "is Stable Diffusion 1.x; .* expected kind: stable_diffusion"),
    ({**FIRST, **AE, "conditioner.embedders.0.model.x": (1,)}, "sdxl", {}, "the refiner of Stable Diffusion XL"),
    ({**FIRST, **AE, **TEXTXL, "edm_mean": (4,)}, "sdxl", {}, "Playground 2.5"),
    ({**FIRST, **AE}, "stable_diffusion", {}, "a UNet without its text encoder"),
    ({**FIRST, **TEXT1}, "stable_diffusion", {}, "holds no autoencoder; expected `vae`"),
    ({f"{U}input_blocks.0.0.weight": (320, 9, 3, 3)}, "stable_diffusion", {}, "is an inpainting model"),
    ({"model.diffusion_model.joint_blocks.0.x": (1,)}, "stable_diffusion", {}, "is a diffusion transformer"),
    ({"double_blocks.0.img_attn.norm.key_norm.scale": (1,)}, "stable_diffusion", {}, "is a diffusion transformer"),
    (
        {"lora_unet_down_blocks_0.lora_down.weight": (1,)},
        "stable_diffusion",
        {},
        "a LoRA file, which belongs into `lora`",
    ),
    ({"conv_in.weight": (1,), "down_blocks.0.x": (1,), "mid_block.x": (1,)}, "sdxl", {}, "is a UNet alone"),
    ({"encoder.conv_in.weight": (1,)}, "sdxl", {}, "an autoencoder alone, which belongs into `vae`"),
]


@pytest.mark.parametrize(("shapes", "kind", "changes", "message"), FILES)
def test_single_file_is_known_by_its_header(tmp_path, shapes, kind, changes, message):
    file = tmp_path / "model.safetensors"
    save_file({name: torch.zeros(shape, dtype=torch.bool) for name, shape in shapes.items()}, file)
    problems, notes = found(settings(file, kind, **changes), tmp_path)
    if message is None:
        assert (problems, notes) == ([], [])
    else:
        assert len(problems) == 1 and re.search(message, problems[0])


def test_files_that_are_no_safetensors_are_reported(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"PK\x03\x04" * 20)
    (problem,), _ = found(settings(tmp_path / "model.ckpt"), tmp_path)
    assert "model.ckpt: not a safetensors file" in problem
    (problem,), _ = found(settings("downloads/model.safetensors"), tmp_path)
    assert "downloads/model.safetensors: no such folder or file" in problem


def test_files_beside_the_checkpoint_are_checked(tmp_path):
    folder = write_folder(tmp_path / "model", "StableDiffusionPipeline", SD, {"cross_attention_dim": 768})
    save_file({"lora_unet_x_attn2_to_k.lora_down.weight": torch.zeros(4, 1024)}, tmp_path / "sd2.safetensors")
    save_file({"weight": torch.zeros(1)}, tmp_path / "plain.safetensors")
    loras = [{"path": str(tmp_path / name)} for name in ("sd2.safetensors", "plain.safetensors", "none.safetensors")]
    problems, _ = found(settings(folder, lora=loras), tmp_path)
    assert [line.rpartition(": ")[2] for line in problems] == [
        "takes text embeddings of size 1024; those of the checkpoint have 768",
        "holds no LoRA weights",
        "no such file",
    ]
    wrong = {"vae": str(tmp_path / "plain.safetensors"), "config": str(folder)}
    problems, _ = found(settings(folder, **wrong), tmp_path)
    assert ["config: got" in problems[0], "holds no autoencoder" in problems[1], len(problems)] == [True, True, 2]
    (problem,), _ = found(settings(folder, vae="madebyollin"), tmp_path)
    assert "vae: madebyollin: no such folder or file, nor a hub id" in problem
    assert found(settings(folder, vae="OWNER/NAME"), tmp_path) == ([], [])
    (problem,), _ = found(settings(folder, reader={"path": "none.safetensors"}), tmp_path)
    assert "reader: none.safetensors: no such file" in problem
    (problem,), _ = found(settings(folder, reader={"kind": "smal", "path": "plain.safetensors"}), tmp_path)
    assert "reader" in problem and "did you mean" in problem


def test_problems_and_notes_of_a_prior_reach_the_user(place):
    write_folder(place / "prior", "StableDiffusionPipeline", SD, {"cross_attention_dim": 768, "sample_size": 96})
    write_yaml(place / "workflow/config/priors.yaml", own={"path": str(place / "prior"), "latent_size": 64})
    (note,) = notes_beside_pools(validate_all("mine").notes)
    assert "latent_size: got 64; the weights are made for 96" in note
    write_yaml(place / "workflow/config/priors.yaml", own={"path": str(place / "prior"), "kind": "sdxl"})
    (problem,) = problems_of(validate_all, "mine")
    assert "expected kind: stable_diffusion" in problem
