"""Files of weights are looked into before the first job."""

import json
import os

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from avatargen.preflight.validate import validate_all
from avatargen.preflight.weight_files import file_problem, folder_problems
from tests.small_weights import WEIGHTS
from tests.user_folder import notes_beside_pools, problems_of, write_yaml

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 334643268\n"
LARGE = save({"a": np.zeros((64, 64), np.float32)})
NAME = "diffusion_pytorch_model"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.safetensors", WEIGHTS, None),
        ("a.safetensors", LARGE[:-100], f"cut off: {len(LARGE) - 100:,} bytes; its header says {len(LARGE):,}"),
        ("a.safetensors", LARGE + b"x", f"too long: {len(LARGE) + 1:,} bytes; its header says {len(LARGE):,}"),
        ("a.safetensors", LARGE[:20], "cut off: 20 bytes, of which the header alone takes"),
        ("a.safetensors", LFS, "a git-lfs pointer in place of the weights; `git lfs pull` fetches them"),
        ("a.safetensors", b"<!DOCTYPE html><html>", "a page of text, such as of a failed download"),
        ("a.safetensors", b"", "an empty file"),
        ("a.safetensors", (2**62).to_bytes(8, "little") + b"{}" * 50, "not a safetensors file, or a damaged one"),
        ("a.safetensors", b"\x02" + bytes(7) + b"{}", "holds no tensors"),
        ("a.safetensors", b"\x02" + bytes(7) + b"[]", "not a safetensors file, or a damaged one"),
        ("a.bin", LFS, "a git-lfs pointer"),
        ("a.bin", b"PK\x03\x04" + bytes(99), "cut off: the archive has no end"),
        ("a.bin", b"\x80\x02\x8a\x0a", None),
        ("a.pt", b"{'error': 404}", "no file of torch's; it begins with '{'error': 404}'"),
    ],
)
def test_each_file_is_what_it_should_be(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    problem = file_problem(tmp_path / name)
    assert problem is None if message is None else message in str(problem)


@pytest.mark.parametrize("length", [ord("<"), ord("<") + 256 * ord("!")])
def test_a_length_that_looks_like_a_page_is_none(tmp_path, length):
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(length)
    if len(header) > length:
        header = header.replace(b" ", b"").ljust(length)
    (tmp_path / "a.safetensors").write_bytes(length.to_bytes(8, "little") + header + bytes(4))
    assert (tmp_path / "a.safetensors").read_bytes()[:1] == b"<"
    assert file_problem(tmp_path / "a.safetensors") is None


def test_archives_of_torch_are_whole_or_cut_off(tmp_path):
    torch.save({"a": torch.zeros(99)}, tmp_path / "a.bin")
    assert file_problem(tmp_path / "a.bin") is None
    (tmp_path / "a.bin").write_bytes((tmp_path / "a.bin").read_bytes()[:-50])
    assert file_problem(tmp_path / "a.bin") == "cut off: the archive has no end"


def test_pipes_and_broken_links_are_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "gone.safetensors").symlink_to("blob")
    assert file_problem(tmp_path / "pipe.safetensors") == "got a named pipe; expected a file"
    assert str(file_problem(tmp_path / "gone.safetensors")).startswith("not readable: ")


def shards(folder, *, index=True, there=(1, 2), variant=""):
    names = [f"{NAME}{variant}-{n:05}-of-00002.safetensors" for n in (1, 2)]
    for n in there:
        (folder / names[n - 1]).write_bytes(WEIGHTS)
    if index:
        file = folder / f"{NAME}.safetensors.index{variant}.json"
        file.write_text(json.dumps({"weight_map": {"a": names[0], "b": names[1]}}))
        return file
    return None


@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_shards_go_by_their_list(tmp_path, variant):
    file = shards(tmp_path, variant=variant)
    assert folder_problems(tmp_path) == []
    (tmp_path / f"{NAME}{variant}-00002-of-00002.safetensors").unlink()
    (problem,) = folder_problems(tmp_path)
    assert problem == f"{file.name}: 1 of 2 parts are missing: {NAME}{variant}-00002-of-00002.safetensors"
    file.unlink()
    assert "a part of several; expected the list of them" in folder_problems(tmp_path)[0]


