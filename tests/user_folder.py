"""Helpers for tests of what users write into their working directory."""

import pytest
import yaml

from avatargen.config.errors import InputError


def write_yaml(path, **values):
    path.write_text(yaml.safe_dump(values))


def problems_of(call, *arguments, **options):
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    return caught.value.problems


def notes_beside_pools(notes):
    """Return the notes without those on small pools, which every list of a test has."""
    return [note for note in notes if ": pool of " not in note]
