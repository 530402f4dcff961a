"""Every registered head model, loaded once."""

import pytest

from avatargen.config.plugins import HEADS, load_class
from tests.small_flame import write_flame


@pytest.fixture(scope="session")
def flame_file(tmp_path_factory):
    """A small head in the formats of FLAME 2020."""
    return write_flame(tmp_path_factory.mktemp("flame"))


@pytest.fixture(scope="session", params=sorted(HEADS))
def head(request, flame_file):
    kind = load_class("head", request.param, HEADS)
    return kind.load(flame_file) if request.param.startswith("flame") else kind.load()