@pytest.mark.parametrize("content", ["[1, 2]", '{"weight_map": [1]}', '{"weight_map": {"a": 1}}', "{", '"x"'])
def test_a_list_of_shards_that_is_none_is_named(tmp_path, content):
    shards(tmp_path).write_text(content)
    assert "not a list of parts" in folder_problems(tmp_path)[0]


def test_only_the_variant_that_is_loaded_counts(tmp_path):
    (tmp_path / f"{NAME}.fp16.safetensors").write_bytes(WEIGHTS)
    (tmp_path / f"{NAME}.safetensors").write_bytes(LFS)
    assert folder_problems(tmp_path, "fp16") == []
    assert "git-lfs" in folder_problems(tmp_path)[0]


def test_half_precision_alone_is_loaded(place):
    for part in ("unet", "vae", "text_encoder"):
        (place / "prior" / part / "model.safetensors").rename(place / "prior" / part / "model.fp16.safetensors")
    notes = notes_beside_pools(validate_all("mine").notes)
    assert len(notes) == 3 and all("loads the fp16 weights" in note for note in notes)


@pytest.mark.parametrize(
    ("file", "where"),
    [
        ("prior/unet/model.safetensors", "priors.yaml: own: "),
        ("prior/text_encoder/model.safetensors", "priors.yaml: own: "),
        ("judge/open_clip_model.safetensors", "judges.yaml: own: "),
    ],
)
def test_damaged_weights_stop_a_run_before_it_starts(place, file, where):
    (place / file).write_bytes(LARGE[:-1])
    (problem,) = problems_of(validate_all, "mine")
    assert problem.startswith(where) and f"{file}: cut off: " in problem


def test_other_files_of_a_stanza_are_looked_into(place):
    for name in ("vae", "lora", "reader"):
        (place / f"{name}.safetensors").write_bytes(LFS)
    paths = {name: str(place / f"{name}.safetensors") for name in ("vae", "lora", "reader")}
    stanza = {"path": str(place / "prior"), "vae": paths["vae"], "lora": [{"path": paths["lora"]}]}
    write_yaml(place / "workflow/config/priors.yaml", own={**stanza, "reader": {"path": paths["reader"]}})
    (place / "judge.pt").write_bytes(LFS)
    write_yaml(place / "workflow/config/judges.yaml", own={"model": "ViT-B-32", "pretrained": str(place / "judge.pt")})
    problems = [line for line in problems_of(validate_all, "mine") if "git-lfs" in line]
    assert [any(name in line for line in problems) for name in (*paths.values(), "judge.pt")] == [True] * 4


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("prior/model_index.json", '{"unet": ["diffusers"], "vae": []}', 'unet: got ["diffusers"]'),
        ("prior/model_index.json", '{"unet": [], "text_encoder": 7}', "text_encoder: got 7"),
        ("prior/model_index.json", "[]", "not a JSON object"),
        ("prior/model_index.json", "[" * 100_000, "not a JSON object"),
        ("prior/unet/config.json", '{"sample_size": [64, "x"]}', "sample_size: got"),
        ("prior/unet/config.json", '{"cross_attention_dim": "768"}', 'cross_attention_dim: got "768"'),
        ("prior/unet/config.json", '{"sample_size": []}', "sample_size: got []"),
        ("prior/scheduler/scheduler_config.json", '{"prediction_type": 1}', "prediction_type: got 1"),
        ("judge/open_clip_config.json", "[]", "not a JSON object"),
        ("judge/open_clip_config.json", "{}", "model_cfg"),
    ],
)
def test_configurations_are_checked_before_they_are_walked(place, file, content, message):
    (place / file).write_text(content)
    (problem,) = problems_of(validate_all, "mine")
    assert f"{file}: " in problem and message in problem


@pytest.mark.parametrize(
    ("pipeline", "kind"), [("StableDiffusionXLPipeline", "sdxl"), ("KandinskyV22Pipeline", "kandinsky")]
)
def test_a_pipeline_of_another_kind_is_named(place, pipeline, kind):
    index = json.loads((place / "prior/model_index.json").read_text())
    (place / "prior/model_index.json").write_text(json.dumps({**index, "_class_name": pipeline}))
    (problem,) = problems_of(validate_all, "mine")
    assert f"model_index.json: got {pipeline}, which is kind: {kind}; the UNet is Stable Diffusion's" in problem
