"""Every head model of the table, loaded once."""

import pytest

from avatargen.plugins import HEADS, load_class


@pytest.fixture(scope="session", params=sorted(HEADS))
def head(request):
    return load_class("head", request.param, HEADS).load()
