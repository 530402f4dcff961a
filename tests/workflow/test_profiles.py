"""The profiles of clusters: that they parse, and ask for what the cluster's own schema knows.

``kuberay_rayjob_v1.7.0.json.xz`` is the specification of a RayJob in KubeRay 1.7.0
(ray-operator/config/crd/bases/ray.io_rayjobs.yaml, Apache-2.0), without descriptions and status.
"""

import importlib.util
import json
import lzma
import os
import re
import subprocess
import sys

import jsonschema
import pytest
import yaml

from avatargen.config.places import ROOT

PROFILES = ROOT / "profiles"
RAYJOB = PROFILES / "kubernetes/rayjob.yaml"
SCHEMA = ROOT / "tests/data/kuberay_rayjob_v1.7.0.json.xz"


def closed(schema):
    """Return a schema in which a key that it does not name is an error, as `kubectl --validate=strict` has it."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        inner.setdefault("additionalProperties", False)
    return inner


@pytest.fixture(scope="module")
def rayjob_problems():
    """The function that lists what the schema of RayJob says against a manifest."""
    schema = closed(json.loads(lzma.decompress(SCHEMA.read_bytes())))
    validator = jsonschema.Draft202012Validator(schema)
    return lambda manifest: [error.json_path for error in validator.iter_errors(manifest)]


def manifest():
    return yaml.safe_load(RAYJOB.read_text())


def test_the_rayjob_fits_kuberays_schema(rayjob_problems):
    assert rayjob_problems(manifest()) == []


@pytest.mark.parametrize(
    ("place", "key", "value", "where"),
    [
        ((), "entryPoint", "snakemake", "$.spec"),
        ((), "backoffLimit", "one", "$.spec.backoffLimit"),
        (("rayClusterSpec", "authOptions"), "mode", "tokens", "$.spec.rayClusterSpec.authOptions.mode"),
        (("rayClusterSpec", "headGroupSpec"), "replica", 2, "$.spec.rayClusterSpec.headGroupSpec"),
        (("rayClusterSpec", "headGroupSpec", "rayStartParams"), "num-cpus", 0, "$.spec.rayClusterSpec.headGroupSpec"),
    ],
)
def test_the_schema_finds_mistakes(rayjob_problems, place, key, value, where):
    wrong = manifest()
    part = wrong["spec"]
    for name in place:
        part = part[name]
    part[key] = value
    (found,) = rayjob_problems(wrong)
    assert found.startswith(where)


def test_the_rayjob_is_of_the_required_ray():
    (version,) = re.findall(r"^ray(?:\[\w+\])?==([\d.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    cluster = manifest()["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == version
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    assert all(pod["volumes"] == pods[0]["volumes"] for pod in pods), "all pods see one working directory"
    mounts = [pod["containers"][0]["volumeMounts"] for pod in pods]
    assert all(mount == mounts[0] for mount in mounts)


def dry_run(place, profile, *changes):
    """Return the output of a dry run with a profile."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AVATARGEN_RAY"))}
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        str(ROOT / "Snakefile"),
        "-n",
        "--profile",
        str(profile),
        "--quiet",
        "host",
    ]
    config = ["--config", "limit=1", "methods=template", *changes]
    ended = subprocess.run([*command, *config], cwd=place, env=environment, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout + ended.stderr


def resources_of(output, rule):
    """Return the resources that a dry run prints for a rule."""
    (line,) = re.findall(rf"rule {rule}:.*?resources: (.*?)\n", output, re.DOTALL)
    return dict(part.split("=", 1) for part in line.split(", "))


@pytest.mark.parametrize(("share", "gpus"), [("0", None), ("0.5", "1"), ("1", "1")])
def test_slurm_jobs_ask_for_the_experiments_gpus(tmp_path, share, gpus):
    """With the plugin where it is installed, else without its executor: the rest of the profile is Snakemake's own."""
    profile = yaml.safe_load((PROFILES / "slurm/config.yaml").read_text())
    assert profile["executor"] == "slurm"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        del profile["executor"]
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile/config.yaml").write_text(yaml.safe_dump(profile))
    output = dry_run(tmp_path, tmp_path / "profile", f"gpus_per_worker={share}")
    for rule in ("generate", "render"):
        asked = resources_of(output, rule)
        assert asked.get("gpu", "0") == (gpus or "0") and int(asked["runtime"]) > 0, rule
    assert "gpu" not in resources_of(output, "collect") and resources_of(output, "generate")["mem_mb"] == "32000"


def test_every_key_of_a_profile_is_an_option_of_snakemake():
    """Snakemake ignores keys that it does not know."""
    from snakemake.cli import get_argument_parser

    known = {text.lstrip("-") for action in get_argument_parser()._actions for text in action.option_strings}
    for path in PROFILES.glob("*/config.yaml"):
        assert set(yaml.safe_load(path.read_text())) <= known, path
