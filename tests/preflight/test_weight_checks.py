"""Weights that are missing or unknown are reported before the first job."""

import pytest

from avatargen.config.loading import load_library
from avatargen.config.places import ROOT
from avatargen.preflight.validate import validate_all
from avatargen.preflight.weight_checks import clip_problems, prior_problems
from tests.user_folder import notes_beside_pools, problems_of, write_yaml


def test_shipped_weights_are_complete():
    library = load_library()
    assert prior_problems("mini", library) == []
    assert [line for name in ("mini", "guide") for line in clip_problems(name, library.judges[name], ROOT)] == []


def test_missing_weights_are_reported(place):
    (place / "prior/unet/model.safetensors").unlink()
    (place / "judge/open_clip_model.safetensors").write_bytes(b"")
    judge, prior = problems_of(validate_all, "mine")
    assert "judge: no weights" in judge and "prior/unet: no weights" in prior
    write_yaml(place / "workflow/config/priors.yaml", own={"path": "no/such/folder"})
    assert "no/such/folder: no such folder" in problems_of(validate_all, "mine")[1]
    write_yaml(place / "workflow/config/priors.yaml", own={"path": "prompts"})
    assert "model_index.json: missing" in problems_of(validate_all, "mine")[1]


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        ({"model": "ViT-B32"}, "own: model: unknown open_clip model 'ViT-B32'; did you mean 'ViT-B-32'?"),
        ({"model": "clips/judge2"}, "own: model: clips/judge2: no such folder, nor a model of open_clip's"),
        ({"model": "ViT-B-32"}, "own: pretrained: missing"),
        ({"model": "ViT-B/32", "pretrained": "opnai"}, "own: pretrained: unknown file of weights, nor a tag 'opnai'"),
        ({"model": "ViT-B-32", "pretrained": "laion2b-s34b-b79k"}, None),
        ({"model": "hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"}, None),
        ({"model": "ViT-B-32", "pretrained": "avatargen/weights/expressions.safetensors"}, None),
    ],
)
def test_judge_unknown_to_open_clip_is_reported(place, clip, message):
    write_yaml(place / "workflow/config/judges.yaml", own=clip)
    problems = problems_of(validate_all, "mine") if message else notes_beside_pools(validate_all("mine").notes)
    assert [message in problem for problem in problems] == [True] * bool(message)
