"""The JSON schema of the experiment file is current, and accepts what ships."""

import json

import jsonschema
import pytest
import yaml

from avatargen.config.loading import experiment_names
from avatargen.config.places import config_folders
from avatargen.config.schema import FILE, schema_text


def test_schema_is_current():
    """``python -m avatargen.config.schema`` writes it."""
    assert FILE.read_text(encoding="utf-8") == schema_text()


@pytest.mark.parametrize("name", experiment_names())
def test_schema_accepts_every_shipped_experiment(name):
    (folder,) = config_folders()
    jsonschema.validate(yaml.safe_load((folder / f"{name}.yaml").read_text()), json.loads(schema_text()))


def test_schema_refuses_unknown_keys_and_wrong_types():
    valid = {"experiment": "x", "lists": ["a"], "methods": ["full"]}
    jsonschema.validate(valid, json.loads(schema_text()))
    both = {"prior": "a", "priors": ["a"]}
    for wrong in ({"sed": [0]}, {"batch_size": 0}, {"evaluation": {"views": "many"}}, both):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(valid | wrong, json.loads(schema_text()))
