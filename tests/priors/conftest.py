"""Small untrained pipelines in the ordinary diffusers folder format."""

from pathlib import Path

import pytest
import torch

from tests.small_prior import write_pipeline


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    return write_pipeline(tmp_path_factory.mktemp("pipeline"), prediction="epsilon")
