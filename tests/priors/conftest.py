"""Small untrained pipelines in the formats that people have."""

from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline

from tests.small_families import FAMILIES, small_pipeline
from tests.small_prior import write_pipeline


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    return write_pipeline(tmp_path_factory.mktemp("pipeline"), prediction="epsilon")


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory) -> dict[str, DiffusionPipeline]:
    """A pipeline of each family; tests leave them as they are."""
    torch.manual_seed(0)
    words = tmp_path_factory.mktemp("families") / "words"
    return {family: small_pipeline(family, words) for family in FAMILIES}


@pytest.fixture(scope="session")
def family_folders(pipelines, tmp_path_factory) -> dict[str, Path]:
    """The same pipelines as folders."""
    place = tmp_path_factory.mktemp("folders")
    for family, pipeline in pipelines.items():
        pipeline.save_pretrained(place / family)
    return {family: place / family for family in pipelines}
