"""Find out what this machine lacks for an experiment: a GPU, and models of a hub that are not in its cache.

`avatargen check` asks. A run does not: its GPUs may be elsewhere, and it downloads the models that it needs.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from avatargen.config.experiment import Experiment, Library
from avatargen.io.checkpoint_files import cached_snapshot, hub_cache, is_hub_id
from avatargen.preflight.weight_checks import has_weights, open_clip_weights

CONNECT_TIMEOUT_S = 3.0
HUB = "https://huggingface.co"
"""Address of the hub, unless HF_ENDPOINT states another one."""


@dataclass(frozen=True)
class HubModel:
    """A model that comes from the hub.

    Attributes:
        where: what names it, for messages.
        id: ``OWNER/NAME``.
        revision: branch, tag or commit; None is ``main``.
    """

    where: str
    id: str
    revision: str | None = None

    def is_cached(self) -> bool:
        """Return whether the hub's cache holds weights of the model; a download that broke off may lack some."""
        folder = cached_snapshot(self.id, self.revision)
        return folder is not None and any(map(has_weights, (folder, *folder.iterdir())))


def machine_problems(experiment: Experiment, library: Library, root: Path) -> list[str]:
    """Return what this machine lacks for an experiment.

    Args:
        experiment: with names that may be unknown; those are ignored.
        library: the named priors and judges.
        root: folder that relative paths of weights start from.
    """
    return [*gpu_problems(experiment), *hub_problems(hub_models(experiment, library, root))]


def gpu_problems(experiment: Experiment) -> list[str]:
    """Return whether an experiment asks for more GPUs than this machine has; of a cluster that is not known."""
    asked, found = experiment.gpus_per_worker, count_gpus()
    if not asked or found >= asked or os.environ.get("RAY_ADDRESS", "local") not in ("", "local"):
        return []
    return [
        f"{experiment.experiment}: gpus_per_worker: got {asked:g}; nvidia-smi finds {found} GPUs on this machine; "
        "expected a machine with an NVIDIA GPU and its driver, a cluster (docs/clusters.md), or 0 for the CPU, which "
        "is fast enough for the embedded prior alone"
    ]


def count_gpus() -> int:
    """Return how many GPUs nvidia-smi lists; 0 without an NVIDIA driver."""
    if shutil.which("nvidia-smi") is None:
        return 0
    found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, errors="replace")
    return sum(line.startswith("GPU ") for line in found.stdout.splitlines())


def hub_models(experiment: Experiment, library: Library, root: Path) -> list[HubModel]:
    """Return the models of an experiment that come from the hub, priors first."""
    priors = {name: library.priors[name] for name in experiment.prior_names if name in library.priors}
    found = [
        HubModel(f"prior '{name}'", path, prior.revision if path != prior.vae else None)
        for name, prior in priors.items()
        for path in (*prior.parts, *([prior.vae] if prior.vae else []))
        if is_hub_id(path) and not (root / path).exists()
    ]
    weights = open_clip_weights()
    for name in dict.fromkeys((*experiment.judges, *_clip_guides(experiment, library))):
        judge = library.judges.get(name)
        if judge is None or (root / judge.model).is_dir():
            continue
        tag = (judge.pretrained or "").lower().replace("-", "_")
        hub_id = weights.get(judge.model.replace("/", "-"), {}).get(tag, "")
        hub_id = judge.model.removeprefix("hf-hub:") if judge.model.startswith("hf-hub:") else hub_id
        if hub_id:
            found.append(HubModel(f"judge '{name}'", hub_id))
    return found


def _clip_guides(experiment: Experiment, library: Library) -> list[str]:
    """Return the CLIPs that guide methods of the experiment."""
    methods = [library.methods[name] for name in experiment.methods if name in library.methods]
    guided = [method for method in methods if {**experiment.overrides, **method.overrides}.get("guide") == "clip"]
    return [method.clip_guide or experiment.clip_guide for method in guided]


def hub_problems(models: Iterable[HubModel]) -> list[str]:
    """Return the models that are neither in the hub's cache nor can be downloaded to it."""
    missing = [model for model in models if not model.is_cached()]
    reason = _why_unreachable() if missing else None
    if reason is None:
        return []
    return [
        f"{model.where}: {model.id}: got no copy in {hub_cache()}, and {reason}; expected one or the other; "
        f"download {_address()}/{model.id} elsewhere and copy the cache, or put the path of a folder into the stanza"
        for model in missing
    ]


def _address() -> str:
    return os.environ.get("HF_ENDPOINT") or HUB


def _why_unreachable() -> str | None:
    """Return why nothing can be downloaded from the hub; None if the hub answers."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "HF_HUB_OFFLINE forbids downloads"
    hub = urlsplit(_address())
    try:
        socket.create_connection((str(hub.hostname), hub.port or 443), CONNECT_TIMEOUT_S).close()
    except OSError:
        return f"nothing answers at {hub.hostname}"
    return None
