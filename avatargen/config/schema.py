"""The JSON schema of the experiment file, for editors: ``python -m avatargen.config.schema`` writes it."""

from __future__ import annotations

import json

from avatargen.config.experiment import Experiment
from avatargen.config.places import ROOT

FILE = ROOT / "workflow" / "schemas" / "experiment.schema.json"


def schema_text() -> str:
    """Return the schema of `Experiment` as JSON."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Experiment.model_json_schema()}
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(schema_text(), encoding="utf-8")
